"""From grey levels to the model's input: `(level / 255 - mean) / std`, as one multiply and one add.

Loaders that decode and resize on the CPU have uint8 levels. For a CPU model a thread normalises
each image while it lies in its cache (`into`); for a GPU the levels are sent as they are, a quarter
of the bytes of float32, and normalised there (`__call__`).

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from fastbench.loaders.base import Preprocess

__all__ = ["Normalizer"]


class Normalizer:
    """Normalises uint8 RGB levels into the model's dtype, on its device.

    Within a rounding of float32 of the reference, which divides twice.
    """

    def __init__(self, preprocess: Preprocess, device: str, dtype: str) -> None:
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        std = np.array(preprocess.std)
        scale, shift = 1 / (255 * std), -np.array(preprocess.mean) / std
        # A row of pixels at a time: numpy's inner loop would otherwise be three values long.
        self._scale, self._shift = (
            np.tile(values, preprocess.crop).astype(np.float32) for values in (scale, shift)
        )
        self._scale_C, self._shift_C = (
            torch.from_numpy(values.astype(np.float32)).to(self._device)
            for values in (scale, shift)
        )

    def __call__(self, levels_NHWC: torch.Tensor) -> torch.Tensor:
        """(N, H, W, 3) uint8 on the CPU -> (N, 3, H, W), channels_last, on the device.

        From pinned memory the copy is asynchronous, in the order of the current stream.
        """
        levels_NHWC = levels_NHWC.to(self._device, non_blocking=True)
        images_NHWC = torch.addcmul(self._shift_C, levels_NHWC.float(), self._scale_C)
        return images_NHWC.to(self._dtype).permute(0, 3, 1, 2)

    def into(self, levels_HWC: np.ndarray, image_HWC: torch.Tensor) -> None:
        """(H, W, 3) uint8 levels into an image of the same shape, contiguous, on the CPU.

        By numpy, one thread: torch would start threads of its own from every thread that calls.
        """
        height, width, _ = levels_HWC.shape
        levels = levels_HWC.reshape(height, 3 * width)
        if image_HWC.dtype == torch.float32:
            values = image_HWC.view(height, 3 * width).numpy()
            np.multiply(levels, self._scale, out=values)
            np.add(values, self._shift, out=values)
            return
        values = levels * self._scale + self._shift
        image_HWC.copy_(torch.from_numpy(values).view(height, width, 3))
