"""The reference's float32 predictions, kept in a file beside the records.

All rows of a model are compared with them, and each row has its own process. The first row that
needs them writes them: the reference's own, or another one after an extra pass. The file's name is
a digest of what they depend on; of code, only the file of a callable's module is among that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fastbench.core.atomic_files import write_whole
from fastbench.core.reading import read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER: Final = ".reference"
"""Below the folder of the records. Its files have no suffix: they are no records."""


def find(folder: Path, depends_on: Mapping[str, Any], num_samples: int) -> list[int] | None:
    """The predictions by sample id; None if they are not there."""
    try:
        stored = msgspec.json.decode(read_regular(_path(folder, depends_on)), type=list[int])
    except (OSError, ValueError):  # not there, or cut off
        return None
    return stored if len(stored) == num_samples else None


def keep(folder: Path, depends_on: Mapping[str, Any], predictions: list[int]) -> None:
    """Write the predictions for other rows; if that fails, those make their own."""
    path = _path(folder, depends_on)
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps(predictions).encode())


def _path(folder: Path, depends_on: Mapping[str, Any]) -> Path:
    text = json.dumps(depends_on, sort_keys=True)
    return folder / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:32]
