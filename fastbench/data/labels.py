"""Which output of the model is each class folder? Mapped by name, never by counting folders.

A folder tree with 250 of ImageNet's 1,000 wnids, numbered 0 to 249, would score near zero with
nothing to show why. Where the names cannot be mapped the run goes on without labels, and says
so: throughput and agreement with the reference need none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from fastbench.data.imagenet import WNID, wnid_index
from fastbench.errors import DataError

__all__ = ["BY_WNID", "ClassSpace", "Labels", "map_labels"]

BY_WNID: Final = "mapped by ImageNet wnid"


@dataclass(frozen=True, kw_only=True)
class ClassSpace:
    """What is known of a model's outputs: how many, their names, whether they are ImageNet's."""

    num_classes: int
    names: tuple[str, ...] | None = None
    is_imagenet: bool = False


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The class index of each sample, and in words how it was found.

    `indices` is None where the samples have no labels that this model knows.
    """

    indices: tuple[int, ...] | None
    how: str


def map_labels(folders: tuple[str | None, ...], classes: ClassSpace) -> Labels:
    """Map each sample's class folder to the model's class index.

    Raises `DataError` where some folders are classes of the model and others are not: scoring
    the rest in silence would change the denominator.
    """
    present = sorted({folder for folder in folders if folder is not None})
    if not present:
        return Labels(indices=None, how="no labels: the folder has no class folders")
    known, how = _known(present, classes)
    unknown = [folder for folder in present if folder not in known]
    if unknown and len(unknown) < len(present):
        raise DataError(
            f"The class folder {unknown[0]!r} is not a class of this model, while others are "
            f"({len(present) - len(unknown)} of {len(present)}, {how}). Rename it or move it away."
        )
    if unknown:
        return Labels(
            indices=None,
            how=f"no labels: class folders such as {present[0]!r} are not classes of this model",
        )
    return Labels(indices=tuple(known[folder] for folder in folders if folder is not None), how=how)


def _known(present: list[str], classes: ClassSpace) -> tuple[dict[str, int], str]:
    """The first rule under which any folder is known: wnid, class name, index, sorted order."""
    if classes.is_imagenet and any(WNID.fullmatch(folder) for folder in present):
        return wnid_index(), BY_WNID
    if classes.names is not None:
        # ImageNet has two cranes: a name that two classes share maps to neither.
        times = Counter(classes.names)
        by_name = {name: i for i, name in enumerate(classes.names) if times[name] == 1}
        if any(folder in by_name for folder in present):
            return by_name, "mapped by class name"
    if all(folder.isdecimal() and int(folder) < classes.num_classes for folder in present):
        return {folder: int(folder) for folder in present}, "mapped by class index"
    if classes.names is None and not classes.is_imagenet and len(present) == classes.num_classes:
        # How ImageFolder numbered them when this checkpoint was trained.
        return {folder: i for i, folder in enumerate(present)}, "mapped by sorted folder order"
    return {}, "unknown"
