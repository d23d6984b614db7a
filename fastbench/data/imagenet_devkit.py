"""ILSVRC2012's development kit: which wnid each of the validation images has.

Line k of its ground truth is the ILSVRC2012_ID of image k, and its `meta.mat` says which wnid that
ID stands for. IDs follow no order of names: to take them for the models' indices would mislabel
every image.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, DataNotFoundError, first_line
from fastbench.data.archive import LARGEST_TEXT, open_tar, read_member, reading
from fastbench.data.imagenet import WNID

if TYPE_CHECKING:
    from pathlib import Path

VALIDATION_IMAGE: Final = re.compile(r"ILSVRC2012_val_([0-9]{8})\.JPEG")
DEVKIT: Final = "ILSVRC2012_devkit_t12"
GROUND_TRUTH: Final = "ILSVRC2012_validation_ground_truth.txt"
META: Final = "meta.mat"


def read_wnids(devkit: Path) -> list[str]:
    """The wnid of each validation image, image 1 first.

    `devkit` is `ILSVRC2012_devkit_t12.tar.gz`, the folder that it unpacks to, or one that holds the
    two files. Raises `DataNotFoundError` where it is not there, `DataError` for anything else.
    """
    meta, ground_truth = _devkit_files(devkit)
    wnid_of = _read_synsets(meta, devkit)
    wnids: list[str] = []
    lines = ground_truth.decode(errors="replace").rstrip().split("\n")
    for number, text in enumerate(map(str.strip, lines), start=1):
        wnid = wnid_of.get(int(text)) if re.fullmatch("[0-9]{1,9}", text) else None
        if wnid is None:
            raise DataError(
                f"Line {number} of {GROUND_TRUTH} in {devkit} is {text!r}, which is no "
                f"class's ID in {META}. Use {DEVKIT}.tar.gz as it was downloaded."
            )
        wnids.append(wnid)
    return wnids


def _devkit_files(devkit: Path) -> tuple[bytes, bytes]:
    """The content of `meta.mat` and of the ground truth, from an archive or a folder."""
    wanted = (META, GROUND_TRUTH)
    if not devkit.exists():
        raise DataNotFoundError(
            f"The development kit {devkit} does not exist. "
            f"Name {DEVKIT}.tar.gz, or the folder that it unpacks to, with --devkit."
        )
    if devkit.is_dir():
        for folder in (devkit / "data", devkit / DEVKIT / "data", devkit):
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
        f"{devkit} does not hold data/{META} and data/{GROUND_TRUTH}. "
        f"Name {DEVKIT}.tar.gz, or the folder that it unpacks to, with --devkit."
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
            f"{META} in {devkit} is not the list of synsets of ILSVRC2012 ({reason}). "
            f"Use {DEVKIT}.tar.gz as it was downloaded."
        ) from error
    wnid_of = dict(rows)
    numbered = sorted(number for number, _ in rows) == list(range(1, len(rows) + 1))
    wnids = set(wnid_of.values())
    if not numbered or len(wnids) < len(rows) or not all(map(WNID.fullmatch, wnids)):
        raise DataError(
            f"The classes of {META} in {devkit} are not numbered from 1 with one wnid each. "
            f"Use {DEVKIT}.tar.gz as it was downloaded."
        )
    return wnid_of
