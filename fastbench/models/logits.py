"""What a model gives: logits, one row an image."""

from __future__ import annotations

from typing import Any

import torch

from fastbench.core.errors import ModelError
from fastbench.core.units import counted


def check_logits(output: Any, name: str, num_images: int, *, by: str | None = None) -> torch.Tensor:
    """Return a model's output for so many images; raise `ModelError` unless it is (N, classes).

    `by` is the engine that gave it, None for torch.
    """
    if isinstance(output, torch.Tensor) and output.ndim == 2 and len(output) == num_images:
        return output
    remedy = "Let its forward() return the logits alone." if by is None else "Mend the engine."
    raise ModelError(
        f"The model {name}{f', run by the engine {by},' if by else ''} gave {_described(output)} "
        f"for {counted(num_images, 'image')}, where one tensor of shape ({num_images}, classes) is "
        f"wanted. {remedy}"
    )


def is_torchscript(module: torch.nn.Module) -> bool:
    """Whether a module is TorchScript, or has TorchScript in it."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())


def _described(output: Any) -> str:
    if isinstance(output, torch.Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, dict):
        return f"a dict of {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a value of type {type(output).__name__}"
