"""Every loader has the reference's pixels at other image sizes, too."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders.loaders import IMAGENET, pixels_of, spec_of
from PIL import Image

from fastbench.data.dataset import scan
from fastbench.loaders.base import Loader, LoaderSpec, Preprocess
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.models.input_size import AskedInput

ASKED = [
    *(AskedInput(image_size=size) for size in (96, 160, 192, 224, 256, 288)),
    AskedInput(image_size=160, crop_pct=1.0),  # up to the image's border
    AskedInput(image_size=192, crop_pct=0.5),
]
"""The images of `few` are reduced to some of them and enlarged to others."""
BOUNDS = {
    "torchvision": {"bilinear": (0.001, 0.001), "bicubic": (0.001, 0.001)},
    "timm": {"bilinear": (0.001, 0.001), "bicubic": (0.001, 0.001)},
    "webdataset": {"bilinear": (0.001, 0.001), "bicubic": (0.001, 0.001)},
    "torchvision-tensor": {"bilinear": (2.01, 0.05), "bicubic": (2.01, 0.05)},
    "memory": {"bilinear": (2.01, 0.05), "bicubic": (2.01, 0.05)},
    "dali": {"bilinear": (1.01, 0.3), "bicubic": (20, 0.3)},
}
"""The most levels that a value, and the mean of an image, may be off: as at 224 pixels."""


def expected(paths: list[str], preprocess: Preprocess) -> torch.Tensor:
    """What torchvision's transforms make of the files, in levels."""
    levels = dataclasses.replace(preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)
    transform = make_transform(levels)
    return torch.stack([255 * transform(Image.open(path).convert("RGB")) for path in paths])


@pytest.mark.parametrize("asked", ASKED, ids=lambda x: f"{x.image_size}-{x.crop_pct}")
@pytest.mark.parametrize("name", BOUNDS)
def test_the_pixels_are_the_reference_s(
    name: str, asked: AskedInput, few: Path, open_loader: Callable[[str, LoaderSpec], Loader]
) -> None:
    manifest = scan(few)
    for interpolation, (most, mean) in BOUNDS[name].items():
        preprocess = asked.change(dataclasses.replace(IMAGENET, interpolation=interpolation))
        spec = spec_of(manifest, prefetch=0, preprocess=preprocess, batch_size=4)
        pixels = pixels_of(open_loader(name, spec), preprocess)
        assert pixels.shape == (4, 3, asked.image_size, asked.image_size)
        off = (pixels - expected(list(manifest.paths), preprocess)).abs()
        assert off.max() < most
        assert off.mean(dim=(1, 2, 3)).max() < mean


def test_the_bounds_mean_something(few: Path) -> None:
    """A resize that is one pixel off is far beyond them."""
    paths = list(scan(few).paths)
    right = AskedInput(image_size=160).change(IMAGENET)
    wrong = dataclasses.replace(right, resize=right.resize + 1)
    off = (expected(paths, right) - expected(paths, wrong)).abs().mean(dim=(1, 2, 3))
    assert off.min() > 0.5
