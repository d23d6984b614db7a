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
    """A loader over `make_levels`, which turns a sample's id into its (crop, crop, 3) uint8 levels.

    `make_levels` is called from `spec.num_threads` threads at once. What it raises is raised for
    its batch, and the batches after that one go on.
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
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._ready = threading.Condition(self._lock)
        self._num_asked = 0  # batches, over all epochs, that the consumer has asked for
        self._batch = self._row = 0  # the next image to be made
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
        with self._lock:
            self._room.notify_all()
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads.clear()
        self._slots.clear()
        del self._make_levels  # with the images that it may hold

    def _hand_over(self, slot: _Slot, ids: range) -> Batch:
        ids_N = torch.arange(ids.start, ids.stop, device=self._device)
        levels_NHWC = slot.rows_NHWC[: len(ids)]
        if not self._spec.on_gpu:
            return Batch(levels_NHWC.permute(0, 3, 1, 2), ids_N, len(ids))
        images_NCHW = self._normalizer(levels_NHWC)
        slot.sent = torch.cuda.Event(blocking=True)  # who waits for it sleeps
        slot.sent.record(torch.cuda.current_stream(self._device))
        return Batch(images_NCHW, ids_N, len(ids))

    def _take(self, position: int) -> _Slot:
        number = self._num_asked
        # Asking lets the threads write over the batch before the last.
        if number >= _HELD and (sent := self._slot(number - _HELD).sent) is not None:
            sent.synchronize()
        with self._lock:
            self._num_asked += 1
            self._room.notify_all()
            slot = self._slot(number)
            if not self._ready.wait_for(
                lambda: slot.number == number and slot.num_missing == 0, self._limit_s
            ):
                raise self._too_late(position)
        if slot.error is not None:
            raise slot.error
        return slot

    def _work(self) -> None:
        # One image, one thread: torch would start others for it. The first question makes torch
        # read the setting for all threads, which would else replace what is set for this one.
        torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self._started.wait()
        except threading.BrokenBarrierError:
            return
        while (taken := self._next_image()) is not None:
            slot, row, sample = taken
            error: Exception | None = None
            try:
                levels_HWC = self._make_levels(sample)
                if self._spec.on_gpu:
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

    def _next_image(self) -> tuple[_Slot, int, int] | None:
        """The next image to be made: its slot, its row and its id; None once closed."""
        with self._lock:
            self._room.wait_for(
                lambda: self._closed or self._batch < self._num_asked + self._spec.prefetch
            )
            if self._closed:
                return None
            ids = self._spec.ids(self._batch % self._spec.num_batches)
            slot, row = self._slot(self._batch), self._row
            if row == 0:
                slot.number, slot.num_missing, slot.error = self._batch, len(ids), None
            self._row += 1
            if self._row == len(ids):
                self._batch, self._row = self._batch + 1, 0
            return slot, row, ids[row]

    def _slot(self, number: int) -> _Slot:
        return self._slots[number % len(self._slots)]

    def _make_slot(self) -> _Slot:
        crop = self._spec.preprocess.crop
        on_gpu = self._spec.on_gpu
        dtype = torch.uint8 if on_gpu else self._dtype
        shape = (self._spec.batch_size, crop, crop, 3)
        # Zeros, not empty: the pages are mapped before the first image is timed.
        return _Slot(torch.zeros(shape, dtype=dtype, pin_memory=on_gpu))


@dataclass
class _Slot:
    """A batch's buffer (pinned levels for a GPU, else images), and its state."""

    rows_NHWC: torch.Tensor
    number: int = -1
    num_missing: int = 0
    error: Exception | None = None
    sent: Any = None
    """The event after which the GPU has its copy."""


def read_file(path: str) -> np.ndarray:
    """A file's bytes, (B,) uint8, in half of the time of `np.fromfile`. Raises `OSError`."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = np.empty(os.fstat(file).st_size, np.uint8)
        num_read = os.readv(file, [data.data])
        while num_read < len(data):  # a read ends at 2 GiB, or earlier on a network file system
            if (num := os.readv(file, [data.data[num_read:]])) == 0:
                break
            num_read += num
    finally:
        os.close(file)
    return data[:num_read]
