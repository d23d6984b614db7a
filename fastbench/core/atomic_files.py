"""How is a folder filled so that nothing in it is half there? Locks, and whole files or none."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["locked", "remove", "temporary_name", "whole"]


def remove(path: Path) -> None:
    """Delete a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write into the folder; the lock goes when its holder does."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems know no locks. Two calls then write the same bytes twice.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def temporary_name(path: Path) -> Path:
    """A hidden name in the same folder, of this process alone."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name, renamed to `path` where the block comes to its end."""
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        remove(temporary)
        raise
