"""What `auto` stands for here, without torch: a GPU is what NVIDIA's driver shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastbench.core.nvidia import num_usable
from fastbench.core.run_options import DEFAULT_BATCH_SIZE
from fastbench.engines.mixes import mix_of

if TYPE_CHECKING:
    from fastbench.core.config import RunConfig
    from fastbench.engines.mixes import Mix


def resolved(config: RunConfig) -> RunConfig:
    """The configuration with what `auto` stands for here."""
    on_gpu = config.device != "cpu" and num_usable() > 0
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float16" if on_gpu else "float32"
    batch_size = config.batch_size or DEFAULT_BATCH_SIZE["cuda" if on_gpu else "cpu"]
    return dataclasses.replace(config, dtype=dtype, batch_size=batch_size)


def mix_here(config: RunConfig, model: str) -> Mix:
    """What a row asks of its engine here. Raises what `mix_of` raises."""
    device = config.device
    if device == "auto":
        device = "cuda" if num_usable() > 0 else "cpu"
    return mix_of(config, model, device=device, dtype=resolved(config).dtype)
