"""Resize and crop as the reference does, in a graph of DALI's.

DALI's usual recipe (`resize_shorter=256` and `crop(224)`) is up to 203 of 255 levels off
torchvision, which has three rules:

- the resized long side is truncated, `long * resize // short`;
- pixels are aligned without DALI's sub-pixel correction of the scale;
- the crop's first row is `round((height - crop) / 2)` with ties to even.

Only the crop's region of the source image is computed (the filter still reads beyond its edge).
`fast` does that in one fused pass: bilinear within a level of the reference, bicubic within a few
where it overshoots, since Pillow clips between its two passes. `exact` takes two passes as Pillow
does, each rounded to 8 bits, the width always first. Pillow 13 resizes the height first where an
image is more than twice as tall as wide: a quarter of a level in the mean.

DALI runs the operators of the CPU one at a time, each over all samples of a batch: 0.3 ms for 256.
So the window is computed for both axes at once, as vectors (y, x).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nvidia.dali import fn, math, types

if TYPE_CHECKING:
    from fastbench.loaders.base import LoaderSpec, Preprocess

INTERPOLATIONS = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}
_RADIUS = {"bilinear": 1, "bicubic": 2}
"""The filters' reach, in pixels of the coarser grid."""
MINIBATCH_SIZE = 32
"""DALI's own: so many images are resized by one kernel."""
_SMALLEST = 64
"""Where the images' sizes are not known, none is thought to have a shorter side."""
_LEAST_WEIGHT = 1e-3
"""Where nothing of the image is within reach, the levels are 0 and so is their weight."""


def resize_and_crop(images: Any, shape: Any, spec: LoaderSpec) -> Any:
    """(H, W, 3) uint8 -> (crop, crop, 3) uint8: only what the crop keeps is computed."""
    p = spec.preprocess
    window = crop_window(shape, p)
    padded = _meets_border(spec)
    if padded:
        images, window = _pad(images, window, p)
    if spec.resize == "exact":
        images = _in_two_passes(images, window, spec, padded)
    else:
        images = _resize(
            images, spec, padded, size=[p.crop, p.crop], roi_start=window.start, roi_end=window.end
        )
    return images[:, :, :3] if padded else images


class CropWindow(NamedTuple):
    """The crop along (y, x): where it starts and ends in source pixels, float32, the image's size,
    and source pixels to a step of the filter, at least one.
    """

    start: Any
    end: Any
    size: Any
    stretch: Any


def crop_window(shape: Any, preprocess: Preprocess) -> CropWindow:
    """Map the crop back to the source by torchvision's rules: integers up to the last division."""
    size = shape[0:2]
    resized = size * preprocess.resize // fn.reductions.min(size)
    margin = resized - preprocess.crop
    first = (margin + margin // 2 % 2) // 2  # margin / 2 with ties to even
    scale = size / resized
    start, end = first * scale, (first + preprocess.crop) * scale
    return CropWindow(start, end, size, math.max(scale, 1.0))


def _meets_border(spec: LoaderSpec) -> bool:
    """Whether the filter reaches beyond an image from the crop's first pixel.

    Enlarged, a pixel of the source is several of the resized image. `fast` bicubic lets that be:
    what it is off there, in the outermost pixels of tiny images, it is off anywhere.
    """
    p = spec.preprocess
    smallest = min(map(min, spec.sizes), default=_SMALLEST)
    enlarged = max(1.0, p.resize / smallest)
    if spec.resize == "fast" and p.interpolation == "bicubic":
        enlarged = 1.0
    return (p.resize - p.crop) // 2 < _RADIUS[p.interpolation] * enlarged


def _pad(images: Any, window: CropWindow, preprocess: Preprocess) -> tuple[Any, CropWindow]:
    """Add a channel that is 1 inside of the image, and a border that is 0 in all channels.

    At the border Pillow gives the pixels inside all the weight; DALI repeats the last one. Over
    zeros the fourth channel's sum is the weight of the pixels inside: `_resize` divides by it.
    """
    reach = window.stretch * -_RADIUS[preprocess.interpolation]
    begin = fn.cast(reach - 1.5, dtype=types.INT32)  # at least one pixel more than the filter's
    images = fn.slice(
        images,
        start=[0],
        shape=[4],
        axes=[2],
        out_of_bounds_policy="pad",
        fill_values=[1],
    )
    images = fn.slice(
        images,
        start=begin,
        end=window.size - begin,
        axes=[0, 1],
        out_of_bounds_policy="pad",
        fill_values=[0],
    )
    return images, window._replace(start=window.start - begin, end=window.end - begin)


def _in_two_passes(images: Any, window: CropWindow, spec: LoaderSpec, padded: bool) -> Any:
    """Resample the rows that the crop needs, then the columns."""
    crop = spec.preprocess.crop
    reach = window.stretch * (_RADIUS[spec.preprocess.interpolation] + 2)
    # Whole rows: the first pass leaves them as they are. Beyond the border it repeats the last.
    begin = _y_and_x(math.floor(window.start - reach), window.start)
    images = _resize(
        images,
        spec,
        padded,
        resize_x=crop,
        mode="stretch",  # y stays
        roi_start=begin,
        roi_end=_y_and_x(math.ceil(window.end + reach), window.end),
    )
    return _resize(
        images,
        spec,
        padded,
        size=[crop, crop],
        roi_start=window.start - begin,  # 0 in the columns
        roi_end=fn.erase(window.end - begin, anchor=[1], shape=[1], axes=[0], fill_value=crop),
    )


def _y_and_x(y_of: Any, x_of: Any) -> Any:
    """The y of a vector and the x of another one, in two operators."""
    return fn.cat(y_of, x_of)[::3]


def _resize(images: Any, spec: LoaderSpec, padded: bool, **arguments: Any) -> Any:
    """Resample to uint8; of padded images divide by the weight inside.

    DALI rounds halves to even, Pillow up: `exact` rounds by arithmetic, which costs time.
    """
    interpolation = INTERPOLATIONS[spec.preprocess.interpolation]
    minibatch: Any = spec.options.get("resize_minibatch_size", MINIBATCH_SIZE)
    rounds = padded or spec.resize == "exact"
    resized: Any = fn.resize(
        images,
        dtype=types.FLOAT if rounds else types.UINT8,
        roi_relative=False,
        subpixel_scale=False,
        min_filter=interpolation,
        mag_filter=interpolation,
        antialias=spec.preprocess.antialias,
        minibatch_size=minibatch,
        **arguments,
    )
    if padded:
        resized = resized / math.max(resized[:, :, 3:4], _LEAST_WEIGHT)
    if not rounds:
        return resized
    return fn.cast(math.floor(math.clamp(resized, 0.0, 255.0) + 0.5), dtype=types.UINT8)
