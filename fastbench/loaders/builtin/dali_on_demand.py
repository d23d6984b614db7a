"""`nvidia.dali` by request: the graph of prefetch 0, which is fed the files of each batch.

On a GPU a batch is decoded on a stream of its own, and an event says when it is ready. Were it
bound to the model's stream, the model's next work there would wait for it too.

Not tried on a GPU so far: the order of the two streams, how long a decoded batch is held, and an
error of nvJPEG in one batch.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import torch

from fastbench.core.errors import LoaderFailedError, first_line
from fastbench.core.units import and_more
from fastbench.data.jpeg.quick_check import not_read
from fastbench.loaders.shared.cuda_streams import InFlight
from fastbench.loaders.shared.threads import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from fastbench.loaders.base import LoaderSpec, Setting

_OF_EPOCHS: Final = ("prefetch_queue_depth", "padding_share")
"""Settings that mean nothing here."""


class _Runs(Protocol):
    """An opened loader of DALI, with prefetch 0."""

    settings: Mapping[str, Setting]

    @property
    def name(self) -> str: ...

    def run_on(self, files: Sequence[np.ndarray], ids: Sequence[int]) -> tuple[Any, Any]: ...

    def close(self) -> None: ...


class Decoded(NamedTuple):
    """Images of one call, and the event after which they are ready, None on a CPU."""

    images_NHWC: torch.Tensor
    ready: Any


class DaliOnDemand:
    """The side on demand of `loader`, whose spec this is but for the prefetch."""

    num_callers = 1
    reads_images = True

    def __init__(
        self, loader: _Runs, spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None
    ) -> None:
        self.most_at_once = spec.batch_size
        self.settings = {k: v for k, v in loader.settings.items() if k not in _OF_EPOCHS}
        self._loader, self._spec, self._in_memory = loader, spec, in_memory
        self._device, self._dtype = torch.device(spec.device), getattr(torch, spec.dtype)
        self._stream = torch.cuda.Stream(self._device) if spec.on_gpu else None
        self._in_flight = InFlight(self._device)
        self._lent: deque[Sequence[Decoded]] = deque()  # what the last two batches were made of
        self._closed = False

    def decode(self, samples: Sequence[int]) -> Decoded:
        """Images of these samples, in DALI's memory, which is not used again while they live.

        Raises `CorruptImageError` for one sample that cannot be decoded, and `LoaderFailedError`
        for several of which one cannot.
        """
        if self._closed:
            raise RuntimeError("the loader is closed")
        try:
            files = [self._file(sample) for sample in samples]
            with self._on_stream():
                images, _ = self._loader.run_on(files, samples)
                # While it lives, so does the memory.
                images_NHWC = torch.from_dlpack(images.as_tensor())
                ready = self._stream.record_event() if self._stream else None
        except (OSError, RuntimeError) as error:
            raise self._blame(samples, first_line(error)) from error
        return Decoded(images_NHWC, ready)

    def collate(self, decoded: Sequence[Decoded], size: int) -> torch.Tensor:
        """(size, 3, H, W): without a copy where one call has as many images, in the dtype.

        What works on them does so on the stream that is current here.
        """
        if self._stream is not None:
            stream = torch.cuda.current_stream(self._device)
            for _, ready in decoded:
                stream.wait_event(ready)
            # The batch before the last is not used any more by what is submitted from now on.
            if len(self._lent) == 2:
                self._in_flight.hold(self._lent.popleft())
            self._lent.append(tuple(decoded))
        first_NHWC = decoded[0].images_NHWC
        if len(first_NHWC) == size and first_NHWC.dtype == self._dtype:
            return first_NHWC.permute(0, 3, 1, 2)
        batch_NHWC = first_NHWC.new_empty((size, *first_NHWC.shape[1:]), dtype=self._dtype)
        start = 0
        for images_NHWC, _ in decoded:
            batch_NHWC[start : (start := start + len(images_NHWC))] = images_NHWC
        batch_NHWC[start:] = 0
        return batch_NHWC.permute(0, 3, 1, 2)

    def close(self) -> None:
        """Free the pipeline, when the GPU is done with what it has made."""
        self._closed = True
        while self._lent:
            self._in_flight.hold(self._lent.popleft())
        self._in_flight.drain()
        self._loader.close()

    def _file(self, sample: int) -> np.ndarray:
        if self._in_memory is not None:
            return self._in_memory[sample]
        return read_file(self._spec.paths[sample])

    def _on_stream(self) -> contextlib.AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._stream else contextlib.nullcontext()

    def _blame(self, samples: Sequence[int], why: str) -> Exception:
        paths, name = [self._spec.paths[i] for i in samples], self._loader.name
        if len(samples) == 1:
            data = None if self._in_memory is None else self._in_memory[samples[0]]
            return not_read(paths[0], name, why, data)
        return LoaderFailedError(
            f"The loader {name!r} failed at one of {and_more(paths, 3)}: {why}. Use another "
            f"--loader, or remove the file at fault.",
            why,
        )
