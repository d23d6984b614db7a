"""What the system or the installation refuses, which Python and libraries word in many ways.

`as_ours` is asked where an error would end the program, or a row's process, unexplained.
"""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path
from typing import Final

from fastbench.core.errors import (
    FastbenchError,
    InstallationError,
    LimitError,
    OutOfMemoryError,
    UsageError,
    first_line,
    kind_and_line,
)

_REFUSED: Final = (
    "bad_alloc",
    "cannot allocate memory",
    "failed to map segment",  # of a shared library
)
"""What only the system says, and no program of its own."""
_OF_MEMORY: Final = (
    *_REFUSED,
    "can't allocate memory",
    "defaultcpuallocator",
    "memory allocation",
    "out of memory",
)
_LIMITS: Final = (
    (
        _REFUSED,
        "memory",
        "Raise the limit of address space (ulimit -v), or use a smaller --batch-size and fewer "
        "--num-threads",
    ),
    (
        ("too many open files", "of ancdata"),
        "open files",
        "Raise their limit: ulimit -n 4096",
    ),
    (
        ("resource temporarily unavailable", "can't start new thread", "eagain"),
        "processes or threads",
        "Raise the limits of them and of memory (ulimit -u, ulimit -v; of a container: "
        "--pids-limit), or use fewer --num-threads",
    ),
)
"""How libraries say that a limit was reached, what is limited, and what to do."""
_OF_TORCHVISION: Final = ("operator torchvision::", "couldn't load custom c++ ops")
"""What is said when torchvision is called and was built for another torch."""
_LONGEST = 200
"""Characters of a path that are shown."""


def is_of_memory(error: BaseException) -> bool:
    """Whether the memory of the host or of a device ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError)
        and (getattr(error, "errno", None) == errno.ENOMEM or any(x in text for x in _OF_MEMORY))
    )


def limit_in(text: str, when: str) -> LimitError | None:
    """The error for a limit that a text tells of; `when` goes on from "The system refused ..."."""
    for words, what, remedy in _LIMITS:
        if any(word in text.lower() for word in words):
            return LimitError(f"The system refused more {what} {when}. {remedy}.")
    return None


def limit_of(error: BaseException, when: str) -> LimitError | None:
    """As `limit_in`, for an error and its causes."""
    part: BaseException | None = error
    for _ in range(10):  # causes can form a circle
        if part is None:
            break
        text = "Cannot allocate memory" if isinstance(part, MemoryError) else str(part)
        if (limit := limit_in(text, when)) is not None:
            return limit
        part = part.__cause__ or (None if part.__suppress_context__ else part.__context__)
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
    if (limit := limit_of(error, "here")) is not None:
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
    if any(text in str(error).lower() for text in _OF_TORCHVISION):
        return InstallationError(_not_imported("torchvision", error))
    return None


def _not_imported(package: str, error: BaseException) -> str:
    """Why torch or torchvision cannot be imported, and which versions fit."""
    reason = first_line(error)
    torch = _version("torch") or "(not installed)"
    if package == "torch":
        return f"torch {torch} cannot be imported ({reason}). Install it again."
    torchvision = _version("torchvision") or "(not installed)"
    needed = _torch_needed(torch)
    why = (
        f"this torchvision needs torch {needed}"
        if needed
        else "their versions fit, so they are of different builds"
    )
    return (
        f"torch {torch} and torchvision {torchvision} do not fit ({reason}): {why}. Install both "
        f"together: pip install --upgrade torch torchvision"
    )


def _torch_needed(torch: str) -> str | None:
    """Which versions of torch the installed torchvision is for, if `torch` is none of them."""
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in metadata.requires("torchvision") or ()]
    except metadata.PackageNotFoundError:
        return None
    for each in needed:
        if each.name == "torch" and not each.specifier.contains(torch, prereleases=True):
            return str(each.specifier).removeprefix("==")
    return None


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
