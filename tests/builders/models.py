"""Small models, and the files and callables that hold them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fastbench.core.errors import FastbenchError

STATED = {
    "resize": 96, "crop": 80, "interpolation": "bilinear", "antialias": True,
    "mean": [0.4] * 3, "std": [0.3] * 3,
}  # fmt: skip
"""A preprocessing, as a file's metadata has it."""

EAGER: dict[str, Any] = {"device": "cpu", "dtype": "float32"}


def write_export(
    path: Path,
    module: torch.nn.Module | None = None,
    batch: int = 4,
    dynamic: Any = None,
    size: tuple[int, ...] = (3, 48, 48),
    train: bool = False,
) -> Path:
    """Write a module as an archive of torch.export."""
    torch.manual_seed(7)
    module = (module or Net()).train(train)
    dynamic_shapes = None if dynamic is None else ({0: dynamic},)
    program = torch.export.export(
        module, (torch.randn(batch, *size),), dynamic_shapes=dynamic_shapes
    )
    torch.export.save(program, path)
    return path


def write_script(path: Path, module: torch.nn.Module | None = None, traced: bool = False) -> Path:
    """Write a module as TorchScript."""
    torch.manual_seed(7)
    module = (module or Net()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if traced:
            scripted = torch.jit.trace(module, torch.randn(1, 3, 224, 224))
        else:
            scripted = torch.jit.script(module)
        torch.jit.save(scripted, path)
    return path


def noise(num: int, size: int = 48) -> torch.Tensor:
    """Images of the shape and strides that a loader makes."""
    torch.manual_seed(3)
    return torch.randn(num, 3, size, size).contiguous(memory_format=torch.channels_last)


def said(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """The sentence with which a call fails, which is one of ours."""
    with pytest.raises(FastbenchError) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


class Net(torch.nn.Module):
    """A convolution, a batch norm and a matrix, for images of any size."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=4)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(4 * 4 * 4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.adaptive_avg_pool2d(self.norm(self.conv(x)).relu(), 4)
        return self.head(torch.flatten(x, 1))
