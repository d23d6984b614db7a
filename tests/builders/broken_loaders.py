"""A loader that keeps the contract, and others that break it in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from fastbench.loaders.base import Batch, CorruptImageError, LoaderSpec


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


class Reading(Right):
    """Has a byte of each file for a level, and takes requests."""

    reads_images = True
    on_demand: Callable[..., Any]

    def images(self, ids: list[int]) -> torch.Tensor:
        return super().images([level_of(self.spec.paths[i]) for i in ids])


def level_of(path: str, data: Any = None) -> int:
    content = bytes(Path(path).read_bytes() if data is None else data)
    if not content.endswith(b"\xff\xd9"):
        raise CorruptImageError(path, "is cut off")
    return content[-9]


class RightOnDemand:
    """Keeps the rules of the side on demand."""

    num_callers: Any = 2
    most_at_once: Any = 3
    reads_images: Any = True

    def __init__(self, spec: LoaderSpec, in_memory: Any) -> None:
        self.settings: Any = {}
        self.spec, self.in_memory = spec, in_memory
        self.num_closed = 0

    def level(self, sample: int) -> int:
        data = None if self.in_memory is None else self.in_memory[sample]
        return level_of(self.spec.paths[sample], data)

    def decode(self, samples: Sequence[int]) -> Any:
        return [self.level(sample) for sample in samples]

    def collate(self, decoded: Sequence[Any], size: int) -> Any:
        levels = [level for each in decoded for level in each]
        return Right.images(self, [*levels, *[0] * (size - len(levels))])  # type: ignore[arg-type]

    def close(self) -> None:
        self.num_closed += 1


def asked(**methods: Any) -> type[Reading]:
    """A loader that takes requests, with some methods of its own on that side."""
    made = type("Faulty", (RightOnDemand,), methods)
    return type("Asked", (Reading,), {"on_demand": made})
