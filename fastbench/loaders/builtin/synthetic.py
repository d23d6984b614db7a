"""What would a loader that costs nothing give? The model's ceiling, and the tests' double.

One batch of random normalised images is made at the start and handed out again and again, with
the ids that a real loader would give. Nothing is read, so the predictions mean nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fastbench.loaders.base import Batch, LoaderSpec, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SyntheticLoader"]


class SyntheticLoader:
    """The loader `synthetic`."""

    reads_images = False

    def __init__(self, spec: LoaderSpec) -> None:
        self.settings: Mapping[str, Setting] = {"seed": spec.seed}
        self._spec = spec
        generator = torch.Generator().manual_seed(spec.seed)
        size = spec.preprocess.crop
        images_NCHW = torch.randn(spec.batch_size, 3, size, size, generator=generator)
        self._images_NCHW = images_NCHW.to(
            spec.device, getattr(torch, spec.dtype), memory_format=torch.channels_last
        )
        self._offsets_N = torch.arange(spec.batch_size, device=spec.device)
        self._is_closed = False

    def __iter__(self) -> Iterator[Batch]:
        """One epoch: the same images under every id."""
        num_samples, size = len(self._spec.paths), self._spec.batch_size
        for start in range(0, num_samples, size):
            if self._is_closed:
                raise RuntimeError("the loader is closed")
            yield Batch(self._images_NCHW, self._offsets_N + start, min(size, num_samples - start))

    def close(self) -> None:
        """Memory goes with the object, and there is nothing else to free."""
        self._is_closed = True
