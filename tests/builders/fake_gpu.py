"""A CUDA device of shapes, strides and dtypes alone: no GPU is there, and nothing is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = "cuda:0"


class HostReadError(AssertionError):
    """The host asked for a value that a real GPU would have to finish its work for."""


class _NoCopyToTheHost(TorchDispatchMode):
    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = _devices((args, kwargs or {}))
        try:
            made = func(*args, **(kwargs or {}))
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise HostReadError(str(func)) from error
        if "cuda" in given and "cpu" in _devices(made):
            raise HostReadError(str(func))
        return made


def _devices(values: Any) -> set[str]:
    return {leaf.device.type for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)}


@contextlib.contextmanager
def fake_gpu() -> Iterator[None]:
    """Tensors made within are fake; reading one of `GPU` on the host raises `HostReadError`."""
    with FakeTensorMode(), _NoCopyToTheHost():
        yield


def images(num: int, dtype: torch.dtype, size: int = 32) -> torch.Tensor:
    """(num, 3, size, size), channels_last, on the fake GPU."""
    images_NCHW = torch.empty(num, 3, size, size, dtype=dtype, device=GPU)
    return images_NCHW.contiguous(memory_format=torch.channels_last)


class Net(torch.nn.Module):
    """One convolution, to `num_classes`; `seen` is its last input.

    Its weights are no parameters: torch cannot move a module with fake ones.
    """

    def __init__(self, dtype: torch.dtype, num_classes: int = 8) -> None:
        super().__init__()
        weight = torch.empty(num_classes, 3, 3, 3, dtype=dtype, device=GPU)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.seen: torch.Tensor | None = None

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.seen = images_NCHW
        return torch.nn.functional.conv2d(images_NCHW, self.weight, stride=4).mean((2, 3))
