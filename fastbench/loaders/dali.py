"""NVIDIA DALI as a loader: the only file that names it.

With a CUDA device the JPEGs are decoded, resized, cropped and normalised on the GPU; without one
the same graph runs in DALI's CPU threads. Either way the images leave the pipeline as HWC in the
model's dtype and are *viewed* as channels-last NCHW: no copy between DALI and torch.

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
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import nvidia.dali as dali
import torch
from nvidia.dali import fn, math, pipeline_def, types

from fastbench.data.manifest import find_corrupt
from fastbench.errors import LoaderError, OutOfMemoryError, UsageError
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess, Setting, take_options
from fastbench.loaders.streams import InFlight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DaliLoader"]

_INTERPOLATIONS = {"bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}


class DaliLoader:
    """The loader `dali`."""

    reads_images = True

    def __init__(self, spec: LoaderSpec) -> None:
        device = torch.device(spec.device)
        if spec.preprocess.interpolation not in _INTERPOLATIONS:
            raise LoaderError(
                f"The loader 'dali' cannot resize with {spec.preprocess.interpolation!r}. "
                f"Use weights with bilinear or bicubic preprocessing, or another loader."
            )
        on_gpu = device.type == "cuda"
        width, height = spec.largest or (0, 0)
        options = take_options(
            spec, "dali", hw_decoder_load=1.0, width_hint=width, height_hint=height
        )
        load = float(options["hw_decoder_load"] or 0)
        if not 0 <= load <= 1:
            raise UsageError(f"The option dali.hw_decoder_load is {load}. Give it from 0 to 1.")
        if spec.repeatable:
            options["hw_decoder_load"] = load = float(load >= 0.5)
        self.repeatable = not on_gpu or load in (0, 1)
        self._spec = spec
        self._position = 0
        self._device = device
        self._in_flight = InFlight(device)
        self._dtype: torch.dtype = getattr(torch, spec.dtype)
        self.settings: Mapping[str, Setting] = {
            "dali": dali.__version__,
            "device": "gpu" if on_gpu else "cpu",
            "decoder": "mixed" if on_gpu else "cpu",
            "num_threads": spec.num_threads,
            "prefetch_queue_depth": spec.prefetch,
            **(options if on_gpu else {}),
        }
        self._pipeline = _make_pipeline(
            spec,
            options,
            batch_size=spec.batch_size,
            num_threads=spec.num_threads,
            device_id=(device.index or 0) if device.type == "cuda" else None,
            # One at least: with depth 1 nothing is prefetched until a run is scheduled.
            prefetch_queue_depth=max(1, spec.prefetch),
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

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[Setting, ...]]:
        """What is worth trying on this device, setting by setting; nothing on a CPU."""
        if not spec.device.startswith("cuda"):
            return {}
        threads = spec.num_threads
        return {
            "hw_decoder_load": (1.0, 0.0, 0.25, 0.5, 0.75),
            "num_threads": (threads, max(1, threads // 2), 2 * threads),
        }

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


@pipeline_def
def _make_pipeline(spec: LoaderSpec, options: Mapping[str, Setting]) -> tuple[Any, Any]:
    """The graph: images as (crop, crop, 3) in the model's dtype, and the samples' ids."""
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
    start, end = _crop_window(
        fn.peek_image_shape(encoded, adjust_orientation=False), spec.preprocess
    )
    images = _decode(encoded, on_gpu, options)
    interpolation = _INTERPOLATIONS[spec.preprocess.interpolation]
    images = fn.resize(
        images,
        size=[spec.preprocess.crop, spec.preprocess.crop],
        roi_start=start,
        roi_end=end,
        roi_relative=False,
        subpixel_scale=False,
        min_filter=interpolation,
        mag_filter=interpolation,
        antialias=spec.preprocess.antialias,
    )
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT16 if spec.dtype == "float16" else types.FLOAT,
        output_layout="HWC",
        mean=[255 * value for value in spec.preprocess.mean],
        std=[255 * value for value in spec.preprocess.std],
    )
    ids = fn.cast(ids, dtype=types.INT64)
    return images, ids.gpu() if on_gpu else ids


def _decode(encoded: Any, on_gpu: bool, options: Mapping[str, Any]) -> Any:
    shared = {"output_type": types.RGB, "adjust_orientation": False}
    if not on_gpu:
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


def _crop_window(shape: Any, preprocess: Preprocess) -> tuple[Any, Any]:
    """Where the crop begins and ends in source pixels: two float32 (y, x) pairs.

    All up to the last division is exact int64 arithmetic on torchvision's own rules.
    """
    short = math.min(shape[0], shape[1])
    starts, ends = [], []
    for length in (shape[0], shape[1]):
        resized = (length * preprocess.resize) // short
        margin = resized - preprocess.crop
        half = margin // 2
        first = half + (margin % 2) * (half % 2)  # margin / 2 with ties to even
        scale = fn.cast(length, dtype=types.FLOAT) / fn.cast(resized, dtype=types.FLOAT)
        starts.append(fn.cast(first, dtype=types.FLOAT) * scale)
        ends.append(fn.cast(first + preprocess.crop, dtype=types.FLOAT) * scale)
    return fn.stack(*starts), fn.stack(*ends)


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
