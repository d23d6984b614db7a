"""What the system or the installation refuses, which Python and libraries word in many ways.

`as_ours` is asked where an error would end the program, or a row's process, unexplained.
"""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from fastbench.core.errors import (
    FastbenchError,
    InstallationError,
    LimitError,
    OutOfMemoryError,
    UsageError,
    first_line,
    kind_and_line,
)

_OF_MEMORY = (
    "defaultcpuallocator",
    "out of memory",
    "bad_alloc",
    "memory allocation",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to map segment",  # of a shared library
)
_OF_LIMITS = {
    "can't start new thread": "ulimit -u for threads and processes, ulimit -v for their memory",
    "too many open files": "ulimit -n for open files",
    "resource temporarily unavailable": "ulimit -u for threads and processes",
}
_LONGEST = 200
"""Characters of a path that are shown."""


def is_of_memory(error: BaseException) -> bool:
    """Whether the memory of the host or of a device ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError)
        and (getattr(error, "errno", None) == errno.ENOMEM or any(x in text for x in _OF_MEMORY))
    )


def as_limit(error: BaseException) -> LimitError | None:
    """Our error for a limit of threads, processes or open files; None for any other."""
    if isinstance(error, RuntimeError | OSError):
        for words, limits in _OF_LIMITS.items():
            if words in str(error).lower():
                return LimitError(
                    f"A limit of the system was reached ({kind_and_line(error)}). Raise it "
                    f"({limits}), or use fewer --num-threads."
                )
    return None


def as_ours(error: BaseException) -> FastbenchError | None:
    """Our error for memory, another limit, a path, or packages that do not fit; else None."""
    ours = _in_words(error)
    if ours is not None:
        ours.__cause__ = error
    return ours


def _in_words(error: BaseException) -> FastbenchError | None:
    if is_of_memory(error):
        return OutOfMemoryError(
            f"Out of memory ({kind_and_line(error)}). Allow the process more (ulimit -v, or the "
            f"container's limit), or try a smaller --batch-size and fewer --num-threads."
        )
    if (limit := as_limit(error)) is not None:
        return limit
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes):
        path = os.fsdecode(error.filename)
        shown = path if len(path) <= _LONGEST else f"{path[:_LONGEST]}..."
        return UsageError(f"{shown} cannot be used ({error.strerror}). Check the path.")
    frames = traceback.extract_tb(error.__traceback__)
    files = [Path(frame.filename) for frame in frames if frame.name == "<module>"]  # imports
    for package in ("torchvision", "torch"):
        if any(file.match(f"{package}/__init__.py") for file in files):
            return InstallationError(_not_imported(package, error))
    return None


def _not_imported(package: str, error: BaseException) -> str:
    """Why torch or torchvision cannot be imported, and which versions fit."""
    from importlib import metadata

    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "(not installed)"

    reason = first_line(error)
    if package == "torch":
        return f"torch {version('torch')} cannot be imported ({reason}). Install it again."
    try:
        needed = [x for x in metadata.requires("torchvision") or () if x.startswith("torch")]
    except metadata.PackageNotFoundError:
        needed = []
    wanted = f"torchvision {version('torchvision')} needs {needed[0]}: " if needed else ""
    return (
        f"torch {version('torch')} and torchvision {version('torchvision')} do not fit "
        f"({reason}). {wanted}install two that were released together, from one source."
    )
