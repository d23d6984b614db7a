"""Which output of the model is each sample's class: mapped by name, never by counting folders.

A folder tree with 250 of ImageNet's 1,000 wnids, numbered 0 to 249, would score near zero with
nothing to show why. Where no name can be mapped the run goes on without labels and says so:
throughput and agreement with the reference need none.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, UsageError
from fastbench.core.stats import wilson_interval
from fastbench.data.imagenet import WNID, class_names, wnid_index, wnids

if TYPE_CHECKING:
    from collections.abc import Sequence

BY_WNID: Final = "mapped by ImageNet wnid"
_BY_INDEX: Final = "mapped by class index"
_BY_ORDER: Final = "mapped by sorted folder order"
_LIST_THEM: Final = "a list of lines `path index` for --data says what is meant"
_LONGEST_NUMBER: Final = 255
"""In digits: Python converts no number of thousands."""
_POOR: Final = 0.1
"""Top-1 below which numbers are doubted as labels, whatever the number of classes."""
_GOOD: Final = 0.5
"""Top-1 that chance alone may reach in a few images."""


@dataclass(frozen=True, kw_only=True)
class ClassSpace:
    """A model's outputs: how many, their names, whether they are ImageNet's.

    `outputs[i]` is the model's own output of class i, where only some of them are kept.
    """

    num_classes: int
    names: tuple[str, ...] | None = None
    is_imagenet: bool = False
    outputs: tuple[int, ...] | None = None

    def output(self, i: int) -> int:
        """The model's own output of class i."""
        return self.outputs[i] if self.outputs else i

    def wnid(self, i: int) -> str | None:
        """The wnid of class i; None where the classes are not ImageNet's."""
        return wnids()[self.output(i)] if self.is_imagenet else None

    def name(self, i: int) -> str:
        """The name of class i; its output's number where it has none."""
        if self.names is not None:
            return self.names[i]
        output = self.output(i)
        return class_names()[output] if self.is_imagenet else str(output)

    def keep(self, kept: Sequence[int]) -> ClassSpace:
        """Only the classes `kept`, in that order."""
        return dataclasses.replace(
            self,
            num_classes=len(kept),
            names=tuple(self.names[i] for i in kept) if self.names else None,
            outputs=tuple(self.output(i) for i in kept),
        )


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The class index of each sample, None without labels of this model, and how it was found.

    `are_numbers`: the data's own numbers were taken as class indices. `doubt` says why the indices
    may be wrong, `origin` what they were read from, where it is not a class folder's name.
    """

    indices: tuple[int, ...] | None
    how: str
    are_numbers: bool = False
    doubt: str | None = None
    origin: str = ""

    @property
    def in_words(self) -> str:
        """How the indices were found, and what in."""
        return f"{self.how}, from {self.origin}" if self.origin else self.how


@dataclass(frozen=True, kw_only=True)
class WordSets:
    """All words that a data set labels with, and those that were asked for, each sorted.

    Classes are numbered by these: a limit may leave some without a sample. `origin` and `why_none`
    are the listing's (see `listing.py`).
    """

    every: tuple[str, ...]
    asked: tuple[str, ...]
    are_folders: bool
    origin: str = ""
    why_none: str = ""


def map_labels(
    words: tuple[str | None, ...], classes: ClassSpace, sets: WordSets | None = None
) -> Labels:
    """Map what each sample is labelled with (its class folder, or a list's word) to its class.

    `sets` says what else the data set labels with; None where `words` are all of it.

    Raises `DataError` where only some are classes of the model: to score those alone in silence
    would change the denominator.
    """
    present = sorted({word for word in words if word is not None})
    if not present:
        why = (sets and sets.why_none) or "the images have no class folders"
        return Labels(indices=None, how=f"no labels: {why}")
    if sets is None:
        sets = WordSets(every=tuple(present), asked=tuple(present), are_folders=True)
    known, how = _known(present, classes, sets)
    unknown = [word for word in present if word not in known]
    if unknown and len(unknown) < len(present):
        raise DataError(
            f"The class {unknown[0]!r} of the data is not a class of this model, while others are "
            f"({len(present) - len(unknown)} of {len(present)}, {how}). Rename its folder, or "
            f"leave it out: --classes FILE names those to use."
        )
    if unknown:
        source = f" (they are from {sets.origin})" if sets.origin else ""
        return Labels(indices=None, how=f"no labels: {_why_not(present, classes, sets)}{source}")
    return Labels(
        indices=tuple(known[word] for word in words if word is not None),
        how=how,
        are_numbers=how == _BY_INDEX,
        doubt=_doubt(how, classes, sets),
        origin=sets.origin,
    )


def among_present(labels: Labels, classes: ClassSpace) -> tuple[Labels, ClassSpace]:
    """The samples' labels among the classes that occur, and these classes.

    Raises `UsageError` without labels, and where only one class occurs.
    """
    if labels.indices is None:
        raise UsageError(
            f"--among present needs labels, and there are {labels.how}. Leave it out, or name data "
            f"with class folders."
        )
    kept = sorted(set(labels.indices))
    if len(kept) == 1:
        raise UsageError(
            "--among present leaves one class to choose from, for all images are of the same: any "
            "model would be right. Leave it out, or name data of several classes."
        )
    place = {index: i for i, index in enumerate(kept)}
    how = f"{labels.how}, predicted among the {len(kept):,} classes of the data"
    indices = tuple(place[index] for index in labels.indices)
    return dataclasses.replace(labels, indices=indices, how=how), classes.keep(kept)


def doubts_of(labels: Labels, classes: ClassSpace, num_correct: int) -> list[str]:
    """Why labels may be wrong, once `num_correct` of the samples are predicted as they say."""
    found = [labels.doubt] if labels.doubt else []
    if labels.are_numbers and labels.indices:
        low, high = wilson_interval(num_correct, len(labels.indices))
        # Where numbers are one off, neighbours that look alike give a few hits above chance.
        if high < _POOR or (low <= 1 / classes.num_classes and high < _GOOD):
            found.append(
                "top-1 is hardly better than chance, so the data's numbers may not be the model's "
                "class indices (they may begin at 1, or be ILSVRC's IDs)"
            )
    return found


def _known(present: list[str], classes: ClassSpace, sets: WordSets) -> tuple[dict[str, int], str]:
    """The first rule under which any class is known: wnid, class name, index, sorted order."""
    if classes.is_imagenet and any(WNID.fullmatch(word) for word in present):
        return wnid_index(), BY_WNID
    by_name = _by_name(classes)
    if any(word in by_name for word in present):
        return by_name, "mapped by class name"
    are_numbers = all(map(_is_number, sets.asked))
    if are_numbers and _are_indices(classes, sets):
        return {word: int(word) for word in present}, _BY_INDEX
    # A list's numbers are indices, though they may be those of other classes.
    if _has_own_order(classes) and (sets.are_folders or not are_numbers):
        for folders in (sets.every, sets.asked):
            if len(folders) == classes.num_classes:
                # As ImageFolder numbered them when this checkpoint was trained.
                return {word: i for i, word in enumerate(folders)}, _BY_ORDER
    return {}, "unknown"


def _by_name(classes: ClassSpace) -> dict[str, int]:
    """The class of each name. ImageNet has two cranes: a name of two classes is left out."""
    names = classes.names or (class_names() if classes.is_imagenet else ())
    times = Counter(names)
    return {name: i for i, name in enumerate(names) if times[name] == 1}


def _has_own_order(classes: ClassSpace) -> bool:
    """Whether nothing is known of the outputs' order, so that it may be that of the folders."""
    return classes.names is None and not classes.is_imagenet


def _is_number(word: str) -> bool:
    return word.isdecimal() and len(word) <= _LONGEST_NUMBER


def _are_indices(classes: ClassSpace, sets: WordSets) -> bool:
    """Whether the data's numbers can be class indices: all of them, also those not asked for.

    Folders 1 to 1,000, as ILSVRC's IDs, do not become indices where the last is left out.
    """
    numbers = [int(word) for word in sets.every if _is_number(word)]
    return (
        max(numbers) < classes.num_classes
        and len(set(numbers)) == len(numbers)  # no `1` beside `01`
        and _named(classes, sets) is None
    )


def _named(classes: ClassSpace, sets: WordSets) -> str | None:
    """A word of the data that names a class of the model."""
    by_name = {**_by_name(classes), **(wnid_index() if classes.is_imagenet else {})}
    return next((word for word in sets.every if word in by_name), None)


def _why_not(present: Sequence[str], classes: ClassSpace, sets: WordSets) -> str:
    """Why no word is a class of the model, and what can be done."""
    if not all(map(_is_number, sets.asked)):
        if sets.are_folders and len(sets.every) == 1:
            return (
                f"all images lie in the folder {present[0]!r}, which is not a class of this model "
                f"(name with --data the folder whose sub-folders are the classes)"
            )
        shown = next(word for word in sets.asked if not _is_number(word))
        return (
            f"classes such as {shown!r} are not classes of this model; name them by wnid, class "
            f"name or class index"
        )
    if (name := _named(classes, sets)) is not None:
        return f"the data's classes have numbers such as {present[0]!r} and names such as {name!r}"
    numbers = sorted(int(word) for word in sets.every if _is_number(word))
    last = classes.num_classes - 1
    if numbers[-1] <= last:
        return f"two of the data's classes have the same number ({_LIST_THEM})"
    other = ", so they may begin at 1" if (numbers[0], numbers[-1]) == (1, last + 1) else ""
    if other and classes.is_imagenet:
        other += " or be ILSVRC's IDs"
    return (
        f"the data's classes are numbered {numbers[0]:,} to {numbers[-1]:,} and the model's "
        f"outputs 0 to {last:,}{other} ({_LIST_THEM})"
    )


def _doubt(how: str, classes: ClassSpace, sets: WordSets) -> str | None:
    """That numbered folders have another order as text than as numbers."""
    if not (sets.are_folders and _has_own_order(classes) and all(map(_is_number, sets.asked))):
        return None
    words = next((s for s in (sets.every, sets.asked) if len(s) == classes.num_classes), ())
    by_number = sorted(filter(_is_number, words), key=int)
    pairs = zip(words, by_number, strict=False)
    swapped = next((f"{a!r} before {b!r}" for a, b in pairs if a != b), None)
    if swapped is None:
        return None
    if how == _BY_ORDER:
        return (
            f"the folders are numbered, and sorted as text ({swapped}), as ImageFolder does: if "
            f"the model counts them otherwise, the labels are wrong ({_LIST_THEM})"
        )
    return (
        f"the folders' numbers are taken as class indices, and ImageFolder sorts them as text "
        f"({swapped}): if the model was trained so, the labels are wrong ({_LIST_THEM})"
    )
