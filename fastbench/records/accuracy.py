"""How many predictions of a row are right, and how many are the reference's.

Counts are stored; shares and intervals are properties. The gates are in `gates.py`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fastbench.core.stats import mcnemar_p, paired_difference_interval, wilson_interval
from fastbench.records.fields import Count, Deviation, Positive, Share, Stored

EXACT_LEVELS: Final = 1.01
"""One level, and float32's rounding."""


class PerClass(Stored, frozen=True, kw_only=True):
    """Samples and hits of each class that has samples, as columns in the order of `outputs`.

    `outputs` are indices of the model's outputs. `wnids` is None if the classes are not ImageNet's.
    """

    outputs: list[Count]
    wnids: list[str] | None
    names: list[str]
    num_samples: list[Count]
    top1_correct: list[Count]
    top5_correct: list[Count]


class Confusion(Stored, frozen=True, kw_only=True):
    """How often samples of the class `label` had the top-1 prediction `predicted`."""

    label: Count
    label_name: str
    predicted: Count
    predicted_name: str
    count: Positive


class Running(Stored, frozen=True, kw_only=True):
    """Hits among the first `num_samples` of the samples, in the order of the data."""

    num_samples: Positive
    top1_correct: Count
    top5_correct: Count


class Accuracy(Stored, frozen=True, kw_only=True):
    """Hits of the last timed epoch, every sample counted once.

    `num_classes` are the classes that were predicted among, None where that is not known.
    `per_class` is None in records of version 1, `confusions` has the most frequent ones, and
    `running` is what `--running` asks for.
    """

    num_samples: Positive
    top1_correct: Count
    top5_correct: Count
    num_classes: Positive | None = None
    per_class: PerClass | None = None
    confusions: list[Confusion] = msgspec.field(default_factory=list)
    running: list[Running] = msgspec.field(default_factory=list)

    @property
    def top1(self) -> float:
        """Top-1 as a share."""
        return self.top1_correct / self.num_samples

    @property
    def top5(self) -> float | None:
        """Top-5 as a share; None where it says nothing: among five classes all are hits."""
        if self.num_classes is not None and self.num_classes <= 5:
            return None
        return self.top5_correct / self.num_samples

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of top-1."""
        return wilson_interval(self.top1_correct, self.num_samples)

    @property
    def top5_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of top-5, as counted."""
        return wilson_interval(self.top5_correct, self.num_samples)


class Pixels(Stored, frozen=True, kw_only=True):
    """A loader's images compared with the reference's, and a float32 eager model's logits of both.

    Differences of pixels are in levels of 0..255 after the normalisation is undone;
    `share_above_one` is the share of values more than 1 level apart. `worst_sample` is the image
    with the largest mean difference, `cause` the fault that explains it, if one was found.
    """

    num_samples: Positive
    max_levels: Deviation
    mean_levels: Deviation
    share_above_one: Share
    worst_sample: str
    worst_mean_levels: Deviation
    max_logits: Deviation
    mean_logits: Deviation
    num_agreeing: Count
    cause: str | None


class ProgramCheck(Stored, frozen=True, kw_only=True):
    """What an engine made of a model, beside the float32 eager model on the same pixels.

    In `dtype`, and before it is quantised: so a wrong export is not taken for the noise of a
    narrower format. `num_agreeing` of `num_samples` top-1 predictions are the same, `max_logits`
    and `mean_logits` the largest and the mean difference of two logits, `spread` the standard
    deviation of the eager model's logits. `cause` is the fault that explains them, if one was
    found.
    """

    dtype: str
    num_samples: Positive
    num_agreeing: Count
    max_logits: Deviation
    mean_logits: Deviation
    spread: Deviation
    cause: str | None


class Published(Stored, frozen=True, kw_only=True):
    """What the weights' publisher states for all of ImageNet's validation set, as shares."""

    top1: Share
    top5: Share


class Parity(Stored, frozen=True, kw_only=True):
    """Agreement of a row's top-1 predictions with the reference's, on the same samples.

    The reference is a loader's eager float32 run; `is_reference` marks its own row.
    `only_reference_correct` and `only_row_correct` count the samples that only one of the two has
    right; both are None without labels.

    `pixels` are of images spread over the data. `stood_out` are of those that stood out: their
    prediction is another than the reference's, or they are stored in a rare way (four components,
    RGB, unusual sampling). Of them, `num_uncompared` were too many to be compared.
    """

    reference: str
    is_reference: bool
    num_samples: Positive
    num_agreeing: Count
    only_reference_correct: Count | None
    only_row_correct: Count | None
    pixels: Pixels | None
    stood_out: Pixels | None = None
    num_uncompared: Count = 0

    @property
    def compared(self) -> list[Pixels]:
        """What was compared of pixels: of images spread over the data, of those that stood out."""
        return [each for each in (self.pixels, self.stood_out) if each]

    @property
    def num_compared(self) -> int:
        """Images whose pixels were held against the reference's."""
        return sum(each.num_samples for each in self.compared)

    @property
    def max_levels(self) -> float | None:
        """The largest difference of two pixels; None where none were compared."""
        return max((each.max_levels for each in self.compared), default=None)

    @property
    def mean_levels(self) -> float | None:
        """The mean difference of the pixels of images spread over the data."""
        return self.pixels.mean_levels if self.pixels else None

    @property
    def cause(self) -> str | None:
        """The fault that explains why images differ, where one does."""
        return next((each.cause for each in self.compared if each.cause), None)

    @property
    def discordant(self) -> tuple[int, int] | None:
        """Samples that only the reference, and that only the row has right; None without labels."""
        lost, won = self.only_reference_correct, self.only_row_correct
        return None if lost is None or won is None else (lost, won)

    @property
    def mcnemar_p(self) -> float | None:
        """McNemar's exact p of the discordant pairs; None without labels."""
        return mcnemar_p(*self.discordant) if self.discordant else None

    @property
    def difference_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `accuracy_difference`; None without labels."""
        if self.discordant is None:
            return None
        return paired_difference_interval(*self.discordant, self.num_samples)

    @property
    def agreement(self) -> float:
        """Top-1 agreement as a share."""
        return self.num_agreeing / self.num_samples

    @property
    def accuracy_difference(self) -> float | None:
        """Top-1 of the row less top-1 of the reference, as a share; None without labels."""
        if self.discordant is None:
            return None
        lost, won = self.discordant
        return (won - lost) / self.num_samples
