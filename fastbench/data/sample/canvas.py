"""The start of every drawn image: a canvas in resized pixels, noise, colours, a background.

`drawing.py` says what is drawn on it and why. Lengths are in resized pixels unless stated
otherwise, intensities in levels of 0..255.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Plane: TypeAlias = "NDArray[np.float32]"

_RESIZE: Final = 256.0
_TILE: Final = 1024


class Box(NamedTuple):
    """Where a shape may lie on the canvas: row and column slices, in source pixels."""

    rows: slice
    cols: slice


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image being drawn: planar RGB, and its coordinates in resized pixels."""

    planes: Plane
    """(3, H, W), levels 0..255, clipped only at the end."""
    u: Plane
    """(W,): horizontal distance from the image's middle."""
    v: Plane
    """(H,): vertical distance from the image's middle, down."""
    scale: float
    """Source pixels per resized pixel."""

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The part of the canvas inside these bounds (resized pixels)."""
        return Box(
            slice(int(np.searchsorted(self.v, top)), int(np.searchsorted(self.v, bottom))),
            slice(int(np.searchsorted(self.u, left)), int(np.searchsorted(self.u, right))),
        )

    def coverage(self, distance: Plane) -> Plane:
        """Signed distance to an edge (resized pixels, inside > 0) -> opacity, one pixel soft."""
        opacity: Plane = np.clip(distance * np.float32(self.scale) + np.float32(0.5), 0, 1)
        return opacity

    def blend(
        self, box: Box, opacity: Plane, colour: Sequence[float], shade: Plane | float = 0.0
    ) -> None:
        """Lay `colour` (levels) plus `shade` (levels) over the box, as far as opaque."""
        for plane, level in zip(self.planes, colour, strict=True):
            part = plane[box.rows, box.cols]
            part += opacity * (np.float32(level) + shade - part)


@functools.cache
def clouds() -> Plane:
    """(1024, 1024) periodic noise with a 1/f amplitude spectrum, mean 0, deviation 1."""
    rng = np.random.default_rng(20_240_501)
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE)))
    radius = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :])
    radius[0, 0] = np.inf
    tile = np.fft.irfft2(spectrum / radius, s=(_TILE, _TILE))
    scaled: Plane = (tile / tile.std()).astype(np.float32)
    return scaled


@functools.cache
def grain() -> Plane:
    """(1024, 1024) periodic, slightly blurred white noise, mean 0, deviation 1."""
    tile = np.random.default_rng(20_240_502).standard_normal((_TILE, _TILE))
    tile = tile + 0.35 * np.roll(tile, 1, axis=0)
    tile = tile + 0.35 * np.roll(tile, 1, axis=1)
    scaled: Plane = ((tile - tile.mean()) / tile.std()).astype(np.float32)
    return scaled


def noise_window(tile: Plane, rng: np.random.Generator, height: int, width: int) -> Plane:
    """A random (height, width) part of a periodic tile, randomly mirrored; may be a view.

    New noise would cost more than the rest of an image, and looks the same to codec and model.
    """
    top, left = (int(start) for start in rng.integers(0, _TILE, 2))
    if rng.random() < 0.5:
        tile = tile[::-1]
    if rng.random() < 0.5:
        tile = tile[:, ::-1]
    if height <= _TILE and width <= _TILE:
        top = top * (_TILE - height) // _TILE
        left = left * (_TILE - width) // _TILE
        return tile[top : top + height, left : left + width]
    rows = (np.arange(height) + top) % _TILE
    cols = (np.arange(width) + left) % _TILE
    return tile[rows[:, None], cols[None, :]]


def rgb(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Hue in degrees, saturation and value in 0..1 -> levels 0..255."""
    # hsv_to_rgb by its closed form: channel n is value * (1 - saturation * ramp(n)).
    ramps = ((n + hue / 60.0) % 6.0 for n in (5.0, 3.0, 1.0))
    r, g, b = (255.0 * value * (1.0 - saturation * max(0.0, min(k, 4.0 - k, 1.0))) for k in ramps)
    return r, g, b


def muted(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour that no hue class could be mistaken for."""
    return rgb(rng.uniform(0, 360), rng.uniform(0.0, 0.25), rng.uniform(0.2, 0.85))


def background(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """Clouds on a tinted ground, lit from one side, with a few muted blobs."""
    scale = min(height, width) / _RESIZE
    u = ((np.arange(width) + 0.5 - width / 2) / scale).astype(np.float32)
    v = ((np.arange(height) + 0.5 - height / 2) / scale).astype(np.float32)
    light = noise_window(clouds(), rng, height, width) * np.float32(rng.uniform(16, 34))
    light += u * np.float32(rng.normal(0, 0.18))
    light += v[:, None] * np.float32(rng.normal(0, 0.18))
    tint = noise_window(clouds(), rng, height, width)
    ground = muted(rng)
    tints = rng.normal(0, 7, 3)
    planes = np.empty((3, height, width), np.float32)
    for channel in range(3):
        np.multiply(tint, np.float32(tints[channel]), out=planes[channel])
        planes[channel] += light
        planes[channel] += np.float32(0.8 * ground[channel] + 20)
    canvas = Canvas(planes, u, v, scale)
    for _ in range(int(rng.integers(2, 6))):
        _blob(canvas, rng)
    return canvas


def _blob(canvas: Canvas, rng: np.random.Generator) -> None:
    """A muted ellipse, sharp or out of focus, anywhere."""
    x, y = rng.uniform(-130, 130, 2)
    rx, ry = rng.uniform(6, 34, 2)
    box = canvas.box(x - rx, y - ry, x + rx, y + ry)
    across = (canvas.u[box.cols] - np.float32(x)) / np.float32(rx)
    down = (canvas.v[box.rows] - np.float32(y)) / np.float32(ry)
    inside = 1 - (across * across + (down * down)[:, None])
    softness = np.float32(rng.uniform(0.03, 0.6))
    densest = np.float32(rng.uniform(0.4, 0.9))
    opacity: Plane = np.clip(inside / softness, np.float32(0), densest)
    canvas.blend(box, opacity, muted(rng))
