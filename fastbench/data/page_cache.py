"""The state of the kernel's page cache: files are read beforehand (warm), or put out of it (cold).

A second run over the same files is faster than the first, because the kernel keeps what was read.
So the state is made before a measurement: *warm* reads every file once, *cold* asks the kernel to
forget them (posix_fadvise, DONTNEED), and then looks whether it did.

Caches below the kernel's (of a disk, a hypervisor or a network server) are left as they are.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING, Final

import psutil

from fastbench.core.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NUM_PROBED: Final = 256
_NUM_THREADS: Final = 16
"""Reading waits for the disk, not for a core."""


def read_all(
    paths: Sequence[str],
    num_bytes: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Read files of `num_bytes` together into the page cache; False where they would not stay.

    Files that take more than half of the memory that is available are not read. `on_progress` is
    called with (files read, files).
    """
    if num_bytes > psutil.virtual_memory().available / 2:
        return False
    with thread_map(_read, paths, _NUM_THREADS, "fastbench-read") as read:
        for done, _ in enumerate(read, start=1):
            if on_progress is not None:
                on_progress(done, len(paths))
    return True


def forget(paths: Sequence[str]) -> None:
    """Ask the kernel to drop files from its page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)  # pages that are not on the disk yet are not dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def share_in_memory(paths: Sequence[str]) -> float | None:
    """The share of the pages of some files, evenly spread, in memory; None where it is unknown.

    mincore(2) tells. Trying to read without waiting would make the kernel read ahead.
    """
    num = min(_NUM_PROBED, len(paths))
    resident = total = 0
    for i in range(num):
        found = _pages(paths[i * len(paths) // num])
        if found is None:
            return None
        resident += found[0]
        total += found[1]
    return resident / total if total else 1.0


def _read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def _pages(path: str) -> tuple[int, int] | None:
    """A file's pages in memory, and all of its pages; None where the kernel does not tell."""
    # It tells only of files that this process owns or may write.
    if not (os.access(path, os.W_OK) or os.stat(path).st_uid == os.geteuid()):
        return None
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return 0, 0
        # A private mapping: nothing is written, but ctypes takes the address of writable memory.
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
            start = ctypes.c_char.from_buffer(mapped)
            vector = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
            failed = ctypes.CDLL(None).mincore(
                ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), vector
            )
            del start  # or the mapping could not be closed
    return None if failed else (sum(byte & 1 for byte in vector), len(vector))
