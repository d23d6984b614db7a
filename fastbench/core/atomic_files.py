"""Files that are complete or not there at all: locks, temporary names, new names."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import OutputError, os_errors_as
from fastbench.core.units import SPELT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


MOST_BYTES: Final = 200
"""Of a file's name, where the system takes 255: a number and a suffix are added."""


def file_stem(*parts: str) -> str:
    """A file's name without its suffix; a part may hold slashes or be long, as a model's path."""
    name = "-".join(parts).replace("/", "_")
    return name.encode("utf-8", "ignore")[:MOST_BYTES].decode("utf-8", "ignore")


def remove(path: Path) -> None:
    """Delete a file, which may not exist."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write into the folder; the lock ends with its holder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems have no locks: two processes then write the same bytes.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def writing(
    what: str, path: Path, remedy: str = "Free some space, or name another folder with --output."
) -> contextlib.AbstractContextManager[None]:
    """Raise an `OSError` as `OutputError`: `what` cannot be written to `path`, and the remedy."""
    return os_errors_as(OutputError, f"{what} cannot be written to {path}", remedy)


def write_text(what: str, path: Path, text: str) -> None:
    """Write a file that somebody named, whatever the text has. Raises `OutputError`."""
    with writing(what, path, "Name another file."):
        path.write_text(text, "utf-8", SPELT_OUT, newline="\n")


def json_or_none(path: Path) -> Any:
    """What a JSON file holds; None if it is missing, unreadable or cut off."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def temporary_name(path: Path) -> Path:
    """A hidden name in the same folder, which no other process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def meant_for(name: str) -> str | None:
    """The name that a temporary name stands for; None if it is not temporary."""
    match = re.fullmatch(r"\.(.+)\.\d+\.tmp", name)
    return match and match[1]


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name, which becomes `path` at the end of the block."""
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        remove(temporary)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, replacing an earlier one."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def write_new(folder: Path, stem: str, contents: Mapping[str, bytes]) -> list[Path]:
    """Write new files: `stem.json`, or `stem-2.json` if there is one.

    `contents` has a file's bytes by its suffix; all files get the same number.
    """
    for number in itertools.count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        files = {folder / f"{name}{suffix}": content for suffix, content in contents.items()}
        if any(path.exists() for path in files):
            continue
        with contextlib.suppress(FileExistsError):  # another process was faster
            for path, content in files.items():
                _write_once(path, content)
            return list(files)
    raise AssertionError


def _write_once(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        try:
            file.write(content)
            file.flush()
        except BaseException:  # a full disk, or Ctrl-C
            remove(path)
            raise
