"""What the passes take: an endless stream of a loader's batches, and a model."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from fastbench.loaders.base import Batch, Loader


class BatchModel(Protocol):
    """What the passes need of a `Classifier`."""

    batch_size: int

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        ...


class Stream:
    """Endless epochs of a loader's batches, and the seconds spent waiting for them."""

    def __init__(self, loader: Loader) -> None:
        self._batches = endless(loader)
        self.wait_s = 0.0

    def take(self) -> Batch:
        """The next batch."""
        start = time.perf_counter()
        batch = next(self._batches)
        self.wait_s += time.perf_counter() - start
        return batch


def endless(loader: Loader) -> Iterator[Batch]:
    """One epoch after the other."""
    return itertools.chain.from_iterable(itertools.repeat(loader))
