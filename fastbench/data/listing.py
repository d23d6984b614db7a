"""Which label does a list give each image? One line an image: its path, then its label.

Path and label are separated by a tab, by a comma or by blanks, the same way in the whole file:
the way that most of its first lines agree with. With tabs and commas a path or a label may hold
blanks, and double quotes around a field keep a separator in it. With blanks neither can. Empty
lines and lines that begin with `#` count for nothing.

Paths are absolute, or relative to the list's own folder. What it does not know: whether the files
are there.
"""

from __future__ import annotations

import csv
import itertools
import os
from typing import TYPE_CHECKING, Final

from fastbench.data.manifest import JPEG_SUFFIXES
from fastbench.errors import DataError, DataNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_list"]

_SEPARATORS: Final = {"a tab": "\t", "a comma": ",", "a blank": " "}
_NUM_LINES_TO_TRY: Final = 100


def read_list(path: Path) -> list[tuple[str, str]]:
    """The (absolute path, label) of each line, in the list's order.

    Raises `DataNotFoundError` where there is no such list or nothing in it, `DataError` for a line
    that is not a path and a label, or whose path was there before.
    """
    lines = list(_lines(path))
    if not lines:
        raise DataNotFoundError(f"{path} lists no images. Give each a line: its path, its label.")
    first = [line for _, line in itertools.islice(lines, _NUM_LINES_TO_TRY)]
    separator = max(_SEPARATORS, key=lambda name: sum(_fits(line, name) for line in first))
    folder = path.absolute().parent
    found: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for number, line in lines:
        try:
            name, label = _split(line, separator)
        except ValueError as error:
            raise DataError(
                f"Line {number} of {path} is not a path and a label with {separator} between "
                f"them ({error}). Correct it, or begin it with # to leave it out."
            ) from error
        image = str(folder / name)
        if seen.setdefault(image, number) != number:
            raise DataError(
                f"Line {number} of {path} names {name!r}, as does line {seen[image]}. "
                "List each image once."
            )
        found.append((image, label))
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line that says something, with its number."""
    try:
        data = path.read_bytes()
    except OSError as error:
        if not path.exists():
            raise DataNotFoundError(
                f"The list {path} does not exist. Name a text file of paths and labels."
            ) from error
        raise DataError(
            f"The list {path} cannot be read ({error.strerror}). "
            "Name a text file that you may read."
        ) from error
    if b"\0" in data:
        number = data[: data.index(b"\0")].count(b"\n") + 1
        raise DataError(
            f"Line {number} of {path} holds a zero byte, which no UTF-8 text does. "
            "Save the list as UTF-8."
        )
    # A file's name can be any bytes; os.walk gives them the same way.
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def _split(line: str, separator: str) -> tuple[str, str]:
    """The path and the label of a line; raises `ValueError`, with the reason."""
    character = _SEPARATORS[separator]
    line = line.strip()
    if character == " ":
        fields = line.split()
    else:
        try:
            (row,) = csv.reader([line], delimiter=character, skipinitialspace=True, strict=True)
        except csv.Error as error:
            raise ValueError(f"its quotes are not in pairs: {error}") from error
        fields = [text.strip() for text in row]
    if len(fields) != 2:
        raise ValueError("it has 1 field" if len(fields) == 1 else f"it has {len(fields)} fields")
    if not all(fields):
        raise ValueError("the label is empty" if fields[0] else "the path is empty")
    return fields[0], fields[1]


def _fits(line: str, separator: str) -> int:
    """How well a line can be split so: 2 into a JPEG's path and a label, 1 into two, 0 not."""
    try:
        name, _ = _split(line, separator)
    except ValueError:
        return 0
    return 2 if os.path.splitext(name)[1].lower() in JPEG_SUFFIXES else 1
