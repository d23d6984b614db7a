"""Which library `malloc` is from, and what it does with freed memory.

glibc gives large blocks back to the system when they are freed. A model without compilation frees
each activation, so the kernel takes and clears the same pages again for each batch, which can take
half of all CPU seconds. Kept memory is used again. A process can be told so before or after it has
allocated; not so by `GLIBC_TUNABLES`, which is read when a program starts.

The workers of a loader allocate little at a time and are left alone: they gain nothing.
"""

from __future__ import annotations

import ctypes
import platform
import re
from pathlib import Path
from typing import Final, Literal

from fastbench.core.cores import read_text

Choice = Literal["keep", "system"]

_OTHERS: Final = re.compile(r"/lib(jemalloc|tcmalloc|mimalloc|snmalloc|hoard)[^/\s]*$", re.M)
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_NEVER: Final = -1
_is_kept = False


def library(root: Path = Path("/")) -> str | None:
    """The library of `malloc`: one that was loaded before the system's, or that one."""
    if loaded := _OTHERS.search(read_text(root / "proc/self/maps")):
        return loaded[1]
    return " ".join(platform.libc_ver()).strip() or None


def set_up(choice: Choice) -> str | None:
    """Have this process keep freed memory, from now on; the reason where that cannot be.

    `system` changes nothing: what was kept once is kept.
    """
    global _is_kept
    if choice == "system" or _is_kept:
        return None
    name = library() or "an unknown library"
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if not name.startswith("glibc") or mallopt is None:
        return f"malloc is of {name}, which decides by itself on freed memory"
    # No block has a mapping of its own, which would be unmapped; the heap's end is not cut off.
    _is_kept = mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, _NEVER) == 1
    return None if _is_kept else f"{name} refuses to keep freed memory"


def in_force() -> Choice:
    """What holds in this process."""
    return "keep" if _is_kept else "system"
