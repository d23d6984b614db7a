"""A loader that costs nothing: it shows the model's ceiling, and the tests use it.

One batch of random normalised images is made at the start and handed out again and again, with
the ids that a real loader would give. Nothing is read, so the predictions mean nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fastbench.loaders.base import Batch, LoaderSpec
from fastbench.loaders.shared.epochs import EpochLoader

if TYPE_CHECKING:
    from collections.abc import Sequence


class SyntheticLoader(EpochLoader):
    """The loader `synthetic`."""

    name = "synthetic"
    reads_images = False

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self.settings = {"seed": spec.seed}
        self._images_NCHW = _draw(spec)
        self._offsets_N = torch.arange(spec.batch_size, device=spec.device)

    def _take(self, position: int) -> None:
        """There is nothing to wait for."""

    def _hand_over(self, taken: None, ids: range) -> Batch:  # noqa: ARG002
        return Batch(self._images_NCHW, self._offsets_N + ids.start, len(ids))

    @staticmethod
    def on_demand(spec: LoaderSpec, in_memory: object) -> SyntheticOnDemand:  # noqa: ARG004
        """The same images by request."""
        return SyntheticOnDemand(spec)


class SyntheticOnDemand:
    """Hands out the resident images, whatever is asked for."""

    num_callers = 1
    reads_images = False

    def __init__(self, spec: LoaderSpec) -> None:
        self.most_at_once = spec.batch_size
        self.settings = {"seed": spec.seed}
        self._images_NCHW = _draw(spec)

    def decode(self, samples: Sequence[int]) -> None:
        """Nothing is made."""

    def collate(self, decoded: Sequence[None], size: int) -> torch.Tensor:  # noqa: ARG002
        """(size, 3, H, W): the first of the images."""
        return self._images_NCHW[:size]

    def close(self) -> None:
        """There is nothing to free."""


def _draw(spec: LoaderSpec) -> torch.Tensor:
    """A batch of normalised noise."""
    generator = torch.Generator().manual_seed(spec.seed)
    size = spec.preprocess.crop
    images_NCHW = torch.randn(spec.batch_size, 3, size, size, generator=generator)
    return images_NCHW.to(
        spec.device, getattr(torch, spec.dtype), memory_format=torch.channels_last
    )
