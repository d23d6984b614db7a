"""Threads that fill batches, image by image, for decoders that release Python's lock.

Nothing is pickled or copied between processes, and a thread starts at once. The threads take the
images of all batches in order: a large image delays its own batch alone, and no thread idles at
a batch's end. Batches lie in buffers that are made once and used in turn. Where a decoder holds
Python's lock for much of its time, more threads do not help.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fastbench.loaders.base import Batch, LoaderSpec, Setting
from fastbench.loaders.shared.epochs import STOP_S, EpochLoader
from fastbench.loaders.shared.pixels import Normalizer, copy_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HELD = 2
"""Batches that the consumer may still read: the one it has, and the one before."""


class ThreadedLoader(EpochLoader):
    """A loader over `make_levels`, which turns a sample's id into its (crop, P) uint8 levels.

    `make_levels` is called from `spec.num_threads` threads at once, and may write over what it
    returned in the same thread before. What it raises is raised for its batch, and the batches
    after that one go on.
    """

    def __init__(
        self,
        spec: LoaderSpec,
        make_levels: Callable[[int], torch.Tensor],
        settings: Mapping[str, Setting],
    ) -> None:
        super().__init__(spec)
        self.settings = {
            **settings,
            "num_threads": spec.num_threads,
            "prefetch": spec.prefetch,
        }
        self._make_levels = make_levels
        self._normalizer = Normalizer(spec.preprocess, spec.device, spec.dtype)
        self._slots = [self._make_slot() for _ in range(spec.prefetch + _HELD)]
        self._num_asked = 0  # batches, over all epochs, that the consumer has asked for
        # The images to be made, in order; None ends a thread.
        self._todo: SimpleQueue[tuple[_Slot, torch.Tensor, int] | None] = SimpleQueue()
        for number in range(spec.prefetch):
            self._order(number)
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._started = threading.Barrier(spec.num_threads + 1)
        self._threads = [
            threading.Thread(target=self._work, name=f"fastbench-decode-{i}", daemon=True)
            for i in range(spec.num_threads)
        ]
        num_of_torch = torch.get_num_threads()
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:  # the system has no more threads
            self._started.abort()
            raise
        self._started.wait()
        torch.set_num_threads(num_of_torch)  # for threads that are started from now on

    def _free(self) -> None:
        for _ in self._threads:
            self._todo.put(None)
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads.clear()
        self._slots.clear()
        del self._make_levels, self._todo  # with the images that they may hold

    def _hand_over(self, slot: _Slot, ids: range) -> Batch:
        ids_N = torch.arange(ids.start, ids.stop, device=self._device)
        levels_NHWC = slot.images_NHWC[: len(ids)]
        if not self._spec.on_gpu:
            return Batch(levels_NHWC.permute(0, 3, 1, 2), ids_N, len(ids))
        images_NCHW = self._normalizer(levels_NHWC)
        slot.sent = torch.cuda.Event(blocking=True)  # who waits for it sleeps
        slot.sent.record(torch.cuda.current_stream(self._device))
        return Batch(images_NCHW, ids_N, len(ids))

    def _take(self, position: int) -> _Slot:
        number, ahead = self._num_asked, self._num_asked + self._spec.prefetch
        # Asking lets the threads write over the batch before the last.
        if (sent := self._slot(ahead).sent) is not None:
            sent.synchronize()
        self._order(ahead)
        self._num_asked += 1
        slot = self._slot(number)
        with self._ready:
            if not self._ready.wait_for(lambda: slot.num_missing == 0, self._limit_s):
                raise self._too_late(position)
        if slot.error is not None:
            raise slot.error
        return slot

    def _order(self, number: int) -> None:
        """Have the images of a batch made, counted over all epochs."""
        slot = self._slot(number)
        ids = self._spec.ids(number % self._spec.num_batches)
        slot.num_missing, slot.error = len(ids), None
        for row_HP, sample in zip(slot.rows, ids, strict=False):  # the last batch may be partial
            self._todo.put((slot, row_HP, sample))

    def _work(self) -> None:
        # One image, one thread: torch would start others for it. The first question makes torch
        # read the setting for all threads, which would else replace what is set for this one.
        torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self._started.wait()
        except threading.BrokenBarrierError:
            return
        make_levels, todo = self._make_levels, self._todo
        put = copy_levels if self._spec.on_gpu else self._normalizer.into
        while (taken := todo.get()) is not None and not self._closed:
            slot, row_HP, sample = taken
            error: Exception | None = None
            try:
                put(make_levels(sample), row_HP)
            except Exception as failure:  # noqa: BLE001 - raised again by the consumer
                error = failure
            with self._lock:  # a Condition is entered by Python
                slot.error = slot.error or error
                slot.num_missing -= 1
                if slot.num_missing == 0:
                    self._ready.notify_all()

    def _slot(self, number: int) -> _Slot:
        return self._slots[number % len(self._slots)]

    def _make_slot(self) -> _Slot:
        crop = self._spec.preprocess.crop
        on_gpu = self._spec.on_gpu
        dtype = torch.uint8 if on_gpu else self._dtype
        shape = (self._spec.batch_size, crop, crop, 3)
        # Zeros, not empty: the pages are mapped before the first image is timed.
        images_NHWC = torch.zeros(shape, dtype=dtype, pin_memory=on_gpu)
        return _Slot(images_NHWC, list(images_NHWC.flatten(2)))


@dataclass
class _Slot:
    """A batch's buffer (pinned levels for a GPU, else images), its images' rows, and its state."""

    images_NHWC: torch.Tensor
    rows: list[torch.Tensor]
    num_missing: int = 0
    error: Exception | None = None
    sent: Any = None
    """The event after which the GPU has its copy."""


class _Memory(threading.local):
    """Where a thread's files are read to."""

    def __init__(self) -> None:
        self.bytes_B = np.empty(1 << 20, np.uint8)


_memory = _Memory()


def read_file(path: str) -> np.ndarray:
    """A file's bytes, (B,) uint8. Raises `OSError`."""
    return borrow_file(path).copy()


def borrow_file(path: str) -> np.ndarray:
    """A file's bytes, (B,) uint8, over which the next call in the same thread writes.

    A file with memory of its own holds Python's lock while that is mapped and unmapped, for longer
    than all the rest of reading it takes. Raises `OSError`.
    """
    bytes_B, num_read = _memory.bytes_B, 0
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A read ends at 2 GiB, or earlier on a network file system.
        while (num := os.readv(file, [bytes_B[num_read:].data])) > 0:
            num_read += num
            if num_read == len(bytes_B):
                bytes_B = _memory.bytes_B = np.resize(bytes_B, 2 * num_read)
    finally:
        os.close(file)
    return bytes_B[:num_read]
