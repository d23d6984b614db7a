"""Decodes on a GPU by torchvision's (or TorchCodec's) batched nvJPEG call.

A producer thread runs ahead of the model: reader threads bring the files' bytes into memory, one
call decodes a batch on a CUDA stream of its own, and images of one size are resized together with
torchvision's antialiased resize, rounded to uint8 as Pillow rounds, cropped, and normalised. Files
that nvJPEG refuses (CMYK, 12 bits) are decoded by Pillow.

torchvision's decoders are deprecated since 0.29 in favour of TorchCodec's, which call the same
nvJPEG; the settings say which is used. Neither can upsample chroma as libjpeg does, so pixels
differ from the reference's: the parity column says what that does.

A decode call writes its images at once, whatever is queued on the caller's stream: torchvision's is
on a stream of its own, and nvJPEG's hardware engine heeds no stream at all (pytorch/vision#9606,
meta-pytorch/torchcodec#1634). The last batch's resize may still read the memory that it is given,
so the producer waits, on the host, until that batch is done.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import io
import queue
import threading
import time
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from fastbench.core.device import why_no_gpu
from fastbench.core.errors import LoaderMissingError, first_line
from fastbench.data.jpeg.header import read_header
from fastbench.data.jpeg.quick_check import corrupt
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess, take_options
from fastbench.loaders.shared.cuda_streams import InFlight
from fastbench.loaders.shared.epochs import STOP_S, EpochLoader
from fastbench.loaders.shared.pixels import decode_by_pillow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class TorchvisionGpuLoader(EpochLoader):
    """The loader `torchvision-gpu`."""

    name = "torchvision-gpu"

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, self.name)
        super().__init__(spec)
        if not spec.on_gpu:
            raise LoaderMissingError(
                "The loader 'torchvision-gpu' decodes on a CUDA device, and this run is on the "
                "CPU. Leave it out, or run on a machine with a GPU."
            )
        name, self._decode = _find_decoder(self._device)
        self.settings = {
            "decoder": f"nvJPEG through {name}",
            "num_threads": spec.num_threads,
            "prefetch": spec.prefetch,
        }
        self._in_flight = InFlight(self._device)
        self._readers = ThreadPoolExecutor(spec.num_threads, "fastbench-read")
        self._stream = torch.cuda.Stream(self._device)
        self._last_made: torch.cuda.Event | None = None
        self._queue: queue.Queue[_Ready | BaseException] = queue.Queue(max(1, spec.prefetch))
        self._producer: threading.Thread | None = None
        if spec.prefetch:
            self._producer = threading.Thread(
                target=self._produce, name="fastbench-decode", daemon=True
            )
            self._producer.start()

    def _hand_over(self, ready: _Ready, ids: range) -> Batch:
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(ready.event)
        # The allocator of the decoding stream must know that another stream reads this.
        ready.images_NCHW.record_stream(stream)
        ready.ids_N.record_stream(stream)
        return Batch(ready.images_NCHW, ready.ids_N, len(ids))

    def _let_go(self, ready: _Ready) -> None:
        self._in_flight.hold(ready)

    def _free(self) -> None:
        deadline = time.monotonic() + STOP_S
        if self._producer is not None:
            while self._producer.is_alive() and time.monotonic() < deadline:
                try:
                    self._queue.get_nowait()  # a producer may wait for room
                except queue.Empty:
                    self._producer.join(0.01)
            self._producer = None
        self._readers.shutdown(wait=time.monotonic() < deadline, cancel_futures=True)
        self._in_flight.drain()

    @staticmethod
    def why_not() -> str | None:
        """What is missing here for it to run."""
        if (reason := why_no_gpu()) is not None:
            return reason
        try:
            _find_decoder(torch.device("cuda"))
        except LoaderMissingError as error:
            return str(error)
        return None

    def _take(self, position: int) -> _Ready:
        if self._producer is None:
            return self._make(position, self._read(position))
        try:
            ready = self._queue.get(timeout=self._limit_s)
        except queue.Empty as error:
            raise self._too_late(position) from error
        if isinstance(ready, BaseException):
            raise ready
        return ready

    def _produce(self) -> None:
        """Endless epochs, one batch's files being read while another is decoded."""
        try:
            position, files = 0, self._read(0)
            while not self._closed:
                following = (position + 1) % self._spec.num_batches
                upcoming = self._read(following)
                try:
                    ready: _Ready | BaseException = self._make(position, files)
                except Exception as error:  # noqa: BLE001 - raised again by the consumer
                    ready = error
                self._queue.put(ready)
                position, files = following, upcoming
        except RuntimeError as error:  # the readers were shut down in mid-read
            if not self._closed:
                self._queue.put(error)

    def _read(self, position: int) -> Any:
        return self._readers.map(
            _read_file, [self._spec.paths[i] for i in self._spec.ids(position)]
        )

    def _make(self, position: int, files: Any) -> _Ready:
        ids = self._spec.ids(position)
        data = list(files)
        if self._last_made is not None:
            self._last_made.synchronize()
        # Not inference_mode: its tensors are another kind of input, for which torch.compile would
        # compile the model again.
        with torch.no_grad(), torch.cuda.stream(self._stream):
            try:
                pixels = decode_all(data, self._decode, self._device)
                images_NCHW = prepare(pixels, self._spec.preprocess, self._dtype)
            except (OSError, RuntimeError, ValueError, SyntaxError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                raise self._blame(position, first_line(error)) from error
            ids_N = torch.arange(ids.start, ids.stop, device=self._device)
            # Blocking: the thread sleeps while it waits, and leaves its core to the readers.
            event = torch.cuda.Event(blocking=True)
            event.record(self._stream)
        self._last_made = event
        return _Ready(images_NCHW, ids_N, event)


@dataclass(eq=False)
class _Ready:
    """A batch, and the event after which it is there."""

    images_NCHW: torch.Tensor
    ids_N: torch.Tensor
    event: Any


def decode_all(
    files: Sequence[torch.Tensor],
    decode: Callable[[list[torch.Tensor]], list[torch.Tensor]],
    device: torch.device,
) -> list[torch.Tensor]:
    """Files' bytes -> (3, H, W) uint8 images on the device, in one call; Pillow takes the rest."""
    refused = {place for place, data in enumerate(files) if not _is_for_nvjpeg(data)}
    decoded = iter(decode([data for place, data in enumerate(files) if place not in refused]))
    return [
        decode_by_pillow(io.BytesIO(data.numpy().tobytes())).to(device)
        if place in refused
        else next(decoded)
        for place, data in enumerate(files)
    ]


def prepare(
    images: Sequence[torch.Tensor], preprocess: Preprocess, dtype: torch.dtype
) -> torch.Tensor:
    """(3, H, W) uint8 images of any sizes -> one normalised channels_last batch.

    Images of one size are resized together. The arithmetic is the reference's: sizes by its
    integer rules, an antialiased resize rounded to uint8, a crop whose start rounds ties to even.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        groups[tuple(image.shape[1:])].append(place)
    crops = []
    for places in groups.values():
        group_NCHW = torch.stack([images[place] for place in places])
        resized_NCHW = transforms.resize(
            group_NCHW,
            [preprocess.resize],
            InterpolationMode(preprocess.interpolation),
            antialias=preprocess.antialias,
        )
        crops.append(transforms.center_crop(resized_NCHW, [preprocess.crop, preprocess.crop]))
    order = np.argsort(np.concatenate([np.array(places) for places in groups.values()]))
    device = crops[0].device
    index_N = torch.from_numpy(order)
    if device.type == "cuda":
        index_N = index_N.pin_memory().to(device, non_blocking=True)
    levels_NCHW = torch.cat(crops).contiguous(memory_format=torch.channels_last)[index_N]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    scale, shift = 1 / (255 * std), -mean / std
    if device.type == "cuda":
        scale, shift = (x.pin_memory().to(device, non_blocking=True) for x in (scale, shift))
    normalised_NCHW = torch.addcmul(shift, levels_NCHW.float(), scale)
    return normalised_NCHW.to(dtype).contiguous(memory_format=torch.channels_last)


def _find_decoder(device: torch.device) -> tuple[str, Any]:
    try:
        from torchvision.io import decode_jpeg

        name = "torchvision"
    except ImportError:
        try:
            from torchcodec.decoders import decode_jpeg  # type: ignore[import-not-found,no-redef]

            name = "torchcodec"
        except (ImportError, RuntimeError) as error:
            raise LoaderMissingError(
                "The loader 'torchvision-gpu' needs a JPEG decoder for CUDA: this torchvision has "
                "none, and torchcodec cannot be imported. Install it: pip install torchcodec"
            ) from error

    def decode(files: list[torch.Tensor]) -> list[torch.Tensor]:
        if not files:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, as the module's head says
            images: list[torch.Tensor] = decode_jpeg(files, mode="RGB", device=device)
        return images

    return name, decode


def _read_file(path: str) -> torch.Tensor:
    try:
        # A writable copy, as torch.frombuffer asks for.
        with open(path, "rb") as file:
            return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    except (OSError, ValueError) as error:
        raise corrupt(path, error) from error


def _is_for_nvjpeg(data: torch.Tensor) -> bool:
    try:
        header = read_header(io.BytesIO(data[:65536].numpy().tobytes()))
    except ValueError:
        return len(data) <= 65536  # else its header lies far in: Pillow takes it
    return header.num_components != 4 and header.precision == 8
