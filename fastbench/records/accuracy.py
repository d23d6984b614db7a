"""Are a row's predictions right, and are they the reference's? Counts, and what derives from them.

Counts are stored, shares and intervals are properties; the gates are in `gates.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastbench.core.stats import mcnemar_p, paired_difference_interval, wilson_interval

__all__ = ["Accuracy", "Confusion", "Parity", "PerClass", "Pixels", "Published", "Running"]


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """Samples and hits of each class that has samples, in columns; by the model's outputs.

    `wnids` is None where the classes are not ImageNet's.
    """

    outputs: list[int]
    wnids: list[str] | None
    names: list[str]
    num_samples: list[int]
    top1_correct: list[int]
    top5_correct: list[int]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often samples of the class `label` had the top-1 prediction `predicted`."""

    label: int
    label_name: str
    predicted: int
    predicted_name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Running:
    """Hits among the first `num_samples` of the samples, in the order of the data."""

    num_samples: int
    top1_correct: int
    top5_correct: int


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Hits of the last timed epoch, every sample counted once.

    `per_class` is None where it was not kept, `confusions` has the most frequent ones, and
    `running` the values on the way, where they were asked for.
    """

    num_samples: int
    top1_correct: int
    top5_correct: int
    per_class: PerClass | None = None
    confusions: list[Confusion] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)

    @property
    def top1(self) -> float:
        """Top-1 as a share."""
        return self.top1_correct / self.num_samples

    @property
    def top5(self) -> float:
        """Top-5 as a share."""
        return self.top5_correct / self.num_samples

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of top-1."""
        return wilson_interval(self.top1_correct, self.num_samples)

    @property
    def top5_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of top-5."""
        return wilson_interval(self.top5_correct, self.num_samples)


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """A loader's images held against the reference's, in step, and what a float32 eager model
    makes of both; over `num_samples` images spread over the data.

    Differences of pixels are in levels of 0..255 after the normalisation is undone;
    `share_above_one` is the share of values more than 1 level apart. `worst_sample` is the image
    with the largest mean difference. `cause` is the fault that explains it, where one does.
    """

    num_samples: int
    max_levels: float
    mean_levels: float
    share_above_one: float
    worst_sample: str
    worst_mean_levels: float
    max_logits: float
    mean_logits: float
    num_agreeing: int
    cause: str | None


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the weights' publisher states for all of ImageNet's validation set, as shares."""

    top1: float
    top5: float


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Agreement of a row's top-1 predictions with the reference's, on the same samples.

    The reference is a loader's eager float32 run. Of the samples on which the two differ in
    being right, `only_reference_correct` and `only_row_correct` count each side; both are None
    without labels. `is_reference` marks the reference's own row.
    """

    reference: str
    is_reference: bool
    num_samples: int
    num_agreeing: int
    only_reference_correct: int | None
    only_row_correct: int | None
    pixels: Pixels | None

    @property
    def mcnemar_p(self) -> float | None:
        """McNemar's exact p of the discordant pairs; None without labels."""
        if self.only_row_correct is None or self.only_reference_correct is None:
            return None
        return mcnemar_p(self.only_reference_correct, self.only_row_correct)

    @property
    def difference_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `accuracy_difference`."""
        if self.only_row_correct is None or self.only_reference_correct is None:
            return None
        return paired_difference_interval(
            self.only_reference_correct, self.only_row_correct, self.num_samples
        )

    @property
    def agreement(self) -> float:
        """Top-1 agreement as a share."""
        return self.num_agreeing / self.num_samples

    @property
    def accuracy_difference(self) -> float | None:
        """Top-1 of the row less top-1 of the reference, as a share."""
        if self.only_row_correct is None or self.only_reference_correct is None:
            return None
        return (self.only_row_correct - self.only_reference_correct) / self.num_samples
