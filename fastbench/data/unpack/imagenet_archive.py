"""ImageNet's validation set, as it is handed out, becomes class folders.

It is a flat archive of 50,000 JPEGs, and a development kit with the labels (see
`imagenet_devkit.py`).

A name that is no validation image, and a number beyond the ground truth, end it before a byte is
written. A partial copy is legal: an archive of fewer images or a folder of them. `folders.py` does
the writing.

Names and labels are believed: nothing tells whether the pixels are ImageNet's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, DataNotFoundError, UsageError
from fastbench.data.archive import list_members, open_tar, reading
from fastbench.data.folder_tree import has_jpegs_name
from fastbench.data.imagenet_devkit import VALIDATION_IMAGE, read_wnids
from fastbench.data.unpack.folders import Entry, fill

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Sequence
    from pathlib import Path

MARKER: Final = "fastbench-imagenet.json"


def unpack_imagenet(
    output: Path,
    *,
    archive: Path | None = None,
    images: Path | None = None,
    devkit: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make `<output>/<wnid>/ILSVRC2012_val_00000001.JPEG` and so on, or complete it.

    Args:
        output: The folder; it is made where it is missing.
        archive: `ILSVRC2012_img_val.tar`, or a tar archive of some of its images.
        images: A flat folder of those images, in place of the archive.
        devkit: `ILSVRC2012_devkit_t12.tar.gz`, or the folder that it unpacks to.
        on_progress: Called with (images written, images in the source), first before any is
            written; not called where none is missing.

    Returns:
        The output folder.

    Raises:
        UsageError: Not exactly one of `archive` and `images` is given.
        DataNotFoundError: The archive, the folder or the development kit is not there.
        DataError: They are cut off, or hold something else.
        CorruptImageError: An image is not a JPEG, or was cut off.
        OutputError: The output folder cannot be written, is too small or holds something else.
    """
    if (archive is None) == (images is None):
        raise UsageError(
            "The images come from either an archive or a folder. Name one of them: "
            "--archive ILSVRC2012_img_val.tar or --images DIR."
        )
    wnids = read_wnids(devkit)
    if archive is not None:
        entries = _entries_of_archive(archive, wnids)
        source = {"archive": archive.name}
    else:
        assert images is not None
        entries = _entries_of_folder(images, wnids)
        source = {"images": images.resolve().name}
    return fill(
        output,
        entries,
        allowed={_name(number, wnid) for number, wnid in enumerate(wnids, start=1)},
        marker=MARKER,
        about={**source, "devkit": devkit.resolve().name},
        on_progress=on_progress,
    )


def _name(number: int, wnid: str) -> str:
    return f"{wnid}/ILSVRC2012_val_{number:08d}.JPEG"


def _entry(
    name: str, size: int, source: Path, member: tarfile.TarInfo | None, wnids: Sequence[str]
) -> Entry:
    match = VALIDATION_IMAGE.fullmatch(name)
    where = source if member else source.parent
    if match is None:
        raise DataError(
            f"{where} holds {name!r}, which is not an image of the ILSVRC2012 validation set. "
            "Those are named ILSVRC2012_val_00000001.JPEG and so on: name their archive or folder."
        )
    number = int(match[1])
    if not 1 <= number <= len(wnids):
        raise DataError(
            f"{where} holds {name!r}, while the development kit has labels for the images "
            f"1 to {len(wnids)}. Use the archive and the development kit of the same year."
        )
    return Entry(_name(number, wnids[number - 1]), size, source, member)


def _entries_of_archive(archive: Path, wnids: Sequence[str]) -> list[Entry]:
    with open_tar(archive) as tar:
        entries = [
            _entry(member.name.rpartition("/")[2], member.size, archive, member, wnids)
            for member in list_members(tar, archive)
        ]
    if not entries:
        raise DataNotFoundError(f"{archive} holds no images. Name ILSVRC2012_img_val.tar.")
    return entries


def _entries_of_folder(images: Path, wnids: Sequence[str]) -> list[Entry]:
    if not images.is_dir():
        what = "is not a folder" if images.exists() else "does not exist"
        raise DataNotFoundError(
            f"{images} {what}. Name the folder that holds ILSVRC2012_val_00000001.JPEG and so on."
        )
    with reading(images), os.scandir(images) as files:
        # Lists and notes may lie beside the images; other images may not.
        entries = [
            _entry(file.name, file.stat().st_size, images / file.name, None, wnids)
            for file in files
            if has_jpegs_name(file.name) and not file.name.startswith(".") and not file.is_dir()
        ]
    if not entries:
        raise DataNotFoundError(
            f"No JPEG files in {images} itself. Name the folder that holds "
            "ILSVRC2012_val_00000001.JPEG and so on; class folders need no unpacking."
        )
    return sorted(entries, key=lambda entry: entry.source)
