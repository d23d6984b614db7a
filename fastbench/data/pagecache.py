"""Are the files in memory already? Read beforehand (warm), or put out of the cache (cold).

A second run over the same files is faster than the first, because the kernel keeps what was read.
So the state is a condition of a measurement, and made, not found: *warm* reads every file once
before anything is timed, *cold* asks the kernel to forget them (posix_fadvise, DONTNEED), and looks
whether it did.

What it does not know: the caches below the kernel's, of a disk, a hypervisor or a network server.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["forget", "read_all", "share_in_memory"]

_CHUNK: Final = 1 << 20
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
    if num_bytes > _available_bytes() / 2:
        return False
    if share_in_memory(paths) == 1.0:
        return True
    with ThreadPoolExecutor(_NUM_THREADS, "fastbench-read") as readers:
        for done, _ in enumerate(readers.map(_read, paths), start=1):
            if on_progress is not None:
                on_progress(done, len(paths))
    return True


def forget(paths: Sequence[str]) -> None:
    """Ask the kernel to drop files from its page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def share_in_memory(paths: Sequence[str]) -> float | None:
    """Share of some files, evenly spread, whose last byte is read without a wait; None if unknown.

    A file that is partly in the cache counts by its end, which is read last.
    """
    num = min(_NUM_PROBED, len(paths))
    found = [_is_in_memory(paths[i * len(paths) // num]) for i in range(num)]
    if None in found:
        return None
    return sum(map(bool, found)) / num


def _read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(_CHUNK):
            pass


def _is_in_memory(path: str) -> bool | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        end = max(0, os.fstat(descriptor).st_size - 1)
        # It fails where the data would have to be waited for, or the file system cannot tell.
        os.preadv(descriptor, [bytearray(1)], end, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return True


def _available_bytes() -> float:
    """Memory that programs and the cache can still take, by the kernel's own estimate."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return 1024 * float(fields["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return float("inf")
