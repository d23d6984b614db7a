"""What a perfect decoder would give: the images are decoded once, and replayed from memory.

At the start all images are decoded, resized and cropped as `torchvision-tensor` does it, which
takes as long as an epoch of that loader. Their levels are kept, 150 kB each at 224 pixels. Then a
batch costs its normalisation and the copy to the GPU. Its pixels and predictions are real.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import psutil
import torch

from fastbench.core.errors import OutOfMemoryError
from fastbench.core.loader_facts import NO_DECODER
from fastbench.core.thread_map import thread_map
from fastbench.core.units import format_bytes
from fastbench.loaders.base import LoaderSpec, Setting, take_options
from fastbench.loaders.builtin.torchvision_tensor import make_levels_of
from fastbench.loaders.shared.on_demand import ThreadedOnDemand
from fastbench.loaders.shared.pixels import copy_levels
from fastbench.loaders.shared.threads import ThreadedLoader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_MOST = 0.8
"""The share of the available memory that the images may take."""


class MemoryLoader(ThreadedLoader):
    """The loader `memory`.

    Raises `OutOfMemoryError` where the images would not fit, `CorruptImageError` for a bad file.
    """

    name = "memory"

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, self.name)
        levels_MHP = _decode_all(spec)
        super().__init__(spec, levels_MHP.__getitem__, _settings_of(levels_MHP))

    @classmethod
    def on_demand(
        cls, spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None
    ) -> ThreadedOnDemand:
        """Its images by request; all are decoded first here too."""
        take_options(spec, cls.name)
        levels_MHP = _decode_all(spec, in_memory)
        return ThreadedOnDemand(spec, levels_MHP.__getitem__, _settings_of(levels_MHP))


def _settings_of(levels_MHP: torch.Tensor) -> dict[str, Setting]:
    return {"decoder": NO_DECODER, "memory_bytes": levels_MHP.nbytes}


def _decode_all(spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None = None) -> torch.Tensor:
    """All samples' levels, (M, crop, P) uint8."""
    crop = spec.preprocess.crop
    shape = (len(spec.paths), crop, 3 * crop)
    needed, available = math.prod(shape), psutil.virtual_memory().available
    if needed > _MOST * available:
        raise OutOfMemoryError(
            f"The loader 'memory' would hold {len(spec.paths):,} images in {format_bytes(needed)} "
            f"of memory, and {format_bytes(available)} are available. Use a smaller --limit."
        )
    levels_MHP = torch.empty(shape, dtype=torch.uint8)
    _, levels_of = make_levels_of(spec, in_memory)

    def decode(sample: int) -> None:
        copy_levels(levels_of(sample), levels_MHP[sample])

    samples = range(len(spec.paths))
    with thread_map(decode, samples, spec.num_threads, "fastbench-fill") as decoded:
        for _ in decoded:
            pass  # which raises what a thread raised
    return levels_MHP
