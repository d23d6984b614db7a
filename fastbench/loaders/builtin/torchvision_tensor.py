"""The reference's pixels as fast as a CPU makes them: uint8 tensors all the way, in threads.

libjpeg-turbo decodes (`shared/decoders.py`), torch's antialiased uint8 kernel resizes, which rounds
as Pillow does with weights of its own (single pixels are a level off; two with bicubic, and where a
small image is enlarged), and each image is normalised while it is in the cache. Nothing is resized
right of the crop and below it. What lies left of it and above is, since the kernel begins at a
whole pixel and the crop seldom does.

What is Python's the threads do one at a time, for they share its lock: an image is a call that
decodes it, one that resizes it and one that normalises it, each without the lock and into memory
that is used again. `torch.ops` takes longer to get to a kernel than the functions of `torch._C`.
"""

from __future__ import annotations

import functools
import math
import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from fastbench.loaders.base import LoaderSpec, Preprocess, take_options
from fastbench.loaders.shared.decoders import MOST_SIZES, as_batch, choose_decoder
from fastbench.loaders.shared.on_demand import ThreadedOnDemand
from fastbench.loaders.shared.threads import ThreadedLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RESAMPLE: dict[str, Callable[..., torch.Tensor]] = {
    "bilinear": torch._C._nn._upsample_bilinear2d_aa,
    "bicubic": torch._C._nn._upsample_bicubic2d_aa,
}

_BILINEAR = Image.Resampling.BILINEAR


class TensorLoader(ThreadedLoader):
    """The loader `torchvision-tensor`."""

    name = "torchvision-tensor"

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, self.name)
        decoder, levels_of = make_levels_of(spec)
        super().__init__(spec, levels_of, {"decoder": decoder})

    @classmethod
    def on_demand(
        cls, spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None
    ) -> ThreadedOnDemand:
        """Its images by request."""
        take_options(spec, cls.name)
        decoder, levels_of = make_levels_of(spec, in_memory)
        return ThreadedOnDemand(spec, levels_of, {"decoder": decoder})


def make_levels_of(
    spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None = None
) -> tuple[str, Callable[[int], torch.Tensor]]:
    """The decoder's name, and a function: a sample's id -> its (crop, P) uint8 levels.

    `in_memory` has the (B,) uint8 bytes of each file, which is not read then. The next call in the
    same thread writes over the levels. The function raises `CorruptImageError` for a file that
    Pillow cannot decode either.
    """
    name, open_decoder = choose_decoder()
    paths, preprocess = spec.paths, spec.preprocess
    own = threading.local()

    def levels_of(sample: int) -> torch.Tensor:
        try:
            decode, resize = own.tools
        except AttributeError:  # the thread's first image
            decode, resize = own.tools = open_decoder(), open_resizer(preprocess)
        return resize(decode(paths[sample], None if in_memory is None else in_memory[sample]))

    return name, levels_of


def open_resizer(preprocess: Preprocess) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function: (1, 3, H, W) uint8 of any size, channels last -> (crop, P), the crop's rows.

    The sizes are torchvision's: the long side truncated, the crop's start rounded, ties to even.
    The function is for one thread, and its next call writes over the rows.
    """
    crop = preprocess.crop
    resample = _RESAMPLE.get(preprocess.interpolation)
    if resample is None or not preprocess.antialias:
        return functools.partial(_resize_by_torchvision, preprocess)
    memory = torch.empty(0, dtype=torch.uint8)

    @functools.lru_cache(MOST_SIZES)
    def plan_of(height: int, width: int) -> _Plan:
        nonlocal memory
        resized, (top, left) = _geometry(height, width, preprocess)
        # Where two lengths are equal torch resizes nothing, whatever the scale is.
        bottom, right = (
            end + (end == length != whole)
            for end, length, whole in zip(
                (top + crop, left + crop), (height, width), resized, strict=True
            )
        )
        if memory.numel() < (num_values := 3 * bottom * right):
            memory = torch.empty(num_values, dtype=torch.uint8)
            plan_of.cache_clear()  # they are views of the old memory
        return _Plan(
            is_height_first=resized[0] < height and height > _times_the_width() * width,
            size=(bottom, right),
            scales=(resized[0] / height, resized[1] / width),
            levels_NCHW=as_batch(memory, bottom, right),
            crop_HP=memory.as_strided((crop, 3 * crop), (3 * right, 1), 3 * (top * right + left)),
        )

    def resize(pixels_NCHW: torch.Tensor) -> torch.Tensor:
        _, _, height, width = pixels_NCHW.shape
        is_height_first, size, scales, levels_NCHW, crop_HP = plan_of(height, width)
        if is_height_first:
            pixels_NCHW = resample(pixels_NCHW, (size[0], width), False, scales[0], None)
            scales = (None, scales[1])
        resample(pixels_NCHW, size, False, *scales, out=levels_NCHW)
        return crop_HP

    return resize


class _Plan(NamedTuple):
    """How images of one size are resized, and where to.

    The kernel writes `levels_NCHW`, of which `crop_HP` are the rows of the crop.
    """

    is_height_first: bool
    size: tuple[int, int]
    scales: tuple[float | None, float]
    levels_NCHW: torch.Tensor
    crop_HP: torch.Tensor


def _resize_by_torchvision(preprocess: Preprocess, pixels_NCHW: torch.Tensor) -> torch.Tensor:
    crop = preprocess.crop
    _, _, height, width = pixels_NCHW.shape
    resized, _ = _geometry(height, width, preprocess)
    levels_NCHW = transforms.center_crop(
        transforms.resize(
            pixels_NCHW,
            resized,
            InterpolationMode(preprocess.interpolation),
            antialias=preprocess.antialias,
        ),
        [crop, crop],
    )
    return levels_NCHW[0].permute(1, 2, 0).reshape(crop, 3 * crop)


def _geometry(height: int, width: int, preprocess: Preprocess) -> tuple[list[int], list[int]]:
    """The resized image's (height, width), and the crop's (top, left) in it."""
    short = min(height, width)
    resized = [length * preprocess.resize // short for length in (height, width)]
    return resized, [round((length - preprocess.crop) / 2) for length in resized]


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
