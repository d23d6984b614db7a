"""Meta's SPDL: its pipeline in threads of this process, FFmpeg for decoding and scaling.

The stages are SPDL's: a source of ids, `demux_image` and `decode_packets` in the run's threads in
the order of the list, `convert_frames` for each batch, and a sink that holds the batches made
ahead. Its levels (uint8, RGB) are normalised on the run's device. Without prefetching the same
functions are called in turn, without threads.

The geometry is the reference's: FFmpeg's `scale` truncates the long side, and its `crop` rounds
ties to even. Its filters are not: chroma is scaled apart from luma, from the planes in the file,
and bicubic has a = -0.6 where Pillow has -0.5 (FFmpeg 5 cuts the scaler's parameter for it to a
whole number). Gray images come within 2 levels, photographs within 0.3 in the mean; the parity
column says what that changes. The option `filter` takes FFmpeg's flags, joined by `+`. The default
is the weights' filter and `full_chroma_int`, without which FFmpeg halves the chroma of the scaled
image again; `fast_bilinear` is for speed.

SPDL logs a file that does not decode and drops it. Here a stage hands its error on as a value, so
the batch fails at its place and names the file. FFmpeg is told to take damage for an error; else
it paints over it. SPDL loads FFmpeg's libraries from the system; no Python package has them.
"""

from __future__ import annotations

import contextlib
import itertools
from importlib import metadata
from pathlib import Path
from typing import Any

import spdl.io.utils
import torch
from spdl.pipeline import PipelineBuilder

from fastbench.core.errors import (
    CorruptImageError,
    LoaderError,
    LoaderMissingError,
    UsageError,
    first_line,
)
from fastbench.data.jpeg.quick_check import not_read
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess, take_options
from fastbench.loaders.shared.epochs import STOP_S, EpochLoader
from fastbench.loaders.shared.pixels import Normalizer

FILTERS = (
    *("fast_bilinear", "bilinear", "bicubic", "neighbor", "area", "bicublin", "gauss", "sinc"),
    *("lanczos", "spline", "accurate_rnd", "full_chroma_int", "full_chroma_inp", "bitexact"),
)
"""The flags of FFmpeg's scaler that the option `filter` takes, joined by `+`."""
_DEFAULTS = {"bilinear": "bilinear+full_chroma_int", "bicubic": "bicubic+full_chroma_int"}
_NO_FFMPEG = (
    "it finds no FFmpeg libraries that fit it; install the system's FFmpeg (Debian, Ubuntu: "
    "apt-get install ffmpeg)"
)


def filter_graph(preprocess: Preprocess, flags: str) -> str:
    """FFmpeg's description of: short side to `resize`, RGB, the middle `crop` pixels."""
    short, crop = r"min(iw\,ih)", preprocess.crop
    width, height = (f"{side}*{preprocess.resize}/{short}" for side in ("iw", "ih"))
    # Of a file of several pictures (MPO, as phones write) the first.
    scale = f"trim=end_frame=1,scale=w={width}:h={height}:flags={flags}"
    # RGB first: on subsampled planes a crop can only start at every other pixel.
    return f"{scale},format=pix_fmts=rgb24,crop=w={crop}:h={crop}"


class SpdlLoader(EpochLoader):
    """The loader `spdl`."""

    name = "spdl"
    num_in_stages = 4
    """Batches that each stage has in its hands and in a queue of its own, as measured."""

    def __init__(self, spec: LoaderSpec) -> None:
        flags, ffmpeg = _flags(spec), _ffmpeg_version()
        super().__init__(spec)
        self._make = _Batches(spec, filter_graph(spec.preprocess, flags))
        self._normalise = Normalizer(spec.preprocess, spec.device, spec.dtype)
        self._pipeline: Any = None
        self.settings = {
            "spdl": metadata.version("spdl-io"),
            "decoder": f"FFmpeg ({ffmpeg})",
            "filter": flags,
            "num_threads": spec.num_threads if spec.prefetch else 0,
            "prefetch": spec.prefetch,
        }
        if spec.prefetch:
            self._pipeline = (
                PipelineBuilder()
                .add_source(itertools.cycle(range(len(spec.paths))))
                .pipe(self._make.decode, concurrency=spec.num_threads, output_order="input")
                .pipe(self._make.collect)
                .add_sink(spec.prefetch)
                .build(num_threads=spec.num_threads)
            )
            self._pipeline.start()

    @staticmethod
    def why_not() -> str | None:
        """What is missing here for it to run."""
        try:
            _ffmpeg_version()
        except LoaderMissingError:
            return _NO_FFMPEG
        return None

    def _hand_over(self, taken: tuple[torch.Tensor, torch.Tensor], ids: range) -> Batch:
        levels_NHWC, ids_N = taken
        images_NCHW = self._normalise(levels_NHWC)
        return Batch(images_NCHW, ids_N.to(self._device, non_blocking=True), len(ids))

    def _free(self) -> None:
        if self._pipeline is not None:
            with contextlib.suppress(TimeoutError):
                self._pipeline.stop(timeout=STOP_S)
            self._pipeline = None

    def _take(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self._pipeline is not None:
            try:
                batch = self._pipeline.get_item(timeout=self._limit_s)
            except TimeoutError as error:
                raise self._too_late(position) from error
            except EOFError as error:
                raise LoaderError(
                    "SPDL's pipeline ended, though its source has no end. Run with another loader."
                ) from error
        else:
            batch = None
            for sample in self._spec.ids(position):
                batch = self._make.collect(self._make.decode(sample))
        if isinstance(batch, Exception):
            raise batch
        return batch


class _Batches:
    """The stages' functions. `collect` keeps the samples of a batch until it is full."""

    def __init__(self, spec: LoaderSpec, graph: str) -> None:
        self._paths = spec.paths
        self._size = spec.batch_size
        self._graph = graph
        self._strict = spdl.io.decode_config(decoder_options={"err_detect": "explode"})
        self._items: list[tuple[int, Any]] = []

    def decode(self, sample: int) -> tuple[int, Any]:
        """A sample's id -> the id, and its frame of (crop, crop, 3) levels or its error."""
        path = self._paths[sample]
        try:
            # Bytes, not a name, in which FFmpeg takes `%d` for a sequence and `a:` for a protocol.
            packets = spdl.io.demux_image(Path(path).read_bytes())
            frames = spdl.io.decode_packets(
                packets, filter_desc=self._graph, decode_config=self._strict
            )
        except Exception as error:  # noqa: BLE001 - SPDL would log it and drop the sample
            return sample, not_read(path, "spdl", _first_reason(error))
        # An image that FFmpeg refuses may come out empty, without an error.
        if frames.width > 0:
            return sample, frames
        return sample, not_read(path, "spdl", "it finds no image")

    def collect(
        self, item: tuple[int, Any]
    ) -> tuple[torch.Tensor, torch.Tensor] | Exception | None:
        """Take the next sample; with the last of its batch, (N, H, W, C) levels and ids (N)."""
        self._items.append(item)
        sample = item[0]
        if len(self._items) < self._size and sample + 1 < len(self._paths):
            return None
        items, self._items = self._items, []
        for _, frame in items:
            if isinstance(frame, CorruptImageError):
                return frame
        try:
            levels_NHWC = spdl.io.to_torch(spdl.io.convert_frames([frame for _, frame in items]))
        except Exception as error:  # noqa: BLE001 - as above
            return LoaderError(
                f"SPDL could not put the batch of sample {sample} together "
                f"({first_line(error)}). Run with another loader."
            )
        return levels_NHWC, torch.tensor([sample for sample, _ in items], dtype=torch.int64)


def _first_reason(error: Exception) -> str:
    """FFmpeg's own words, without the place in SPDL's sources that follows them."""
    return str(error).split(" (/")[0].strip() or type(error).__name__


def _flags(spec: LoaderSpec) -> str:
    default = _DEFAULTS.get(spec.preprocess.interpolation)
    flags = str(take_options(spec, "spdl", filter=default or "")["filter"])
    if not flags:
        raise LoaderError(
            f"The loader 'spdl' has no filter of its own for {spec.preprocess.interpolation!r}. "
            f"Give one, as --loader-option spdl.filter=lanczos, or use another loader."
        )
    unknown = [flag for flag in flags.split("+") if flag not in FILTERS]
    if unknown:
        raise UsageError(
            f"The option spdl.filter has {unknown[0]!r}, which is no flag of FFmpeg's scaler. "
            f"Give one or more of {', '.join(FILTERS)}, joined by '+'."
        )
    return flags


def _ffmpeg_version() -> str:
    """libavcodec's version. Raises `LoaderMissingError` where SPDL finds no FFmpeg."""
    try:
        versions = spdl.io.utils.get_ffmpeg_versions()
        spdl.io.utils.set_ffmpeg_log_level(-8)  # it would print about damaged files
    except (ImportError, RuntimeError) as error:
        raise LoaderMissingError(
            f"The loader 'spdl' cannot run here: {_NO_FFMPEG}; "
            f"or choose another loader with --loader."
        ) from error
    return "libavcodec " + ".".join(str(part) for part in versions["libavcodec"])
