"""A model's parameters, and the multiply-accumulates (MACs) of one image.

Parameters are counted once each, however often they are used. MACs are half of what torch's
`FlopCounterMode` counts for one image of the crop's size, in float32 on the CPU: convolutions,
matrix products and attention, by their shapes. Biases, normalisation, activations, pooling,
resizing and additions are not counted. They take little arithmetic and, on a GPU, much of the time:
models of equal MACs need not be equally fast.

Attention is counted as its matrix products, so fused kernels are switched off meanwhile. What the
counter cannot look into counts as nothing; a model of which nothing was counted has no figure.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fastbench.core.errors import kind_and_line
from fastbench.models.logits import is_torchscript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.models.base import LoadedModel

_RAISED = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters, and multiply-accumulates of one image; None where they could not be counted.

    `notes` say why, in words.
    """

    num_parameters: int | None = None
    num_macs: int | None = None
    notes: tuple[str, ...] = ()


def count_cost(model: LoadedModel) -> Cost:
    """Count a model that is on the CPU in float32; it is run once, unless another engine has it."""
    notes = []
    if model.format is not None:
        return Cost(
            notes=("parameters and multiply-accumulates not counted: the file does not say them",)
        )
    num_parameters = model.num_parameters or sum(p.numel() for p in model.module.parameters())
    if not num_parameters and is_torchscript(model.module):
        notes.append("parameters not counted: this TorchScript was frozen, they are constants")
    elif not num_parameters:
        notes.append("parameters not counted: torch has none, and the model does not state them")
    if model.engine is not None:
        return Cost(num_parameters=num_parameters or None, notes=tuple(notes))
    num_macs = None
    try:
        num_macs = _count_macs(model)
    # A model that fails here fails again in the warm-up, which reports it.
    except _RAISED as error:
        notes.append(f"multiply-accumulates not counted ({kind_and_line(error)})")
    else:
        if num_macs == 0:
            num_macs = None
            notes.append("multiply-accumulates not counted: torch's counter saw none")
    return Cost(num_parameters=num_parameters or None, num_macs=num_macs, notes=tuple(notes))


def _count_macs(model: LoadedModel) -> int:
    num_images = model.batch_sizes[0] if model.batch_sizes else 1
    crop = model.preprocess.crop
    images_NCHW = torch.zeros((num_images, 3, crop, crop))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _unfused_attention(), counter:
        model.module.eval()(images_NCHW)
    return counter.get_total_flops() // 2 // num_images


@contextlib.contextmanager
def _unfused_attention() -> Iterator[None]:
    """Switch off fused attention and `MultiheadAttention`'s fast path, unknown to the counter."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
