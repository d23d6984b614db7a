"""The loader `pil-threads`: PIL in a pool of threads, each image written into its row of the batch.

What a loader has to do, and where this one does it:

- *follow the spec*: `_prepare` resizes, crops and normalises as `spec.preprocess` says;
- *every sample once, in order*: batches are numbered, and asked for and handed out by number;
- *work ahead*: `spec.prefetch` batches are in the making before they are asked for, across the
  boundary of epochs, and with 0 nothing is;
- *static shapes*: every batch has `spec.batch_size` rows but the last, which may have fewer;
- *name a file that cannot be read*: `CorruptImageError`;
- *free everything*: `close()` ends the threads, twice and in mid-epoch if need be.

`fastbench loaders check pil-threads` tries all of that.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from fastbench.loaders.base import Batch, CorruptImageError, LoaderSpec, take_options

__all__ = ["PilThreads"]


class PilThreads:
    """PIL in a pool of threads, an example of a plug-in"""

    # For `fastbench loaders`; the docstring's first line is shown too.
    decoder = "PIL"
    device = "CPU"
    options = ("draft",)

    reads_images = True

    def __init__(self, spec: LoaderSpec) -> None:
        # Refuses options that this loader does not have, and values of another type.
        options = take_options(spec, "pil-threads", draft=False)
        self._spec = spec
        self._draft = bool(options["draft"])
        self._filter = Image.Resampling[spec.preprocess.interpolation.upper()]
        # For the record: what was really used.
        self.settings = {"num_threads": spec.num_threads, "prefetch": spec.prefetch, **options}
        self._pool = ThreadPoolExecutor(spec.num_threads, "pil-threads")
        self._making: deque[_Making] = deque()
        self._num_begun = 0  # batches, over all epochs
        self._num_given = 0
        self._closed = False
        self._work_ahead(spec.prefetch)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch; what is left of an epoch that was left early is run off first."""
        while self._num_given % self._spec.num_batches:
            self._next()
        for _ in range(self._spec.num_batches):
            yield self._next()

    def close(self) -> None:
        """End the threads; an image that is being decoded is finished first."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._making.clear()

    def _next(self) -> Batch:
        if self._closed:
            raise RuntimeError("the loader is closed")
        self._work_ahead(1)
        making = self._making.popleft()
        self._num_given += 1
        self._work_ahead(self._spec.prefetch)
        for future in making.futures:
            future.result()  # raises what the thread raised
        device = self._spec.device
        return Batch(
            making.images_NCHW.to(device, non_blocking=True),
            torch.tensor(making.ids, device=device),
            len(making.ids),
        )

    def _work_ahead(self, num_batches: int) -> None:
        """Have as many batches in the making, at least."""
        while len(self._making) < num_batches:
            self._making.append(self._begin(self._num_begun % self._spec.num_batches))
            self._num_begun += 1

    def _begin(self, number: int) -> _Making:
        """Let the threads fill a batch of their own: its memory is used by no other."""
        spec = self._spec
        start = number * spec.batch_size
        ids = range(start, min(start + spec.batch_size, len(spec.paths)))
        images_NCHW = torch.empty(
            (len(ids), 3, spec.preprocess.crop, spec.preprocess.crop),
            dtype=getattr(torch, spec.dtype),
            memory_format=torch.channels_last,
            pin_memory=spec.device.startswith("cuda"),
        )
        futures = [
            self._pool.submit(self._fill, images_NCHW[row], spec.paths[sample])
            for row, sample in enumerate(ids)
        ]
        return _Making(ids, images_NCHW, futures)

    def _fill(self, row_CHW: torch.Tensor, path: str) -> None:
        try:
            with Image.open(path) as image:
                if (
                    self._draft
                ):  # libjpeg decodes at a half, a quarter or an eighth: faster, coarser
                    image.draft("RGB", (self._spec.preprocess.resize,) * 2)
                rgb = image.convert("RGB")
        except Exception as error:  # PIL's plug-ins raise many kinds
            raise CorruptImageError(path, f"cannot be decoded ({error})") from error
        row_CHW.copy_(self._prepare(rgb))

    def _prepare(self, image: Image.Image) -> torch.Tensor:
        """The spec's preprocessing, to the rounding: (C, H, W) float32."""
        p = self._spec.preprocess
        # The short side is `resize`; the long side is truncated.
        short = min(image.size)
        width, height = (p.resize * side // short for side in image.size)
        resized = image.resize((width, height), self._filter)
        # The middle; a half pixel goes to the even neighbour, as Python rounds.
        left, top = (round((side - p.crop) / 2) for side in (width, height))
        middle = resized.crop((left, top, left + p.crop, top + p.crop))
        levels_HWC = torch.from_numpy(np.array(middle))
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (p.mean, p.std))
        return (levels_HWC.permute(2, 0, 1).float() / 255 - mean) / std


@dataclass
class _Making:
    """A batch that threads are filling."""

    ids: range
    images_NCHW: torch.Tensor
    futures: list[Future[None]]
