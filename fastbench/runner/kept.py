"""What rows share, kept in files: each row has its own process.

Beside the records: the reference's float32 predictions, with which all rows of a model are
compared, and the settings that were found for a loader. In the run's temporary folder, for what
holds for this run only: which files were checked and read into memory, and how some pixels compare
with the reference's. The first row that needs them makes them. A file's name is a digest of what
its value depends on; of code, only the file of a callable's module is among that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from fastbench.core.atomic_files import write_whole
from fastbench.core.reading import read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER: Final = ".kept"
"""Below the given folder. Its files have no suffix: they are no records."""
T = TypeVar("T")


def find(folder: Path, depends_on: Mapping[str, Any], kind: type[T]) -> T | None:
    """The value of this type; None if it is not there."""
    try:
        return msgspec.json.decode(read_regular(_path(folder, depends_on)), type=kind)
    except (OSError, ValueError):  # not there, or cut off
        return None


def keep(folder: Path, depends_on: Mapping[str, Any], value: object) -> None:
    """Write the value for other rows; if that fails, those make their own."""
    path = _path(folder, depends_on)
    with contextlib.suppress(OSError, UnicodeEncodeError):  # a file's name need not be text
        path.parent.mkdir(exist_ok=True)
        write_whole(path, msgspec.json.encode(value))


def _path(folder: Path, depends_on: Mapping[str, Any]) -> Path:
    text = json.dumps(depends_on, sort_keys=True)
    return folder / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:32]
