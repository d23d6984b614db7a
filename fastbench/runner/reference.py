"""The reference's float32 predictions, which every row is held against, kept beside the records.

Each row is measured in a process of its own, and all rows of a model need the same list. Whoever
has it first writes it: the reference's own row for nothing, where it runs in float32 and eagerly,
any other by a pass apart. The name of the file is a digest of all that the predictions depend on.

A change of a model's or a loader's code is not noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fastbench.core.atomic_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = ".reference"
"""Below the folder of the records. Its files have no suffix: they are no records."""


def find(folder: Path, depends_on: Mapping[str, Any], num_samples: int) -> list[int] | None:
    """The predictions by sample id, or None where they are not there."""
    try:
        stored = msgspec.json.decode(_path(folder, depends_on).read_bytes(), type=list[int])
    except (OSError, ValueError):  # not there, or cut off
        return None
    return stored if len(stored) == num_samples else None


def keep(folder: Path, depends_on: Mapping[str, Any], predictions: list[int]) -> None:
    """Write the predictions for other rows; where that fails, they make their own."""
    path = _path(folder, depends_on)
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps(predictions).encode())


def stamp(name: str) -> list[int] | None:
    """Size and time of the file that a name of weights or of a model stands for, if it does."""
    try:
        found = Path(name).expanduser().stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def _path(folder: Path, depends_on: Mapping[str, Any]) -> Path:
    text = json.dumps(depends_on, sort_keys=True)
    return folder / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:32]
