"""What `fn.resize` of DALI computes on a GPU, in numpy, to see without one how far off it is.

Written from DALI's sources (`dali/kernels/imgproc/resample`). Each axis is resampled in a pass of
its own, with float32 between them. Which pass is the first is a matter of cost. The axis of the
second is cut down to what its filter reads; beyond the cut the last pixel is repeated, as it is
beyond the image's border. A GPU fuses products and sums, and here each is rounded: 4e-3 of a level
was the most that it made with antialiasing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from nvidia.dali import fn, types

HEIGHT, WIDTH = 0, 1
ORDERS = {"width first": (WIDTH, HEIGHT), "height first": (HEIGHT, WIDTH)}
F = np.float32


def _cubic(x_N: np.ndarray) -> np.ndarray:
    """Keys' filter with a = -0.5."""
    x_N = abs(x_N)
    inner_N = (1.5 * x_N - 2.5) * x_N**2 + 1
    outer_N = ((-0.5 * x_N + 2.5) * x_N - 4) * x_N + 2
    return np.where(x_N <= 1, inner_N, outer_N).astype(F)


# Filters from end to end, straight between two entries, and their reach.
_LINEAR = np.array([0, 1, 0], F), 1
_CUBIC = _cubic(np.linspace(-2, 2, 129)), 2
_FILTERS = {types.INTERP_LINEAR: _LINEAR, types.INTERP_CUBIC: _CUBIC}


class Window(NamedTuple):
    """A stretch of an axis, in source pixels, and the number of pixels that it becomes."""

    start: np.float32
    end: np.float32
    size: int

    @property
    def scale(self) -> np.float32:
        """Source pixels a resized one."""
        return (self.end - self.start) / F(self.size)


class _Filter(NamedTuple):
    """A filter that is spread out over source pixels."""

    table: np.ndarray
    step: np.float32  # entries of the table a source pixel
    anchor: np.float32  # source pixels from its beginning to its middle
    support: int  # source pixels


def _spread(filter_: object, window: Window, antialias: bool) -> _Filter:
    # Where nothing is reduced, bilinear has a kernel of its own, which computes just this.
    table, radius = _FILTERS[filter_]
    spread = max(F(1), window.scale) if antialias else F(1)
    step = F(len(table) - 1) / (F(2 * radius) * spread)
    return _Filter(table, step, F(len(table) // 2) / step, int(np.ceil(F(len(table) - 1) / step)))


def resample(
    levels_HWC: np.ndarray,
    windows: tuple[Window, Window],
    filter_: object,
    antialias: bool,
    order: tuple[int, int],
) -> np.ndarray:
    """uint8 -> float32 of the windows' sizes (height, width), not rounded."""
    filters = [_spread(filter_, window, antialias) for window in windows]
    first, second = order
    (start, end, size), (_, _, anchor, support) = windows[second], filters[second]
    low = max(0, int(np.floor(start - anchor)))
    high = min(levels_HWC.shape[second], int(np.ceil(end - anchor + F(support))))
    cut_HWC = levels_HWC.take(range(low, high), second)
    half_HWC = _in_one_pass(cut_HWC, first, windows[first], filters[first])
    rest = Window(start - F(low), end - F(low), size)
    return _in_one_pass(half_HWC, second, rest, filters[second])


def _in_one_pass(levels_HWC: np.ndarray, axis: int, window: Window, filter_: _Filter) -> np.ndarray:
    table, step, anchor, support = filter_
    origin = window.start + (F(0.5) * window.scale - F(0.5) - anchor)
    begin_N = np.arange(window.size, dtype=F) * window.scale + origin
    first_N = np.ceil(begin_N)  # the first pixel within reach
    entries_NK = ((first_N - begin_N) * step)[:, None] + np.arange(support, dtype=F) * step
    weights_NK = np.interp(entries_NK, range(len(table)), table).astype(F)
    along = (-1, 1, 1) if axis == HEIGHT else (1, -1, 1)
    total_HWC: Any = F(0)
    for k, weights_N in enumerate(weights_NK.T):
        pixels_N = np.clip(first_N.astype(int) + k, 0, levels_HWC.shape[axis] - 1)
        total_HWC += levels_HWC.take(pixels_N, axis) * weights_N.reshape(along)
    return total_HWC * (F(1) / weights_NK.sum(1)).reshape(along)


def to_uint8(levels: np.ndarray) -> np.ndarray:
    """The nearest level, and half-way between two of them the even one."""
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def emulated_resize(order: tuple[int, int]) -> Callable[..., Any]:
    """Stands in for `fn.resize` in a graph for the CPU, which has all else computed by DALI."""

    def resize(
        images: Any,
        *,
        roi_start: Any,
        roi_end: Any,
        dtype: object,
        min_filter: object,
        mag_filter: object,
        antialias: bool,
        roi_relative: bool,
        subpixel_scale: bool,
        size: tuple[int, int] | None = None,
        resize_x: int = 0,
        mode: str = "default",
        minibatch_size: int = 32,  # changes no pixel
    ) -> Any:
        assert mag_filter == min_filter
        assert not roi_relative
        assert not subpixel_scale
        # A side that is not told is as long as its region.
        assert size or mode == "stretch"
        sizes = size or (0, resize_x)

        def run(levels_HWC: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
            lengths = [
                told or round(length) for told, length in zip(sizes, ends - starts, strict=True)
            ]
            height, width = map(Window, starts, ends, lengths)
            resized_HWC = resample(levels_HWC, (height, width), min_filter, antialias, order)
            return resized_HWC if dtype == types.FLOAT else to_uint8(resized_HWC)

        return fn.python_function(
            images, roi_start, roi_end, function=run, num_outputs=1, output_layouts="HWC"
        )

    return resize
