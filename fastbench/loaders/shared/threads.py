"""Threads that fill batches, image by image: for decoders that let go of Python's lock.

Against worker processes: nothing is pickled, nothing is copied between processes, and a thread
starts at once. The threads take the images of all batches in order, so a large image delays its
own batch alone, and the last images of a batch are not waited for by idle threads. Batches lie in
buffers that are made once and used in turn.

What it does not know: how much of its time a decoder holds Python's lock. Where that is much, more
threads do not help.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fastbench.loaders.base import Batch, LoaderSpec, Setting
from fastbench.loaders.shared.pixels import Normalizer, copy_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ThreadedLoader", "read_file"]

_HELD = 2
"""Batches that the consumer may still read: the one it has, and the one before."""


class ThreadedLoader:
    """A loader over `make_levels`, which turns a sample's id into its (crop, crop, 3) uint8 levels.

    `make_levels` is called from `spec.num_threads` threads at once. What it raises is raised for
    its batch, and the batches after that one go on.
    """

    reads_images = True

    def __init__(
        self,
        spec: LoaderSpec,
        make_levels: Callable[[int], torch.Tensor],
        settings: Mapping[str, Setting],
    ) -> None:
        self.settings: Mapping[str, Setting] = {
            **settings,
            "num_threads": spec.num_threads,
            "prefetch": spec.prefetch,
        }
        self._spec = spec
        self._make_levels = make_levels
        self._device = torch.device(spec.device)
        self._on_gpu = self._device.type == "cuda"
        self._normalizer = Normalizer(spec.preprocess, spec.device, spec.dtype)
        self._slots = [self._make_slot() for _ in range(spec.prefetch + _HELD)]
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._ready = threading.Condition(self._lock)
        self._closed = False
        self._num_asked = 0  # batches, over all epochs, that the consumer has asked for
        self._batch = self._row = 0  # the next image to be made
        self._started = threading.Barrier(spec.num_threads + 1)
        self._threads = [
            threading.Thread(target=self._work, name=f"fastbench-decode-{i}", daemon=True)
            for i in range(spec.num_threads)
        ]
        num_of_torch = torch.get_num_threads()
        for thread in self._threads:
            thread.start()
        self._started.wait()
        torch.set_num_threads(num_of_torch)  # for threads that are started from now on

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches."""
        while self._num_asked % self._spec.num_batches:
            self._next()
        for position in range(self._spec.num_batches):
            slot = self._next()
            start = position * self._spec.batch_size
            size = self._size_of(position)
            ids_N = torch.arange(start, start + size, device=self._device)
            yield Batch(self._images(slot, size), ids_N, size)

    def close(self) -> None:
        """Stop the threads, each after its current image."""
        with self._lock:
            self._closed = True
            self._room.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._slots.clear()

    def _images(self, slot: _Slot, size: int) -> torch.Tensor:
        if not self._on_gpu:
            return slot.rows_NHWC[:size].permute(0, 3, 1, 2)
        images_NCHW = self._normalizer(slot.rows_NHWC[:size])
        slot.sent = torch.cuda.Event()
        slot.sent.record(torch.cuda.current_stream(self._device))
        return images_NCHW

    def _next(self) -> _Slot:
        """Ask for the next batch, and wait for it."""
        if self._closed:
            raise RuntimeError("the loader is closed")
        number = self._num_asked
        # Asking lets the threads write over the batch before the last.
        if number >= _HELD and (sent := self._slot(number - _HELD).sent) is not None:
            sent.synchronize()
        with self._lock:
            self._num_asked += 1
            self._room.notify_all()
            slot = self._slot(number)
            self._ready.wait_for(lambda: slot.number == number and slot.num_missing == 0)
        if slot.error is not None:
            raise slot.error
        return slot

    def _work(self) -> None:
        # One image, one thread: torch would start others for it. Asked first, torch takes over
        # what is set for all threads, once and not after what is set here for this one.
        torch.get_num_threads()
        torch.set_num_threads(1)
        self._started.wait()
        while (taken := self._take()) is not None:
            slot, row, sample = taken
            error: Exception | None = None
            try:
                levels_HWC = self._make_levels(sample)
                if self._on_gpu:
                    copy_levels(levels_HWC, slot.rows_NHWC[row])
                else:
                    self._normalizer.into(levels_HWC, slot.rows_NHWC[row])
            except Exception as failure:  # noqa: BLE001 - raised again by the consumer
                error = failure
            with self._lock:
                slot.error = slot.error or error
                slot.num_missing -= 1
                if slot.num_missing == 0:
                    self._ready.notify_all()

    def _take(self) -> tuple[_Slot, int, int] | None:
        """The next image to be made: where it goes and its id; None once closed."""
        with self._lock:
            self._room.wait_for(
                lambda: self._closed or self._batch < self._num_asked + self._spec.prefetch
            )
            if self._closed:
                return None
            position, row = self._batch % self._spec.num_batches, self._row
            slot, size = self._slot(self._batch), self._size_of(position)
            if row == 0:
                slot.number, slot.num_missing, slot.error = self._batch, size, None
            self._row += 1
            if self._row == size:
                self._batch, self._row = self._batch + 1, 0
            return slot, row, position * self._spec.batch_size + row

    def _slot(self, number: int) -> _Slot:
        return self._slots[number % len(self._slots)]

    def _size_of(self, position: int) -> int:
        size = self._spec.batch_size
        return min(size, len(self._spec.paths) - position * size)

    def _make_slot(self) -> _Slot:
        crop = self._spec.preprocess.crop
        dtype = torch.uint8 if self._on_gpu else getattr(torch, self._spec.dtype)
        shape = (self._spec.batch_size, crop, crop, 3)
        # Zeros, not empty: the pages are there before the first image is timed.
        return _Slot(torch.zeros(shape, dtype=dtype, pin_memory=self._on_gpu))


@dataclass
class _Slot:
    """A batch's buffer: pinned levels for a GPU, else images; and how far it is."""

    rows_NHWC: torch.Tensor
    number: int = -1
    num_missing: int = 0
    error: Exception | None = None
    sent: Any = None
    """The event after which the GPU has its copy."""


def read_file(path: str) -> np.ndarray:
    """A file's bytes, (B,) uint8, in half of the time that `np.fromfile` takes.

    Raises `OSError`.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = np.empty(os.fstat(file).st_size, np.uint8)
        num_read = os.readv(file, [data.data])
        while num_read < len(data):  # a read ends at 2 GiB, or where a network file system likes
            if (num := os.readv(file, [data.data[num_read:]])) == 0:
                break
            num_read += num
    finally:
        os.close(file)
    return data[:num_read]
