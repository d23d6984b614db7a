"""A loader that keeps the contract, and others that break it in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from fastbench.loaders.base import Batch, LoaderSpec


class Right:
    """Keeps the rules. A fault is one method written otherwise."""

    reads_images = False

    def __init__(self, spec: LoaderSpec) -> None:
        self.settings: dict[str, Any] = {}
        self.spec = spec
        self.num_epochs = 0
        self.is_closed = False

    def order(self) -> list[int]:
        return list(range(len(self.spec.paths)))

    def images(self, ids: list[int]) -> torch.Tensor:
        values = torch.tensor(ids, dtype=getattr(torch, self.spec.dtype)).view(-1, 1, 1, 1)
        crop = self.spec.preprocess.crop
        wide = values.expand(-1, 3, crop, crop)
        return wide.contiguous(memory_format=torch.channels_last)

    def batch(self, ids: list[int]) -> Any:
        return Batch(self.images(ids), torch.tensor(ids), len(ids))

    def __iter__(self) -> Iterator[Any]:
        self.num_epochs += 1
        order, size = self.order(), self.spec.batch_size
        for start in range(0, len(order), size):
            if self.is_closed:
                raise RuntimeError("closed")
            yield self.batch(order[start : start + size])

    def close(self) -> None:
        self.is_closed = True


def broken(**methods: Callable[..., Any]) -> type[Right]:
    """A loader with some methods of its own."""
    return type("Faulty", (Right,), methods)


def swap(ids: list[int]) -> list[int]:
    return [*ids[:2], ids[3], ids[2], *ids[4:]]
