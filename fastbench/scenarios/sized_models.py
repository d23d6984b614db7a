"""A model ready for batches of a few sizes: under load a batch has as many images as have come.

Shapes are static under torch.compile, in CUDA graphs and for engines that take a file, and on a GPU
every new shape is searched for its fastest kernels. So a batch is padded to the next of a few
sizes, which were all warmed up. Eager on a CPU takes every size as it is.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import torch

from fastbench.core.engine_facts import EAGER
from fastbench.engines.mixes import engine_of_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastbench.core.load_options import LoadConfig
    from fastbench.engines.classifier import Classifier
    from fastbench.runner.prepare import Bench, Workbench

_MOST_SIZES: Final = 8
"""A class's code has room for eight versions of torch.compile's."""


class SizedModels:
    """The model for each size of a batch; `largest` is the largest."""

    def __init__(self, by_size: Mapping[int, Classifier]) -> None:
        self.sizes = sorted(by_size)
        self.largest = self.sizes[-1]
        self._by_size = by_size
        self._size_for = {
            num: next(size for size in self.sizes if size >= num)
            for num in range(1, self.largest + 1)
        }
        self._classifiers = list({id(each): each for each in by_size.values()}.values())

    def size_for(self, num: int) -> int:
        """The size of the batch that so many images are padded to."""
        return self._size_for[num]

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits of (N, 3, H, W) images, where N is one of the sizes."""
        return self._by_size[len(images_NCHW)](images_NCHW)

    def num_graphs(self) -> int:
        """Graphs that torch.compile has made of it."""
        return max(each.num_graphs()[0] for each in self._classifiers)

    def warm_up(self, dtype: torch.dtype, device: torch.device, crop: int) -> None:
        """Run each size once: kernels are chosen, and memory taken, for it."""
        for size in self.sizes:
            images_NCHW = torch.zeros((size, 3, crop, crop), dtype=dtype, device=device)
            self(images_NCHW.contiguous(memory_format=torch.channels_last)).sum().item()


def largest_batch(config: LoadConfig, batch_size: int) -> int:
    """The largest batch that a scenario can form."""
    most = {"single-stream": 1, "multi-stream": config.images_per_query}
    return min(batch_size, most.get(config.scenario, batch_size))


def sizes_up_to(largest: int) -> list[int]:
    """1, 2, 4, ... and the largest; of more than eight the small ones in between are left out."""
    sizes = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    sizes.append(largest)
    while len(sizes) > _MOST_SIZES:
        del sizes[1]
    return sizes


def with_sizes(config: LoadConfig, batch_size: int) -> LoadConfig:
    """The configuration of which a bench has the model for each size that is needed.

    An eager model needs only that for one image, which takes any number of them unpadded.
    """
    largest = largest_batch(config, batch_size)
    is_eager = engine_of_model(config.engine_name, config.models[0]) == EAGER
    others = (1,) if is_eager else tuple(sizes_up_to(largest)[:-1])
    return dataclasses.replace(config, batch_size=largest, latency_batch_size=others)


def sized(workbench: Workbench, bench: Bench) -> SizedModels:
    """The bench's models, by size."""
    largest, classifier = workbench.batch_size, bench.classifier
    known = {each.batch_size: each for each in (*bench.others, classifier)}
    if classifier.engine != EAGER or 1 not in known:
        return SizedModels(known)
    every = range(1, largest + 1) if workbench.device.type == "cpu" else sizes_up_to(largest)
    return SizedModels(dict.fromkeys(every, known[1]))
