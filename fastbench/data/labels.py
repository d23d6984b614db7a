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
from fastbench.data.imagenet import WNID, class_names, wnid_index, wnids

if TYPE_CHECKING:
    from collections.abc import Sequence

BY_WNID: Final = "mapped by ImageNet wnid"


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
    """The class index of each sample, None without labels of this model, and how it was found."""

    indices: tuple[int, ...] | None
    how: str


@dataclass(frozen=True, kw_only=True)
class WordSets:
    """All words that a data set labels with, and those that were asked for, each sorted.

    Classes are numbered by these: a limit may leave some without a sample.
    """

    every: tuple[str, ...]
    asked: tuple[str, ...]
    are_folders: bool


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
        return Labels(indices=None, how="no labels: the images have no class folders")
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
        # Among numbers, one that is too large for this model's classes.
        shown = next((word for word in sets.asked if not _is_index(word, classes)), present[0])
        return Labels(
            indices=None,
            how=f"no labels: classes such as {shown!r} are not classes of this model",
        )
    return Labels(indices=tuple(known[word] for word in words if word is not None), how=how)


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
    return Labels(indices=indices, how=how), classes.keep(kept)


def _known(present: list[str], classes: ClassSpace, sets: WordSets) -> tuple[dict[str, int], str]:
    """The first rule under which any class is known: wnid, class name, index, sorted order."""
    if classes.is_imagenet and any(WNID.fullmatch(word) for word in present):
        return wnid_index(), BY_WNID
    names = classes.names or (class_names() if classes.is_imagenet else None)
    if names is not None:
        # ImageNet has two cranes: a name that two classes share maps to neither.
        times = Counter(names)
        by_name = {name: i for i, name in enumerate(names) if times[name] == 1}
        if any(word in by_name for word in present):
            return by_name, "mapped by class name"
    if all(_is_index(word, classes) for word in sets.asked):
        return {word: int(word) for word in present}, "mapped by class index"
    # A list's numbers are indices, though they may be those of other classes.
    is_numbered = sets.are_folders or not all(word.isdecimal() for word in sets.asked)
    if classes.names is None and not classes.is_imagenet and is_numbered:
        for folders in (sets.every, sets.asked):
            if len(folders) == classes.num_classes:
                # As ImageFolder numbered them when this checkpoint was trained.
                return {word: i for i, word in enumerate(folders)}, "mapped by sorted folder order"
    return {}, "unknown"


def _is_index(word: str, classes: ClassSpace) -> bool:
    return word.isdecimal() and int(word) < classes.num_classes
