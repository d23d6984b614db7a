"""From grey levels to the model's input: `(level / 255 - mean) / std`, as one multiply and one add.

Loaders that decode and resize on the CPU have uint8 levels. For a CPU model a thread normalises
each image while it is in the cache (`into`). For a GPU the levels are sent as they are, a quarter
of the bytes of float32, and normalised there (`__call__`).

Shape suffixes: N batch, C channels, H height, W width; P = 3 * W, a row's values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from typing import BinaryIO

    from fastbench.loaders.base import Preprocess


class Normalizer:
    """Normalises uint8 RGB levels into the model's dtype, on its device.

    Within a rounding of float32 of the reference, which divides twice.
    """

    def __init__(self, preprocess: Preprocess, device: str, dtype: str) -> None:
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        mean_C, std_C = (
            torch.tensor(values, dtype=torch.float64)
            for values in (preprocess.mean, preprocess.std)
        )
        scale_C, shift_C = ((1 / (255 * std_C)).float(), (-mean_C / std_C).float())
        # A row of pixels at a time: else the innermost loop would be three values long.
        self._scale_P, self._shift_P = (x.repeat(preprocess.crop) for x in (scale_C, shift_C))
        self._scale_C, self._shift_C = (x.to(self._device) for x in (scale_C, shift_C))

    def __call__(self, levels_NHWC: torch.Tensor) -> torch.Tensor:
        """(N, H, W, 3) uint8 on the CPU -> (N, 3, H, W), channels_last, on the device.

        From pinned memory the copy is asynchronous, in the order of the current stream.
        """
        levels_NHWC = levels_NHWC.to(self._device, non_blocking=True)
        images_NHWC = torch.addcmul(self._shift_C, levels_NHWC.float(), self._scale_C)
        return images_NHWC.to(self._dtype).permute(0, 3, 1, 2)

    def into(self, levels_HP: torch.Tensor, image_HP: torch.Tensor) -> None:
        """(H, P) uint8 levels into an image of the same shape, on the CPU."""
        torch.addcmul(self._shift_P, levels_HP, self._scale_P, out=image_HP)


def decode_by_pillow(source: str | BinaryIO) -> torch.Tensor:
    """A file -> its pixels, (3, H, W) uint8, orientation as it is stored."""
    with Image.open(source) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def copy_levels(levels_HP: torch.Tensor, target_HP: torch.Tensor) -> None:
    """Copy an image's levels in the calling thread; torch would start others."""
    np.copyto(target_HP.numpy(), levels_HP.numpy())


def levels_of(images_NCHW: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Normalised images -> levels of 0..255, float32."""
    mean, std = (
        images_NCHW.new_tensor(values).view(1, 3, 1, 1)
        for values in (preprocess.mean, preprocess.std)
    )
    return (images_NCHW.float() * std.float() + mean.float()) * 255
