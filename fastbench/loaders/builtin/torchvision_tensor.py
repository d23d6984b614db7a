"""The reference's pixels as fast as a CPU makes them: uint8 tensors all the way, in threads.

libjpeg-turbo decodes (through torchvision), torch's antialiased uint8 kernel resizes, which rounds
as Pillow does with weights of its own (single pixels are a level off; two with bicubic, and where a
small image is enlarged), and each image is normalised while it is in the cache. Nothing is resized
right of the crop and below it. What lies left of it and above is, since the kernel begins at a
whole pixel and the crop seldom does.

torchvision's decoder is deprecated (torchvision 0.29). Its successor TorchCodec always rotates by
EXIF orientation, which the reference does not. So the decoder is called by its operator, without a
warning at every image. Pillow decodes where a torchvision has it no more, and what it refuses.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from fastbench.data.jpeg.quick_check import corrupt
from fastbench.loaders.base import LoaderSpec, Preprocess, take_options
from fastbench.loaders.shared.pixels import decode_by_pillow
from fastbench.loaders.shared.threads import ThreadedLoader, read_file

if TYPE_CHECKING:
    from collections.abc import Callable

_RESAMPLE = {
    "bilinear": torch.ops.aten._upsample_bilinear2d_aa.default,
    "bicubic": torch.ops.aten._upsample_bicubic2d_aa.default,
}

_BILINEAR = Image.Resampling.BILINEAR


class TensorLoader(ThreadedLoader):
    """The loader `torchvision-tensor`."""

    name = "torchvision-tensor"

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, self.name)
        super().__init__(
            spec,
            make_levels_of(spec),
            {"decoder": "libjpeg-turbo" if _has_decoder() else "PIL"},
        )


def make_levels_of(spec: LoaderSpec) -> Callable[[int], torch.Tensor]:
    """A function: a sample's id -> its (crop, crop, 3) uint8 levels.

    It raises `CorruptImageError` for a file that Pillow cannot decode either.
    """
    decode = _decode if _has_decoder() else _decode_by_pillow
    paths, preprocess = spec.paths, spec.preprocess

    def levels_of(sample: int) -> torch.Tensor:
        return resize_and_crop(decode(paths[sample]), preprocess)

    return levels_of


def resize_and_crop(pixels_CHW: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """(3, H, W) uint8 of any size, channels last in memory -> (crop, crop, 3) uint8, a view.

    The sizes are torchvision's: the long side truncated, the crop's start rounded, ties to even.
    """
    height, width = pixels_CHW.shape[1:]
    short = min(height, width)
    crop = preprocess.crop
    resized = [length * preprocess.resize // short for length in (height, width)]
    top, left = (round((length - crop) / 2) for length in resized)
    resample = _RESAMPLE.get(preprocess.interpolation)
    if resample is None or not preprocess.antialias:
        levels_CHW = transforms.center_crop(
            transforms.resize(
                pixels_CHW,
                resized,
                InterpolationMode(preprocess.interpolation),
                antialias=preprocess.antialias,
            ),
            [crop, crop],
        )
        return levels_CHW.permute(1, 2, 0).contiguous()
    # Where two lengths are equal torch resizes nothing, whatever the scale is.
    bottom, right = (
        end + (end == length != whole)
        for end, length, whole in zip(
            (top + crop, left + crop), (height, width), resized, strict=True
        )
    )
    # With the batch's dimension added in this order, torch still sees that channels are last.
    pixels_NCHW = pixels_CHW.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    scales: list[float | None] = [resized[0] / height, resized[1] / width]
    if resized[0] < height and height > _times_the_width() * width:
        pixels_NCHW = resample(pixels_NCHW, [bottom, width], False, scales[0], None)
        scales[0] = None
    levels_NCHW = resample(pixels_NCHW, [bottom, right], False, *scales)
    return levels_NCHW[0].permute(1, 2, 0)[top : top + crop, left : left + crop]


@functools.cache
def _times_the_width() -> float:
    """Above so many times the width Pillow shrinks the height first, else the width first.

    It is 2 in Pillow 13, and more or infinite in older ones. The first is rounded first.
    """
    rng = np.random.default_rng(0)
    for times in (2, 100):
        noise = Image.fromarray(rng.integers(0, 256, (8 * times + 1, 8), np.uint8))
        size = (7, 7 * times)
        height_first = noise.resize((8, size[1]), _BILINEAR).resize(size, _BILINEAR)
        if noise.resize(size, _BILINEAR).tobytes() == height_first.tobytes():
            return times
    return math.inf


def _has_decoder() -> bool:
    try:
        return bool(torch.ops.image.decode_jpeg)
    except AttributeError:
        return False


def _decode(path: str) -> torch.Tensor:
    """A JPEG -> (3, H, W) uint8, orientation as it is stored."""
    try:
        data = torch.from_numpy(read_file(path))
        pixels_CHW: torch.Tensor = torch.ops.image.decode_jpeg(data, 3, False)
    except Exception:  # noqa: BLE001 - Pillow has the last word, and raises
        return _decode_by_pillow(path)
    return pixels_CHW


def _decode_by_pillow(path: str) -> torch.Tensor:
    try:
        return decode_by_pillow(path)
    # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        raise corrupt(path, error) from error
