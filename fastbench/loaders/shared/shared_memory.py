"""The shared memory through which worker processes hand their batches over.

It is the file system /dev/shm, of which Docker gives a container 64 MB unless it is told otherwise.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import LoaderError
from fastbench.core.units import counted, format_bytes

if TYPE_CHECKING:
    import torch

    from fastbench.loaders.base import LoaderSpec

FOLDER: Final = "/dev/shm"
_NUM_TAKEN: Final = 2
"""Batches that have left the DataLoader's queue: the one in use, and the one after it."""


@dataclass(frozen=True)
class SharedMemory:
    """What the workers of a loader need, whose batches leave them in `dtype`."""

    loader: str
    spec: LoaderSpec
    num_workers: int
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """The most that is in use at a time.

        A DataLoader has `spec.prefetch` batches a worker in the making or in its queue, and asks
        for another when one leaves it. What it pins for a GPU is other memory.
        """
        spec = self.spec
        batch = spec.batch_size * 3 * spec.preprocess.crop**2 * self.dtype.itemsize
        return self._num_batches * batch

    @property
    def _num_batches(self) -> int:
        return self.num_workers * self.spec.prefetch + _NUM_TAKEN

    def check(self) -> None:
        """Raise `LoaderError` where there is not enough."""
        free = _num_bytes_free()
        if free is not None and free < self.num_bytes:
            raise self.error()

    def error(self) -> LoaderError:
        """The error that says what is needed, what is free, and what to do."""
        free = _num_bytes_free()
        advice = ["a smaller --batch-size"]
        if self.num_workers > 1:
            advice.append("fewer --num-threads")
        if self.spec.prefetch > 1:
            advice.append(f"--loader-option {self.loader}.prefetch=1")
        *others, last = advice
        less = f"{', '.join(others)} or {last}" if others else last
        return LoaderError(
            f"The loader {self.loader!r} needs {format_bytes(self.num_bytes)} of shared memory for "
            f"{self._num_batches} batches from {counted(self.num_workers, 'worker')}, and {FOLDER} "
            f"has {'no more' if free is None else f'{format_bytes(free)} free'}. Give a container "
            f"more with --shm-size={-(-self.num_bytes * 5 // (4 << 20))}m, or use {less}."
        )


def _num_bytes_free() -> int | None:
    """None where that is not known, or there is no limit."""
    try:
        stat = os.statvfs(FOLDER)
    except OSError:
        return None
    return stat.f_bavail * stat.f_frsize if stat.f_blocks else None
