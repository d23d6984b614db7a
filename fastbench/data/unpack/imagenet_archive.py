"""ImageNet's validation set, as it is handed out, becomes class folders.

It is a flat archive of 50,000 JPEGs, and a development kit with the labels: line k of its ground
truth is the ILSVRC2012_ID of image k, and its `meta.mat` says which wnid that ID stands for. IDs
follow no order of names, so guessing them would mislabel every image.

A name that is no validation image, and a number beyond the ground truth, end it before a byte is
written. A partial copy is legal: an archive of fewer images or a folder of them. `folders.py` does
the writing.

Names and labels are believed: nothing tells whether the pixels are ImageNet's.
"""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, DataNotFoundError, UsageError, first_line
from fastbench.data.folder_tree import has_jpegs_name
from fastbench.data.imagenet import WNID
from fastbench.data.unpack.folders import (
    LARGEST_TEXT,
    Entry,
    fill,
    list_members,
    open_tar,
    read_member,
    reading,
)

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Sequence
    from pathlib import Path

MARKER: Final = "fastbench-imagenet.json"

_IMAGE: Final = re.compile(r"ILSVRC2012_val_([0-9]{8})\.JPEG")
_DEVKIT: Final = "ILSVRC2012_devkit_t12"
_META: Final = "meta.mat"
_GROUND_TRUTH: Final = "ILSVRC2012_validation_ground_truth.txt"


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
    wnids = _read_wnids(devkit)
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


def _read_wnids(devkit: Path) -> list[str]:
    """The wnid of each validation image, image 1 first."""
    meta, ground_truth = _devkit_files(devkit)
    wnid_of = _read_synsets(meta, devkit)
    wnids: list[str] = []
    lines = ground_truth.decode(errors="replace").rstrip().split("\n")
    for number, text in enumerate(map(str.strip, lines), start=1):
        wnid = wnid_of.get(int(text)) if re.fullmatch("[0-9]{1,9}", text) else None
        if wnid is None:
            raise DataError(
                f"Line {number} of {_GROUND_TRUTH} in {devkit} is {text!r}, which is no "
                f"class's ID in {_META}. Use {_DEVKIT}.tar.gz as it was downloaded."
            )
        wnids.append(wnid)
    return wnids


def _devkit_files(devkit: Path) -> tuple[bytes, bytes]:
    """The content of `meta.mat` and of the ground truth, from an archive or a folder."""
    wanted = (_META, _GROUND_TRUTH)
    if not devkit.exists():
        raise DataNotFoundError(
            f"The development kit {devkit} does not exist. "
            f"Name {_DEVKIT}.tar.gz, or the folder that it unpacks to, with --devkit."
        )
    if devkit.is_dir():
        for folder in (devkit / "data", devkit / _DEVKIT / "data", devkit):
            paths = [folder / name for name in wanted]
            if all(path.is_file() for path in paths):
                with reading(devkit):
                    return paths[0].read_bytes(), paths[1].read_bytes()
    else:
        with open_tar(devkit) as tar:
            found = {
                name: member
                for member in tar
                for name in wanted
                if member.isfile() and f"/{member.name}".endswith(f"/data/{name}")
            }
            if len(found) == len(wanted):
                meta, truth = (read_member(tar, found[name], LARGEST_TEXT) for name in wanted)
                return meta, truth
    raise DataError(
        f"{devkit} does not hold data/{_META} and data/{_GROUND_TRUTH}. "
        f"Name {_DEVKIT}.tar.gz, or the folder that it unpacks to, with --devkit."
    )


def _read_synsets(meta: bytes, devkit: Path) -> dict[int, str]:
    """The wnid of each ILSVRC2012_ID that an image can have: those of synsets without children."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True, variable_names=["synsets"])["synsets"]
        columns = (synsets[key].ravel() for key in ("ILSVRC2012_ID", "WNID", "num_children"))
        rows = [
            (int(number), str(wnid))
            for number, wnid, num_children in zip(*columns, strict=True)
            if int(num_children) == 0
        ]
    # loadmat raises errors of zlib, struct, numpy and others.
    except Exception as error:
        reason = first_line(error).strip("'\"")
        raise DataError(
            f"{_META} in {devkit} is not the list of synsets of ILSVRC2012 ({reason}). "
            f"Use {_DEVKIT}.tar.gz as it was downloaded."
        ) from error
    wnid_of = dict(rows)
    numbered = sorted(number for number, _ in rows) == list(range(1, len(rows) + 1))
    wnids = set(wnid_of.values())
    if not numbered or len(wnids) < len(rows) or not all(map(WNID.fullmatch, wnids)):
        raise DataError(
            f"The classes of {_META} in {devkit} are not numbered from 1 with one wnid each. "
            f"Use {_DEVKIT}.tar.gz as it was downloaded."
        )
    return wnid_of


def _name(number: int, wnid: str) -> str:
    return f"{wnid}/ILSVRC2012_val_{number:08d}.JPEG"


def _entry(
    name: str, size: int, source: Path, member: tarfile.TarInfo | None, wnids: Sequence[str]
) -> Entry:
    match = _IMAGE.fullmatch(name)
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
