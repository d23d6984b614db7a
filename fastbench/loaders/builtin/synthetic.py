"""A loader that costs nothing: it shows the model's ceiling, and the tests use it.

One batch of random normalised images is made at the start and handed out again and again, with
the ids that a real loader would give. Nothing is read, so the predictions mean nothing.
"""

from __future__ import annotations

import torch

from fastbench.loaders.base import Batch, LoaderSpec
from fastbench.loaders.shared.epochs import EpochLoader


class SyntheticLoader(EpochLoader):
    """The loader `synthetic`."""

    name = "synthetic"
    reads_images = False

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self.settings = {"seed": spec.seed}
        generator = torch.Generator().manual_seed(spec.seed)
        size = spec.preprocess.crop
        images_NCHW = torch.randn(spec.batch_size, 3, size, size, generator=generator)
        self._images_NCHW = images_NCHW.to(
            self._device, self._dtype, memory_format=torch.channels_last
        )
        self._offsets_N = torch.arange(spec.batch_size, device=spec.device)

    def _take(self, position: int) -> None:
        """There is nothing to wait for."""

    def _hand_over(self, taken: None, ids: range) -> Batch:  # noqa: ARG002
        return Batch(self._images_NCHW, self._offsets_N + ids.start, len(ids))
