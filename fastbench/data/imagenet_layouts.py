"""ImageNet's validation images as Kaggle, ILSVRC and torchvision hand them out.

They lie flat in a folder, and something near it says which class each has: Kaggle's
`LOC_val_solution.csv`, ILSVRC's development kit (see `imagenet_devkit.py`), or the annotations of
the bounding boxes. Each goes by the number in an image's name, so a part of the images has the
right labels too.
"""

from __future__ import annotations

import re
from os.path import isdir, isfile  # False also where a folder may not be read
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError
from fastbench.core.reading import read_regular
from fastbench.data.archive import reading
from fastbench.data.csv_file import read_table
from fastbench.data.imagenet_devkit import (
    DEVKIT,
    GROUND_TRUTH,
    META,
    VALIDATION_IMAGE,
    read_wnids,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SOLUTION: Final = "LOC_val_solution.csv"
_BELOW: Final = ("ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val", "CLS-LOC/val")
_ANNOTATIONS: Final = "Annotations/CLS-LOC/val"
_OF_TORCHVISION: Final = ("meta.bin", f"{DEVKIT}.tar.gz")
_NUM_ABOVE: Final = 4
"""From Kaggle's `ILSVRC/Data/CLS-LOC/val` up to the folder with its solution."""
_CLASS: Final = re.compile(rb"<name>(n\d{8})</name>")


def validation_folder(folder: Path) -> Path:
    """The folder of the validation images in ImageNet's own layouts; in any other, `folder`.

    Kaggle's and torchvision's have `train` beside it, with 1.3 million images.
    """
    found = [folder / below for below in _BELOW]
    if folder.name == "CLS-LOC" or any(isfile(folder / name) for name in _OF_TORCHVISION):
        found.append(folder / "val")
    return next(filter(isdir, found), folder)


def wnids_of(folder: Path, names: Sequence[str]) -> tuple[list[str] | None, str]:
    """The wnid of each image of a flat folder, and the name of the file that says so.

    None, and why, if they are not ImageNet's validation images or nothing near says it: in the
    folder, and in those above it as far as Kaggle's layout goes.

    Raises `DataError` if the file has no label for one of them, or is not what its name says.
    """
    if not all(map(VALIDATION_IMAGE.fullmatch, names)):
        return None, ""
    lone = ""
    around = (folder, *folder.parents[:_NUM_ABOVE])
    for near in around:
        if isfile(file := near / SOLUTION):
            return _labelled(names, _read_solution(file), SOLUTION, folder), SOLUTION
        for kit in (near, near / "data", near / DEVKIT / "data"):
            if isfile(kit / GROUND_TRUTH):
                if isfile(kit / META):
                    return by_number(names, read_wnids(kit), folder), GROUND_TRUTH
                lone = lone or str(kit / GROUND_TRUTH)
        if isfile(archive := near / f"{DEVKIT}.tar.gz"):
            return by_number(names, read_wnids(archive), folder), archive.name
    boxes = next(filter(isdir, (near / _ANNOTATIONS for near in around)), None)
    if boxes is not None:  # last: a file for each image
        return [_annotated(boxes, name) for name in names], _ANNOTATIONS
    if lone:
        return None, (
            f"{lone} has ILSVRC's IDs, which only {META} of the same kit translates: copy it there"
        )
    return None, f"ImageNet's need {SOLUTION} or {DEVKIT}.tar.gz beside the images' folder"


def by_number(names: Sequence[str], wnids: Sequence[str], folder: Path) -> list[str]:
    """The wnid of each image, of those of image 1, 2 and so on. Raises `DataError` beyond them."""
    numbers = range(1, len(wnids) + 1)
    known = {f"ILSVRC2012_val_{n:08d}": wnid for n, wnid in zip(numbers, wnids, strict=True)}
    return _labelled(names, known, GROUND_TRUTH, folder)


def _labelled(
    names: Sequence[str], wnid_of: Mapping[str, str], file: str, folder: Path
) -> list[str]:
    stems = [name.removesuffix(".JPEG") for name in names]
    unknown = [stem for stem in stems if stem not in wnid_of]
    if unknown:
        raise DataError(
            f"{file} has no label for {unknown[0]} in {folder} ({len(unknown):,} of "
            f"{len(names):,} images). Use the images and the labels of ILSVRC2012."
        )
    return [wnid_of[stem] for stem in stems]


def _read_solution(file: Path) -> dict[str, str]:
    with reading(file):
        table = read_table(read_regular(file).decode("utf-8-sig", "surrogateescape"), file)
    return {name: word for name, word in table or () if word is not None}


def _annotated(boxes: Path, name: str) -> str:
    """The class of an image, which is that of all its boxes."""
    file = boxes / f"{name.removesuffix('.JPEG')}.xml"
    with reading(file):
        found = {*_CLASS.findall(read_regular(file))}
    if len(found) != 1:
        raise DataError(
            f"{file} names {len(found)} classes, not one. Copy it again, or put {SOLUTION} beside "
            f"the folder of the images."
        )
    return found.pop().decode()
