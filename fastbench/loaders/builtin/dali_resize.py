"""Resize and crop as the reference does, in a graph of DALI's.

DALI's usual recipe (`resize_shorter=256` and `crop(224)`) is up to 203 of 255 levels off
torchvision, which has three rules:

- the resized long side is truncated, `long * resize // short`;
- pixels are aligned without DALI's sub-pixel correction of the scale;
- the crop's first row is `round((height - crop) / 2)` with ties to even.

Only the crop's region of the source image is computed (the filter still reads beyond its edge). On
the CPU that is within 1 level of the reference, and faster than resizing all of the image.

`exact` and bicubic take two passes as Pillow does, the width always first. Pillow 13 resizes the
height first where an image is more than twice as tall as wide: a quarter of a level in the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nvidia.dali import fn, math, types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.loaders.base import LoaderSpec, Preprocess

INTERPOLATIONS = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}
_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
"""The filters' reach, in pixels of the coarser grid."""
_WIDE_MARGIN = 16
"""With so many resized pixels beyond the crop, on both sides together, no filter meets a border."""


def resize_and_crop(images: Any, shape: Any, spec: LoaderSpec) -> Any:
    """(H, W, 3) uint8 -> (crop, crop, 3) uint8: only what the crop keeps is computed.

    `fast` is one fused pass where that stays within a level of the reference. `exact` resamples the
    rows, then the columns, each rounded to 8 bits, as Pillow does. So does bicubic, whose overshoot
    Pillow clips between the two.
    """
    p = spec.preprocess
    window = [_crop_window(shape, axis, p) for axis in (0, 1)]
    near_border = p.resize - p.crop < _WIDE_MARGIN
    if spec.resize == "exact" or p.interpolation == "bicubic":
        # An enlarged tiny image has a border near any crop.
        near_border = near_border or spec.resize == "exact"
        images = _resample(images, [None, window[1]], shape, p, near_border)
        narrow = fn.stack(_float(shape[0]), _constant(p.crop))
        return _resample(images, [window[0], None], narrow, p, near_border)
    if near_border:
        return _resample(images, window, shape, p, near_border)
    return fn.resize(
        images,
        size=[p.crop, p.crop],
        roi_start=fn.stack(*(axis.start for axis in window)),
        roi_end=fn.stack(*(axis.end for axis in window)),
        **_filter_arguments(p),
    )


class _CropWindow(NamedTuple):
    """The crop along one axis: its float32 start and end in source pixels, its pixels, and how
    many source pixels the filter reaches beyond it.
    """

    start: Any
    end: Any
    size: int
    reach: Any


def _crop_window(shape: Any, axis: int, preprocess: Preprocess) -> _CropWindow:
    """Map the crop back to the source, by torchvision's rules; in int64 up to the last division."""
    length = shape[axis]
    resized = (length * preprocess.resize) // math.min(shape[0], shape[1])
    margin = resized - preprocess.crop
    half = margin // 2
    first = half + (margin % 2) * (half % 2)  # margin / 2 with ties to even
    scale = _float(length) / _float(resized)
    radius = _RADIUS[preprocess.interpolation]
    return _CropWindow(
        start=_float(first) * scale,
        end=_float(first + preprocess.crop) * scale,
        size=preprocess.crop,
        reach=math.ceil(radius * math.max(scale, 1.0)) + 1,
    )


def _resample(
    images: Any,
    window: Sequence[_CropWindow | None],
    shape: Any,
    preprocess: Preprocess,
    near_border: bool,
) -> Any:
    """Resample the axes (y, x) that have a window, and round to uint8 as Pillow does.

    At the border Pillow gives the pixels inside all the weight; DALI repeats the last one. So near
    it the image is padded with zeros, and divided by a row of ones that is resampled alike.
    """
    lengths = [_float(shape[axis]) for axis in (0, 1)]
    reaches = [
        _float(axis.reach) if axis is not None and near_border else _constant(0) for axis in window
    ]
    arguments = _resize_arguments(window, lengths, reaches, preprocess)
    if near_border:
        images = _padded(images, lengths, reaches)
    images = fn.resize(images, dtype=types.FLOAT, **arguments)
    if near_border:
        for axis, part in enumerate(window):
            if part is None:
                continue
            alone = [part if other == axis else None for other in (0, 1)]
            ones_lengths = [lengths[other] if other == axis else _constant(1) for other in (0, 1)]
            ones_reaches = [reaches[other] if other == axis else _constant(0) for other in (0, 1)]
            ones = fn.full(1.0, shape=_int(fn.stack(*ones_lengths, _constant(1))))
            ones = _padded(fn.reshape(ones, layout="HWC"), ones_lengths, ones_reaches)
            weight: Any = fn.resize(
                ones,
                dtype=types.FLOAT,
                **_resize_arguments(alone, ones_lengths, ones_reaches, preprocess),
            )
            images = images / (weight.gpu() if images.device == "gpu" else weight)
    return fn.cast(math.floor(math.clamp(images, 0.0, 255.0) + 0.5), dtype=types.UINT8)


def _padded(images: Any, lengths: list[Any], reaches: list[Any]) -> Any:
    return fn.slice(
        images,
        start=_int(fn.stack(*(0.0 - reach for reach in reaches))),
        shape=_int(fn.stack(*(n + 2.0 * r for n, r in zip(lengths, reaches, strict=True)))),
        axes=[0, 1],
        out_of_bounds_policy="pad",
        fill_values=[0.0],
    )


def _resize_arguments(
    window: Sequence[_CropWindow | None],
    lengths: list[Any],
    reaches: list[Any],
    preprocess: Preprocess,
) -> dict[str, Any]:
    """`fn.resize`'s arguments; an axis without a window keeps its length."""
    sizes, starts, ends = [], [], []
    for part, length, reach in zip(window, lengths, reaches, strict=True):
        sizes.append(length if part is None else _constant(part.size))
        starts.append(_constant(0) if part is None else part.start + reach)
        ends.append(length if part is None else part.end + reach)
    return {
        "size": fn.stack(*sizes),
        "roi_start": fn.stack(*starts),
        "roi_end": fn.stack(*ends),
        **_filter_arguments(preprocess),
    }


def _filter_arguments(preprocess: Preprocess) -> dict[str, Any]:
    interpolation = INTERPOLATIONS[preprocess.interpolation]
    return {
        "roi_relative": False,
        "subpixel_scale": False,
        "min_filter": interpolation,
        "mag_filter": interpolation,
        "antialias": preprocess.antialias,
    }


def _constant(value: float) -> Any:
    return types.Constant(value, dtype=types.FLOAT, device="cpu")


def _float(value: Any) -> Any:
    return fn.cast(value, dtype=types.FLOAT)


def _int(value: Any) -> Any:
    return fn.cast(value, dtype=types.INT32)
