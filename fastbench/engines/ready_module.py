"""A torch module made ready for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from fastbench.engines.base import EngineSpec


def ready_module(spec: EngineSpec) -> torch.nn.Module:
    """A copy of the model for inference, in its dtype and on its device, channels_last."""
    # A copy: a cast to float16 and back changes the weights.
    module = spec.model.copy_module().eval().to(spec.device, getattr(torch, spec.dtype))
    return module.to(memory_format=torch.channels_last)
