"""NVIDIA DALI as a loader.

With a CUDA device `dali` decodes, resizes, crops and normalises on the GPU; without one the same
graph runs in DALI's CPU threads. `dali-cpu` decodes in CPU threads and does the rest on the GPU.
The images leave the pipeline as HWC in the model's dtype and are *viewed* as channels-last NCHW,
without a copy. DALI has no bfloat16: float32 leaves the pipeline then and is cast on the device.

On a chip with hardware JPEG engines `hw_decoder_load` is the share of each batch that they get; the
CUDA decoder gets the rest. Between 0 and 1 an image's decoder depends on its place in the batch.
The two differ slightly, so predictions are then scored in a pass of their own. The best share
depends on the chip and on the threads: it is searched for (`search_space`) unless it is given.

`prefetch` is the depth of DALI's queue, which holds the batch that is asked for too: one batch less
is made ahead, and none with 1. With 0 the files of a batch are read when it is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import nvidia.dali as dali
import torch
from nvidia.dali import fn, pipeline_def, types

from fastbench.core.device import why_no_gpu
from fastbench.core.errors import (
    LoaderError,
    LoaderMissingError,
    OutOfMemoryError,
    UsageError,
    first_line,
)
from fastbench.core.nvidia import jpeg_engines
from fastbench.core.system_errors import is_of_memory
from fastbench.data.jpeg.quick_check import not_read
from fastbench.loaders.base import Batch, LoaderSpec, Setting, take_options
from fastbench.loaders.builtin.dali_on_demand import DaliOnDemand
from fastbench.loaders.builtin.dali_resize import INTERPOLATIONS, MINIBATCH_SIZE, resize_and_crop
from fastbench.loaders.shared.cuda_streams import InFlight
from fastbench.loaders.shared.epochs import EpochLoader
from fastbench.loaders.shared.threads import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BUFFER_SHARE = 0.25
"""The share of the GPU's free memory that decoding buffers made beforehand may take."""
_LARGE = 0.99
"""The share of the images whose decoding buffers are made beforehand."""
_OPTIONS: dict[str, Setting] = {
    "hw_decoder_load": 1.0,
    # Without it nvJPEG's chroma is up to 48 levels off the reference's, which is libjpeg's.
    "fancy_upsampling": True,
    "hybrid_huffman_threshold": 1_000_000,
    "device_memory_padding": 2**24,
    "host_memory_padding": 2**23,
}
"""Options of decoding on a GPU, and their defaults: DALI's but for the first two."""
_LOADS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
_THREADS = (4, 8, 16, 24)
_HUFFMAN_THRESHOLDS = (100_000, 300_000, 1_000_000)


class DaliLoader(EpochLoader):
    """The loader `dali`."""

    name = "dali"
    decodes_on_gpu = True
    """Where there is one."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        if spec.preprocess.interpolation not in INTERPOLATIONS:
            raise LoaderError(
                f"The loader {self.name!r} cannot resize with {spec.preprocess.interpolation!r}. "
                f"Use weights with bilinear or bicubic preprocessing, or another loader."
            )
        options = self._take_options(spec)
        mixed = spec.on_gpu and self.decodes_on_gpu
        self.repeatable = not mixed or options["hw_decoder_load"] in (0, 1)
        self._in_flight = InFlight(self._device)
        self.settings = {
            "dali": dali.__version__,
            "device": "gpu" if spec.on_gpu else "cpu",
            "decoder": "mixed" if mixed else "cpu",
            "num_threads": spec.num_threads,
            "prefetch_queue_depth": spec.prefetch,
            # DALI's reader fills the last batch up; prefetch 0 feeds what is there.
            "padding_share": 1 - len(spec.paths) / (spec.num_batches * spec.batch_size)
            if spec.prefetch
            else 0.0,
            **(options if spec.on_gpu else {}),
        }
        with _files_of(spec.paths) as files:
            self._pipeline: Any = _make_pipeline(
                spec,
                files,
                options if mixed else None,
                batch_size=spec.batch_size,
                num_threads=spec.num_threads,
                device_id=(self._device.index or 0) if spec.on_gpu else None,
                # One at least: with depth 1 nothing is prefetched until a run is scheduled.
                prefetch_queue_depth=max(1, spec.prefetch),
                exec_dynamic=True,  # outputs stay whole while they are referenced
            )
            try:
                self._pipeline.build()
            except RuntimeError as error:
                raise _out_of_memory(error) or LoaderError(
                    f"DALI could not start: {_reason(error)}. "
                    f"Check the driver with `fastbench env`, or use --device cpu."
                ) from error

    @classmethod
    def on_demand(cls, spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None) -> DaliOnDemand:
        """Its images by request."""
        return DaliOnDemand(cls(dataclasses.replace(spec, prefetch=0)), spec, in_memory)

    def run_on(self, files: Sequence[np.ndarray], ids: Sequence[int]) -> tuple[Any, Any]:
        """DALI's images and ids of the (B,) uint8 bytes of up to a batch of files.

        For prefetch 0. Raises `OutOfMemoryError`, else `RuntimeError` with DALI's reason alone.
        """
        try:
            self._pipeline.feed_input("files", list(files))
            self._pipeline.feed_input("ids", np.asarray(ids))
            self._pipeline.schedule_run()
            outputs: tuple[Any, Any] = self._pipeline.outputs(self._stream)
        except RuntimeError as error:
            raise _out_of_memory(error) or RuntimeError(_reason(error)) from error
        return outputs

    def _hand_over(self, taken: tuple[Any, Any], ids: range) -> Batch:
        # DALI's reader pads the last batch of an epoch with its last image.
        images_NHWC, ids_N = (torch.from_dlpack(output.as_tensor()) for output in taken)
        images_NCHW = images_NHWC.permute(0, 3, 1, 2)
        if images_NCHW.dtype != self._dtype:
            images_NCHW = images_NCHW.to(self._dtype)
        return Batch(images_NCHW, ids_N.reshape(-1), len(ids))

    def _let_go(self, taken: tuple[Any, Any]) -> None:
        self._in_flight.hold(*taken)

    def _free(self) -> None:
        self._in_flight.drain()
        self._pipeline = None

    def _take_options(self, spec: LoaderSpec) -> dict[str, Setting]:
        buffers: dict[str, Setting] = {"width_hint": 0, "height_hint": 0}
        if spec.on_gpu:
            free, _ = torch.cuda.mem_get_info(self._device)
            buffers |= buffers_for(spec, free, _has_engines(spec))
        minibatch = {"resize_minibatch_size": MINIBATCH_SIZE}
        options = take_options(spec, self.name, **{**_OPTIONS, **buffers, **minibatch})
        load = float(options["hw_decoder_load"] or 0)
        if not 0 <= load <= 1:
            raise UsageError(f"The option dali.hw_decoder_load is {load}. Give it from 0 to 1.")
        options["hw_decoder_load"] = float(load >= 0.5) if spec.repeatable else load
        return options

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[Setting, ...]]:
        """The settings that are worth trying on this device; none on a CPU.

        The share of the JPEG engines and the threads depend on each other. A chip without engines
        has the CPU's threads decode Huffman's codes, of images above a threshold only in part.
        """
        if not spec.on_gpu:
            return {}
        engines = _has_engines(spec)
        return {
            **({"hw_decoder_load": _LOADS} if engines else {}),
            "num_threads": _threads_to_try(spec),
            **({} if engines else {"hybrid_huffman_threshold": _HUFFMAN_THRESHOLDS}),
            "prefetch": (2, 3, 4),
        }

    @property
    def _stream(self) -> Any:
        """Where the outputs are ready for torch without a host synchronisation."""
        return torch.cuda.current_stream(self._device) if self._spec.on_gpu else None

    def _take(self, position: int) -> Any:
        try:
            if self._spec.prefetch:
                return self._pipeline.run(self._stream)
            ids = self._spec.ids(position)
            return self.run_on([read_file(self._spec.paths[i]) for i in ids], ids)
        except (OSError, RuntimeError) as error:
            # DALI often does not name the file behind a failed batch.
            raise _out_of_memory(error) or self._blame(position, _reason(error)) from error


class DaliCpuLoader(DaliLoader):
    """The loader `dali-cpu`."""

    name = "dali-cpu"
    decodes_on_gpu = False

    def __init__(self, spec: LoaderSpec) -> None:
        if not spec.on_gpu:
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
        return take_options(spec, self.name, resize_minibatch_size=MINIBATCH_SIZE)

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[Setting, ...]]:
        """Numbers of threads, and how many batches are made ahead."""
        return {"num_threads": _threads_to_try(spec), "prefetch": (2, 3, 4)}


def _threads_to_try(spec: LoaderSpec) -> tuple[int, ...]:
    """Each thread costs a CUDA stream and pinned memory: more than 24 are not tried."""
    most = min(spec.num_threads, _THREADS[-1])
    return (*(num for num in _THREADS if num < most), most)


def _has_engines(spec: LoaderSpec) -> bool:
    """Whether the device has hardware JPEG engines; yes where nvJPEG does not tell."""
    engines = jpeg_engines(torch.device(spec.device).index or 0)
    return engines is None or engines.num_engines > 0


@contextlib.contextmanager
def _files_of(paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The reader's arguments that name the files; they hold until the pipeline is built.

    DALI takes text only. A name that is not UTF-8 is none, and goes through a file of names.
    Raises `CorruptImageError` for a name that such a file cannot hold.
    """
    others = [path for path in paths if path.encode("utf-8", "ignore").decode() != path]
    if not others:
        yield {"files": list(paths), "labels": list(range(len(paths)))}
        return
    for path in paths:
        if "\n" in path:
            why = f"a line break in its name, beside {others[0]!r}, whose name is not UTF-8"
            raise not_read(path, "dali", why)
    with tempfile.TemporaryFile() as file:
        file.writelines(os.fsencode(f"{path} {i}\n") for i, path in enumerate(paths))
        file.flush()
        # Its own name need not be UTF-8 either.
        yield {"file_list": f"/proc/self/fd/{file.fileno()}"}


def make_graph(
    spec: LoaderSpec, files: Mapping[str, Any], options: Mapping[str, Setting] | None
) -> tuple[Any, Any]:
    """The graph: images as (crop, crop, 3) in the model's dtype, and the samples' ids.

    `files` are the reader's arguments that name them. `options` are those of decoding on the GPU,
    None where the CPU decodes.
    """
    if spec.prefetch:
        encoded, ids = fn.readers.file(
            name="reader",
            **files,
            pad_last_batch=True,
            stick_to_shard=True,
            dont_use_mmap=True,  # faster from the page cache: 36k images/s against 27k
            read_ahead=True,
        )
    else:  # DALI's reader always reads the next batch's files
        encoded = fn.external_source(name="files", dtype=types.UINT8, ndim=1)
        ids = fn.external_source(name="ids", dtype=types.INT64, ndim=0)
    shape = fn.peek_image_shape(encoded, adjust_orientation=False, dtype=types.INT32)
    images = _decode(encoded, options)
    if spec.on_gpu:
        images = images.gpu()  # no change where they were decoded there
    images = resize_and_crop(images, shape, spec)
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT16 if spec.dtype == "float16" else types.FLOAT,
        output_layout="HWC",
        mean=[255 * value for value in spec.preprocess.mean],
        std=[255 * value for value in spec.preprocess.std],
    )
    return images, fn.cast(ids.gpu() if spec.on_gpu else ids, dtype=types.INT64)


_make_pipeline = pipeline_def(make_graph)


def _decode(encoded: Any, options: Mapping[str, Any] | None) -> Any:
    shared = {"output_type": types.RGB, "adjust_orientation": False}
    if options is None:
        return fn.decoders.image(encoded, device="cpu", **shared)
    return fn.decoders.image(
        encoded,
        device="mixed",
        jpeg_fancy_upsampling=options["fancy_upsampling"],
        hw_decoder_load=options["hw_decoder_load"],
        hybrid_huffman_threshold=options["hybrid_huffman_threshold"],
        # Buffers for large images, made once: growing them would stall a batch.
        preallocate_width_hint=options["width_hint"],
        preallocate_height_hint=options["height_hint"],
        device_memory_padding=options["device_memory_padding"],
        host_memory_padding=options["host_memory_padding"],
        **shared,
    )


def buffers_for(spec: LoaderSpec, free: int, has_engines: bool) -> dict[str, int]:
    """Options of decoding for buffers of a large image; `free` is the GPU's memory in bytes.

    1 % of the images are larger: their buffers grow. The JPEG engines take the width and height of
    an image, for each of a batch; other decoders bytes, for each thread. They are less where the
    buffers take too much of what is free.
    """
    by_area = sorted(spec.sizes, key=lambda size: size[0] * size[1])
    width, height = by_area[int(_LARGE * (len(by_area) - 1))] if by_area else spec.largest or (0, 0)
    most = int(_BUFFER_SHARE * free)
    if not has_engines:
        # Of a pixel three coefficients of 16 bits, where chroma is not subsampled.
        coefficients = min(6 * width * height, most // spec.num_threads)
        names = ("device_memory_padding", "host_memory_padding")
        return {name: max(coefficients, int(_OPTIONS[name] or 0)) for name in names}
    needed = 3 * width * height * spec.batch_size
    scale = min(1.0, (most / needed) ** 0.5) if needed else 1.0
    return {"width_hint": int(width * scale), "height_hint": int(height * scale)}


def _out_of_memory(error: Exception) -> OutOfMemoryError | None:
    if not is_of_memory(error):
        return None
    return OutOfMemoryError("DALI ran out of memory. Use a smaller --batch-size.")


def _reason(error: BaseException) -> str:
    """What failed in an operator stands behind a traceback of the pipeline's definition."""
    text = str(error).replace("Critical error in pipeline:", "")
    return first_line(text.rpartition("\nencountered:\n")[2]).rstrip(" :")
