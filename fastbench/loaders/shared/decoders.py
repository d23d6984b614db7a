"""The decoder of JPEGs: Pillow's pixels to the bit, by the quickest that is here.

libjpeg-turbo decodes in all of them; what differs is how long they hold Python's lock for it
(`benchmarks/lock_held.py`). simplejpeg, an extra, decodes into memory that is used again.
torchvision's decoder is deprecated since 0.29; it is called by its operator, without a warning at
every image. Its successor TorchCodec always rotates by EXIF orientation, which the reference does
not. Pillow decodes where neither is there, and what they refuse.
"""

from __future__ import annotations

import contextlib
import functools
import io
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch
import torchvision  # noqa: F401 - it brings its operators

from fastbench.data.jpeg.quick_check import corrupt
from fastbench.loaders.shared.pixels import decode_by_pillow
from fastbench.loaders.shared.threads import borrow_file

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SIZES: Final = 256
"""Of so many sizes of images a thread remembers what it has prepared."""


class Decode(Protocol):
    """A file -> its pixels, (1, 3, H, W) uint8, channels last, orientation as it is stored."""

    def __call__(self, path: str, data: np.ndarray | None = None) -> torch.Tensor:
        """Decode a file, or `data`, its (B,) uint8 bytes. The next call may write over the pixels.

        Raises `CorruptImageError`, which names the file, for what Pillow cannot decode either.
        """
        ...


def choose_decoder() -> tuple[str, Callable[[], Decode]]:
    """The quickest decoder that is here: its name, and what opens it for a thread."""
    with contextlib.suppress(ImportError):
        import simplejpeg

        name = f"libjpeg-turbo in simplejpeg {simplejpeg.__version__}"
        return name, lambda: _or_by_pillow(_open_simplejpeg(simplejpeg))
    if _torchvision_decodes():
        return "libjpeg-turbo in torchvision", lambda: _or_by_pillow(_by_torchvision)
    return "PIL", lambda: _by_pillow


def as_batch(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pixels that lie one after the other -> (1, 3, H, W), whose channels torch sees to be last."""
    return pixels.as_strided((1, 3, height, width), (3 * height * width, 1, 3 * width, 3))


def _open_simplejpeg(simplejpeg: Any) -> Decode:
    decode_jpeg, decode_jpeg_header = simplejpeg.decode_jpeg, simplejpeg.decode_jpeg_header
    memory = np.empty(0, np.uint8)

    @functools.lru_cache(MOST_SIZES)
    def pixels_of(height: int, width: int) -> torch.Tensor:
        nonlocal memory
        if memory.size < (num_values := 3 * height * width):
            memory = np.empty(num_values, np.uint8)
            pixels_of.cache_clear()  # they are views of the old memory
        return as_batch(torch.from_numpy(memory), height, width)

    def decode(path: str, data: np.ndarray | None = None) -> torch.Tensor:
        data = borrow_file(path) if data is None else data
        height, width, colors, _ = decode_jpeg_header(data)
        if colors not in ("YCbCr", "Gray", "RGB"):
            raise ValueError(f"simplejpeg rounds {colors} in its own way")
        pixels_NCHW = pixels_of(height, width)
        decode_jpeg(data, "RGB", buffer=memory)  # what libjpeg-turbo only warns of is refused too
        return pixels_NCHW

    return decode


def _by_torchvision(path: str, data: np.ndarray | None = None) -> torch.Tensor:
    data_B = torch.from_numpy(borrow_file(path) if data is None else data)
    pixels_CHW: torch.Tensor = torch.ops.image.decode_jpeg(data_B, 3, False)
    _, height, width = pixels_CHW.shape
    return as_batch(pixels_CHW, height, width)


def _by_pillow(path: str, data: np.ndarray | None = None) -> torch.Tensor:
    try:
        pixels_CHW = decode_by_pillow(path if data is None else io.BytesIO(data.data))
    # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        raise corrupt(path, error) from error
    _, height, width = pixels_CHW.shape
    return as_batch(pixels_CHW, height, width)


def _or_by_pillow(decode: Decode) -> Decode:
    def decode_or(path: str, data: np.ndarray | None = None) -> torch.Tensor:
        try:
            return decode(path, data)
        except Exception:  # noqa: BLE001 - Pillow has the last word, and raises
            return _by_pillow(path, data)

    return decode_or


def _torchvision_decodes() -> bool:
    try:
        return bool(torch.ops.image.decode_jpeg)
    except AttributeError:
        return False
