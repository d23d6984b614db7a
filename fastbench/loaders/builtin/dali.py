"""NVIDIA DALI as a loader: the only file that names it.

With a CUDA device the JPEGs are decoded, resized, cropped and normalised on the GPU; without one
the same graph runs in DALI's CPU threads; and `dali-cpu` decodes in CPU threads and does the rest
on the GPU, for a machine with more cores than its GPU's decoder is worth. Either way the images
leave the pipeline as HWC in the model's dtype and are *viewed* as channels-last NCHW: no copy
between DALI and torch.

Why not the usual recipe (`resize_shorter=256` and `crop(224)`)? It disagrees with torchvision by
up to 203 of 255 levels. Three rules of torchvision have to be met together:

- the resized long side is truncated, `long * resize // short`;
- pixels are aligned without DALI's sub-pixel correction of the scale;
- the crop's first row is `round((height - crop) / 2)` with ties to even.

The crop window is mapped back to the source image and only that region is computed (the filter
still reads beyond its edge): at most 1 level from the reference on the CPU, and faster than
resizing all of the image.

On a chip with hardware JPEG engines `hw_decoder_load` is the share of each batch that they get, the
CUDA decoder the rest. Where that is neither 0 nor 1, which decoder an image meets depends on its
place in the batch, and the two differ slightly: fast, but not repeatable, so predictions are then
scored in a pass of their own. The best share depends on the chip and on the threads, so it is
searched for (`search_space`) unless it is given.

DALI has no bfloat16; float32 leaves the pipeline then and is cast on the device.

`prefetch` is the depth of DALI's queue, in which the batch that is asked for has a place: one batch
less is made ahead, and none with 1.

What it does not know: that Pillow 13 resizes the height first of what is more than twice as tall as
wide. The two passes of `exact` and of bicubic round in the usual order, for those a quarter of a
level off in the mean.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import nvidia.dali as dali
import torch
from nvidia.dali import fn, math, pipeline_def, types

from fastbench.core.device import why_no_gpu
from fastbench.core.errors import LoaderError, LoaderMissingError, OutOfMemoryError, UsageError
from fastbench.core.nvidia import jpeg_engines
from fastbench.data.jpeg.quick_check import find_corrupt
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess, Setting, take_options
from fastbench.loaders.shared.cuda_streams import InFlight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["DaliCpuLoader", "DaliLoader"]

_INTERPOLATIONS = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}
_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
"""How far a filter reaches, in pixels of the coarser grid."""
_BUFFER_SHARE = 0.25
"""Of the GPU's free memory, at most so much goes into decoding buffers made beforehand."""
_WIDE_MARGIN = 16
"""Resized pixels beyond the crop, both sides together, that keep the border out of its filter."""


class DaliLoader:
    """The loader `dali`."""

    name = "dali"
    reads_images = True
    decodes_on_gpu = True
    """Where there is one."""

    def __init__(self, spec: LoaderSpec) -> None:
        device = torch.device(spec.device)
        if spec.preprocess.interpolation not in _INTERPOLATIONS:
            raise LoaderError(
                f"The loader {self.name!r} cannot resize with {spec.preprocess.interpolation!r}. "
                f"Use weights with bilinear or bicubic preprocessing, or another loader."
            )
        on_gpu = device.type == "cuda"
        options = self._take_options(spec)
        mixed = on_gpu and self.decodes_on_gpu
        self.repeatable = not mixed or options["hw_decoder_load"] in (0, 1)
        self._spec = spec
        self._position = 0
        self._device = device
        self._in_flight = InFlight(device)
        self._dtype: torch.dtype = getattr(torch, spec.dtype)
        self.settings: Mapping[str, Setting] = {
            "dali": dali.__version__,
            "device": "gpu" if on_gpu else "cpu",
            "decoder": "mixed" if mixed else "cpu",
            "num_threads": spec.num_threads,
            "prefetch_queue_depth": spec.prefetch,
            **(options if mixed else {}),
        }
        self._pipeline = _make_pipeline(
            spec,
            options if mixed else None,
            batch_size=spec.batch_size,
            num_threads=spec.num_threads,
            device_id=(device.index or 0) if device.type == "cuda" else None,
            # One at least: with depth 1 nothing is prefetched until a run is scheduled.
            prefetch_queue_depth=max(1, spec.prefetch),
            exec_dynamic=True,  # outputs stay whole while they are referenced
        )
        try:
            self._pipeline.build()
        except RuntimeError as error:
            raise _build_error(error) from error

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches; the last is padded by DALI with its last image."""
        while self._position:
            self._next()
        num_samples, size = len(self._spec.paths), self._spec.batch_size
        for start in range(0, num_samples, size):
            images, ids = self._next()
            images_NCHW = torch.from_dlpack(images.as_tensor()).permute(0, 3, 1, 2)
            if images_NCHW.dtype != self._dtype:
                images_NCHW = images_NCHW.to(self._dtype)
            ids_N = torch.from_dlpack(ids.as_tensor()).reshape(-1)
            try:
                yield Batch(images_NCHW, ids_N, min(size, num_samples - start))
            finally:
                self._in_flight.hold(images, ids)

    def close(self) -> None:
        """Stop DALI's threads and free its buffers."""
        self._in_flight.drain()
        self._pipeline = None

    def _take_options(self, spec: LoaderSpec) -> dict[str, Setting]:
        device = torch.device(spec.device)
        width, height = _buffer_hint(spec, device) if device.type == "cuda" else (0, 0)
        options = take_options(
            spec, self.name, hw_decoder_load=1.0, width_hint=width, height_hint=height
        )
        load = float(options["hw_decoder_load"] or 0)
        if not 0 <= load <= 1:
            raise UsageError(f"The option dali.hw_decoder_load is {load}. Give it from 0 to 1.")
        options["hw_decoder_load"] = float(load >= 0.5) if spec.repeatable else load
        return options

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[Setting, ...]]:
        """What is worth trying on this device, setting by setting; nothing on a CPU."""
        if not spec.device.startswith("cuda"):
            return {}
        threads = spec.num_threads
        space: dict[str, tuple[Setting, ...]] = {
            "hw_decoder_load": (1.0, 0.0, 0.25, 0.5, 0.75),
            "num_threads": (threads, max(1, threads // 2), 2 * threads),
        }
        engines = jpeg_engines(torch.device(spec.device).index or 0)
        if engines is not None and engines.num_engines == 0:
            del space["hw_decoder_load"]  # all of its values are the same one
        return space

    def _next(self) -> tuple[Any, Any]:
        if self._pipeline is None:
            raise RuntimeError("the loader is closed")
        position = self._position
        self._position = (position + 1) % self._spec.num_batches
        # On this stream the outputs are ready for torch without a host synchronisation.
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        try:
            if self._spec.prefetch:
                images, ids = self._pipeline.run(stream)
            else:
                self._pipeline.schedule_run()
                images, ids = self._pipeline.outputs(stream)
        except RuntimeError as error:
            raise self._error(position, error) from error
        return images, ids

    def _error(self, position: int, error: RuntimeError) -> Exception:
        """Name the file behind a failed batch: DALI itself often does not."""
        if (memory := _out_of_memory(error)) is not None:
            return memory
        start = position * self._spec.batch_size
        culprit = find_corrupt(self._spec.paths[start : start + self._spec.batch_size])
        return culprit or LoaderError(
            f"DALI failed on batch {position}: {_first_line(error)}. "
            f"Run with --loader torchvision to tell whether an image is at fault."
        )


class DaliCpuLoader(DaliLoader):
    """The loader `dali-cpu`."""

    name = "dali-cpu"
    decodes_on_gpu = False

    def __init__(self, spec: LoaderSpec) -> None:
        if not spec.device.startswith("cuda"):
            raise LoaderMissingError(
                "The loader 'dali-cpu' hands decoded images to a CUDA device, and this run is on "
                "the CPU, where it would be 'dali' itself. Leave it out."
            )
        super().__init__(spec)

    @staticmethod
    def why_not() -> str | None:
        """What is missing here for it to run."""
        return why_no_gpu()

    def _take_options(self, spec: LoaderSpec) -> dict[str, Setting]:
        return take_options(spec, self.name)

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[Setting, ...]]:
        """The number of threads."""
        threads = spec.num_threads
        return {"num_threads": (threads, max(1, threads // 2), 2 * threads)}


@pipeline_def
def _make_pipeline(spec: LoaderSpec, options: Mapping[str, Setting] | None) -> tuple[Any, Any]:
    """The graph: images as (crop, crop, 3) in the model's dtype, and the samples' ids.

    `options` are those of decoding on the GPU, None where the CPU decodes.
    """
    on_gpu = spec.device.startswith("cuda")
    encoded, ids = fn.readers.file(
        name="reader",
        files=list(spec.paths),
        labels=list(range(len(spec.paths))),
        pad_last_batch=True,
        stick_to_shard=True,
        dont_use_mmap=True,  # faster from the page cache: 36k images/s against 27k
        read_ahead=bool(spec.prefetch),
    )
    shape = fn.peek_image_shape(encoded, adjust_orientation=False)
    images = _decode(encoded, options)
    if on_gpu:
        images = images.gpu()  # which changes nothing where they were decoded there
    images = _resize_and_crop(images, shape, spec)
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT16 if spec.dtype == "float16" else types.FLOAT,
        output_layout="HWC",
        mean=[255 * value for value in spec.preprocess.mean],
        std=[255 * value for value in spec.preprocess.std],
    )
    ids = fn.cast(ids, dtype=types.INT64)
    return images, ids.gpu() if on_gpu else ids


def _decode(encoded: Any, options: Mapping[str, Any] | None) -> Any:
    shared = {"output_type": types.RGB, "adjust_orientation": False}
    if options is None:
        return fn.decoders.image(encoded, device="cpu", **shared)
    return fn.decoders.image(
        encoded,
        device="mixed",
        # Without it nvJPEG's chroma is up to 48 levels off the reference's, which is libjpeg's.
        jpeg_fancy_upsampling=True,
        hw_decoder_load=options["hw_decoder_load"],
        # Buffers as large as the largest image, made once: growing them would stall a batch.
        preallocate_width_hint=options["width_hint"],
        preallocate_height_hint=options["height_hint"],
        **shared,
    )


def _resize_and_crop(images: Any, shape: Any, spec: LoaderSpec) -> Any:
    """(H, W, 3) uint8 -> (crop, crop, 3) uint8: only what the crop keeps is computed.

    `fast` is one fused pass where that stays within a level of the reference. `exact` does what
    Pillow does: the rows first, then the columns, each rounded to 8 bits; bicubic, whose overshoot
    Pillow clips between the two, is always done so.
    """
    p = spec.preprocess
    window = [_crop_window(shape, axis, p) for axis in (0, 1)]
    near_border = p.resize - p.crop < _WIDE_MARGIN
    if spec.resize == "exact" or p.interpolation == "bicubic":
        # The kernel of a tiny image, enlarged, reaches the border from any crop.
        near_border = near_border or spec.resize == "exact"
        images = _resample(images, [None, window[1]], shape, p, near_border)
        narrow = fn.stack(_float(shape[0]), _constant(p.crop))
        return _resample(images, [window[0], None], narrow, p, near_border)
    if near_border:
        return _resample(images, window, shape, p, near_border)
    interpolation = _INTERPOLATIONS[p.interpolation]
    return fn.resize(
        images,
        size=[p.crop, p.crop],
        roi_start=fn.stack(*(axis.start for axis in window)),
        roi_end=fn.stack(*(axis.end for axis in window)),
        roi_relative=False,
        subpixel_scale=False,
        min_filter=interpolation,
        mag_filter=interpolation,
        antialias=p.antialias,
    )


class _Window(NamedTuple):
    """The crop along one axis: its float32 start and end in source pixels, its pixels, and how
    many source pixels the filter reaches beyond it.
    """

    start: Any
    end: Any
    size: int
    reach: Any


def _crop_window(shape: Any, axis: int, preprocess: Preprocess) -> _Window:
    """Map the crop back to the source; up to the last division in exact int64 arithmetic, on
    torchvision's own rules.
    """
    length = shape[axis]
    resized = (length * preprocess.resize) // math.min(shape[0], shape[1])
    margin = resized - preprocess.crop
    half = margin // 2
    first = half + (margin % 2) * (half % 2)  # margin / 2 with ties to even
    scale = _float(length) / _float(resized)
    radius = _RADIUS[preprocess.interpolation]
    return _Window(
        start=_float(first) * scale,
        end=_float(first + preprocess.crop) * scale,
        size=preprocess.crop,
        reach=math.ceil(radius * math.max(scale, 1.0)) + 1,
    )


def _resample(
    images: Any,
    window: Sequence[_Window | None],
    shape: Any,
    preprocess: Preprocess,
    near_border: bool,
) -> Any:
    """Resample the axes (y, x) that have a window; the result is rounded to uint8 as Pillow does.

    At the image's border Pillow gives the pixels inside all the weight, DALI repeats the last
    one. So near it the image is padded with zeros, and divided by a row of ones treated alike.
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
            ones = fn.full(
                1.0,
                shape=_int(fn.stack(*ones_lengths, _constant(1))),
            )
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
    window: Sequence[_Window | None],
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
    interpolation = _INTERPOLATIONS[preprocess.interpolation]
    return {
        "size": fn.stack(*sizes),
        "roi_start": fn.stack(*starts),
        "roi_end": fn.stack(*ends),
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


def _buffer_hint(spec: LoaderSpec, device: torch.device) -> tuple[int, int]:
    """The largest width and height, or less where a buffer for each of a batch takes too much."""
    width, height = spec.largest or (0, 0)
    needed = 3 * width * height * spec.batch_size
    free, _ = torch.cuda.mem_get_info(device)
    scale = (_BUFFER_SHARE * free / needed) ** 0.5 if needed else 1.0
    return (width, height) if scale >= 1 else (int(width * scale), int(height * scale))


def _build_error(error: RuntimeError) -> LoaderError | OutOfMemoryError:
    return _out_of_memory(error) or LoaderError(
        f"DALI could not start: {_first_line(error)}. "
        f"Check the driver with `fastbench env`, or use --device cpu."
    )


def _out_of_memory(error: RuntimeError) -> OutOfMemoryError | None:
    text = str(error).lower()
    if "out of memory" not in text and "bad_alloc" not in text and "memory allocation" not in text:
        return None
    return OutOfMemoryError("DALI ran out of memory. Use a smaller --batch-size.")


def _first_line(error: BaseException) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    told = itertools.filterfalse(lambda line: line in ("", "Critical error in pipeline:"), lines)
    return next(told, type(error).__name__).rstrip(".")
