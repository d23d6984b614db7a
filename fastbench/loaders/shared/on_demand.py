"""Images by request, from decoders that release Python's lock: the other side of `threads.py`.

The threads are the caller's. Each decodes an image into a row of its own: normalised on a CPU,
while it is in the cache; as levels for a GPU, to which a batch of them is sent in one pinned
buffer.

Shape suffixes: N batch, K images of a call, C channels, H height, W width; P = 3 * W.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.loaders.shared.pixels import Normalizer, copy_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastbench.loaders.base import LoaderSpec, Setting

_NUM_BUFFERS: Final = 3
"""The batch that is made and the one before must stay; the third is waited for seldom."""


class ThreadedOnDemand:
    """The side on demand of a loader over `make_levels` (see `ThreadedLoader`).

    A thread that calls `decode` has one thread of torch from then on.
    """

    reads_images = True
    most_at_once = 1

    def __init__(
        self,
        spec: LoaderSpec,
        make_levels: Callable[[int], torch.Tensor],
        settings: Mapping[str, Setting],
    ) -> None:
        self.num_callers = spec.num_threads
        self.settings = {**settings, "num_threads": spec.num_threads}
        self._make_levels: Callable[[int], torch.Tensor] | None = make_levels
        self._normalizer = Normalizer(spec.preprocess, spec.device, spec.dtype)
        self._device, self._on_gpu = torch.device(spec.device), spec.on_gpu
        self._crop = crop = spec.preprocess.crop
        self._dtype = torch.uint8 if spec.on_gpu else getattr(torch, spec.dtype)
        self._put = copy_levels if spec.on_gpu else self._normalizer.into
        # Zeros, not empty: the pages are mapped before the first image is timed, and finite.
        self._buffers = [
            torch.zeros(
                (spec.batch_size, crop, 3 * crop), dtype=self._dtype, pin_memory=self._on_gpu
            )
            for _ in range(_NUM_BUFFERS)
        ]
        self._sent: list[Any] = [None] * _NUM_BUFFERS  # events after which the GPU has its copy
        self._numbers = itertools.cycle(range(_NUM_BUFFERS))
        self._own = threading.local()
        self._lock = threading.Lock()
        self._num_of_torch = torch.get_num_threads()

    def decode(self, samples: Sequence[int]) -> torch.Tensor:
        """(K, H, P): normalised images of the samples; levels, uint8, for a GPU."""
        if self._make_levels is None:
            raise RuntimeError("the loader is closed")
        if not hasattr(self._own, "is_single"):
            self._be_single()
        rows_KHP = torch.empty((len(samples), self._crop, 3 * self._crop), dtype=self._dtype)
        for row_HP, sample in zip(rows_KHP, samples, strict=True):
            self._put(self._make_levels(sample), row_HP)
        return rows_KHP

    def collate(self, decoded: Sequence[torch.Tensor], size: int) -> torch.Tensor:
        """(size, 3, H, W): the images of these calls, behind which rows of older ones may lie."""
        if not self._on_gpu and len(decoded) == 1 and len(decoded[0]) == size:
            return self._as_images(decoded[0]).permute(0, 3, 1, 2)
        number = next(self._numbers)
        if (sent := self._sent[number]) is not None:
            sent.synchronize()
        batch_NHP = self._buffers[number][:size]
        torch.cat(list(decoded), out=batch_NHP[: sum(map(len, decoded))])
        images_NHWC = self._as_images(batch_NHP)
        if not self._on_gpu:
            return images_NHWC.permute(0, 3, 1, 2)
        images_NCHW = self._normalizer(images_NHWC)
        self._sent[number] = event = torch.cuda.Event(blocking=True)  # who waits for it sleeps
        event.record(torch.cuda.current_stream(self._device))
        return images_NCHW

    def close(self) -> None:
        """Free the buffers, and the images that the decoders may hold."""
        self._make_levels = None
        self._buffers.clear()

    def _as_images(self, rows_NHP: torch.Tensor) -> torch.Tensor:
        return rows_NHP.view(len(rows_NHP), self._crop, self._crop, 3)

    def _be_single(self) -> None:
        """One image, one thread: torch would start others for it.

        What is set in a thread is torch's default for those that first use torch later, so another
        thread puts that back. Asking first makes torch read the default, which it would else do
        later, over what is set here.
        """
        with self._lock:
            if torch.get_num_threads() > 1:
                torch.set_num_threads(1)
                back = threading.Thread(target=torch.set_num_threads, args=(self._num_of_torch,))
                back.start()
                back.join()
        self._own.is_single = True
