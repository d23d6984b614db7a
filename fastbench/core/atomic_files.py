"""Files that are complete or not there at all: locks, temporary names, new names."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import OutputError, os_errors_as
from fastbench.core.reading import read_regular
from fastbench.core.units import SPELT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_BYTES: Final = 200
"""Of a file's name, where the system takes 255: a number and a suffix are added."""


def file_stem(*parts: str) -> str:
    """A file's name without its suffix; a part may hold slashes or be long, as a model's path.

    What other systems and CI's archives refuse in a name is `_`: `module:callable` has a colon.
    """
    name = re.sub(r'[/\\:*?"<>|]', "_", "-".join(parts))
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
    content = text.encode("utf-8", SPELT_OUT)
    with writing(what, path, "Name another file."):
        if path.exists() and not path.is_file():  # such as /dev/stdout
            path.write_bytes(content)
        else:
            write_whole(Path(os.path.realpath(path)), content)


def json_or_none(path: Path) -> Any:
    """What a JSON file holds; None if it is missing, unreadable or cut off."""
    try:
        return json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None


def temporary_name(path: Path) -> Path:
    """A hidden name in the same folder, which no other process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.fastbench.tmp")


_TEMPORARY: Final = re.compile(r"\.(.+)\.(\d+)(\.fastbench)?\.tmp")
"""Earlier versions wrote no `.fastbench`."""


def meant_for(name: str) -> str | None:
    """The name that a temporary name stands for; None if it is not temporary."""
    match = _TEMPORARY.fullmatch(name)
    return match and match[1]


@contextlib.contextmanager
def in_use(folder: Path, *below: Path) -> Iterator[None]:
    """Tell other processes that files are written there; first remove what killed ones have left.

    `below` are folders in it, which need not be there. Nothing is removed while another process
    uses the folder, be it on another machine: the number of its process says nothing here. Nor
    where the file system has no locks to tell.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for each in (folder, *below):
                remove_left_over(each)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def remove_left_over(folder: Path, name: str | None = None) -> None:
    """Remove what processes that have ended were writing in a folder.

    With `name` only what was to become that file. One whose process has a namesake is left.
    """
    for path in folder.glob(".*.tmp"):
        match = _TEMPORARY.fullmatch(path.name)
        # Without the word it may be somebody else's.
        if match and match[3] and name in (None, match[1]) and not _runs(int(match[2])):
            remove(path)


def _runs(pid: int) -> bool:
    """Whether another process has this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return pid != os.getpid()


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
    """Write new files that last: `stem.json`, or `stem-2.json` if there is one.

    `contents` has a file's bytes by its suffix; all files get the same number, and none is there
    if one cannot be written.
    """
    with contextlib.ExitStack() as stack:
        temporaries = {suffix: temporary_name(folder / f"{stem}{suffix}") for suffix in contents}
        for suffix, temporary in temporaries.items():
            stack.callback(remove, temporary)
            with open(temporary, "wb") as file:
                file.write(contents[suffix])
                file.flush()
                os.fsync(file.fileno())
        for number in itertools.count(1):
            name = stem if number == 1 else f"{stem}-{number}"
            paths = [folder / f"{name}{suffix}" for suffix in contents]
            if not any(path.exists() for path in paths) and all(
                map(_named_once, temporaries.values(), paths)
            ):
                return paths
    raise AssertionError


def _named_once(temporary: Path, path: Path) -> bool:
    """Give a file its name; False if another process was faster."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        try:
            temporary.replace(path)
        except OSError:
            remove(path)
            raise
    return True
