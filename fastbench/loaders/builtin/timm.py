"""timm's own way to evaluate a model: `create_loader` over its `ImageDataset`, as its scripts do.

Its evaluation transform (torchvision's Resize and CenterCrop on PIL images) ends in uint8 arrays;
worker processes collate them, and its prefetcher normalises on the run's device, one batch ahead.
Three things are arranged around that, and none touches a pixel:

- timm's dataset takes a file from a reader; the reader here knows fastbench's list, and the target
  of a file is its id.
- timm skips an image that it cannot read and puts the next one in its place, up to an error budget.
  Here the budget is one image, and one that came in the place of another is refused.
- `create_loader` cannot say how workers start nor how far they run ahead, and pauses them between
  epochs. So the DataLoader that it made, none of whose workers has started, is handed over to
  timm's own `MultiEpochsDataLoader` with the same arguments and those two.

The resize size is `floor(crop / crop_pct)` in timm: the fraction is chosen so that it cannot fall
on the wrong side of a whole number.

timm's prefetcher normalises in the run's dtype: in float16 within 1e-3 of what float32 would give,
in bfloat16 within a level or so, which is also what that dtype can tell apart. Without prefetching
there is no prefetcher: the transform itself normalises, in float32, and the cast comes last.

What it does not know: that an error belongs to the batch asked for. The prefetcher is one batch
ahead, so a damaged file is named when the batch before it is asked for.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.data import ImageDataset, create_loader
from timm.data.loader import MultiEpochsDataLoader
from timm.data.readers.reader import Reader
from torch.utils.data import DataLoader

from fastbench.core.errors import LoaderError
from fastbench.core.loader_facts import REFERENCE_LOADER
from fastbench.data.jpeg.quick_check import find_corrupt
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess, Setting, take_options
from fastbench.loaders.shared.worker_processes import (
    interrupt_deferred,
    without_frames,
    worker_arguments,
    worker_death,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

__all__ = ["TimmLoader", "crop_pct"]

_SPENT = 1 << 30
"""More consecutive errors than timm's dataset puts up with; before 1.0.20 or so it counts them."""

# It warns that a sample was skipped, which here is an error that names the file.
logging.getLogger("timm.data.dataset").setLevel(logging.ERROR)


def crop_pct(preprocess: Preprocess) -> float:
    """The fraction from which timm's `floor(crop / fraction)` gives `preprocess.resize`."""
    return preprocess.crop / (preprocess.resize + 0.5)


class TimmLoader:
    """The loader `timm`."""

    reads_images = True

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, "timm")
        if not spec.preprocess.antialias:
            raise LoaderError(
                "The loader 'timm' cannot resize without antialias, which this model's "
                "preprocessing asks for: it resizes with Pillow. Use another loader."
            )
        self._device = torch.device(spec.device)
        self._dtype: torch.dtype = getattr(torch, spec.dtype)
        num_workers = spec.num_threads if spec.prefetch else 0
        on_gpu = self._device.type == "cuda"
        self.settings: Mapping[str, Setting] = {
            "timm": timm.__version__,
            "decoder": "PIL",
            "normalised": "in timm's prefetcher, on the device" if num_workers else "on the CPU",
            "num_workers": num_workers,
            "prefetch_factor": spec.prefetch,
            "pin_memory": on_gpu,
        }
        self._spec = spec
        self._position = 0
        self._epoch: Iterator[tuple[torch.Tensor, torch.Tensor]] | None = None
        self._closed = False
        self._loader: Any = _open(spec)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches."""
        while self._position:
            self._next()
        for _ in range(self._spec.num_batches):
            images_NCHW, ids_N = self._next()
            images_NCHW = images_NCHW.to(
                self._device, self._dtype, non_blocking=True, memory_format=torch.channels_last
            )
            yield Batch(images_NCHW, ids_N.to(self._device, non_blocking=True), len(ids_N))

    def close(self) -> None:
        """Stop the workers."""
        self._closed = True
        self._epoch = self._loader = None

    def _next(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._closed:
            raise RuntimeError("the loader is closed")
        if self._loader is None:
            self._loader = _open(self._spec)
        position = self._position
        try:
            if self._epoch is None:
                self._epoch = iter(self._loader)
            images_NCHW, ids_N = next(self._epoch)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            without_frames(error)
            # timm's iterators do not go on after an error: the next epoch has new ones.
            self._epoch = self._loader = None
            self._position = 0
            raise worker_death(error, "timm") or self._error(position, error) from error
        self._position = (position + 1) % self._spec.num_batches
        if self._position == 0:
            self._epoch = None  # the workers go on all the same
        if images_NCHW.is_cuda:
            # They were made on the prefetcher's stream, whose memory another stream reads now.
            stream = torch.cuda.current_stream(self._device)
            images_NCHW.record_stream(stream)
            ids_N.record_stream(stream)
        return images_NCHW, ids_N

    def _error(self, position: int, error: Exception) -> Exception:
        """Name the file: the prefetcher asked for the batch at `position` or for the one after."""
        size = self._spec.batch_size
        culprit = find_corrupt(self._spec.paths[position * size : (position + 2) * size])
        return culprit or LoaderError(
            f"timm failed after batch {position}: {type(error).__name__}. "
            f"Run with --loader {REFERENCE_LOADER} to tell whether an image is at fault."
        )


def _open(spec: LoaderSpec) -> Any:
    """timm's loader; its workers, where it has any, are up."""
    num_workers = spec.num_threads if spec.prefetch else 0
    size = spec.preprocess.crop
    loader = create_loader(
        _Dataset(_ListReader(spec.paths)),
        input_size=(3, size, size),
        batch_size=spec.batch_size,
        is_training=False,
        use_prefetcher=bool(num_workers),
        interpolation=spec.preprocess.interpolation,
        mean=spec.preprocess.mean,
        std=spec.preprocess.std,
        num_workers=num_workers,
        crop_pct=crop_pct(spec.preprocess),
        crop_mode="center",
        pin_memory=spec.device.startswith("cuda"),
        img_dtype=getattr(torch, spec.dtype),
        device=torch.device(spec.device),
        persistent_workers=bool(num_workers),
    )
    if num_workers:
        loader.loader = _endless(loader.loader, spec.prefetch)
    return loader


def _endless(made: Any, prefetch: int) -> MultiEpochsDataLoader:
    """timm's DataLoader that runs on into the next epoch, like the one that `create_loader` made.

    Its workers are started at once: newer versions of timm leave that to the first batch.
    """
    with interrupt_deferred():
        loader = MultiEpochsDataLoader(
            made.dataset,
            batch_size=made.batch_size,
            num_workers=made.num_workers,
            collate_fn=made.collate_fn,
            pin_memory=made.pin_memory,
            persistent_workers=made.persistent_workers,
            **worker_arguments(prefetch, init=made.worker_init_fn),
        )
        if loader.iterator is None:
            loader.iterator = DataLoader.__iter__(loader)
    return loader


class _ListReader(Reader):  # type: ignore[misc]
    """What timm's dataset reads from: file k is open, and its target is k."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = list(paths)

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        return open(self._paths[index], "rb"), index

    def __len__(self) -> int:
        return len(self._paths)

    def _filename(self, index: int, basename: bool = False, absolute: bool = False) -> str:  # noqa: ARG002
        return self._paths[index]


class _Dataset(ImageDataset):  # type: ignore[misc]
    """timm's dataset, without a budget for errors."""

    def __init__(self, reader: Reader) -> None:
        super().__init__("", reader=reader)
        self._max_retries = 1

    def __getitem__(self, index: int) -> Any:
        self._consecutive_errors = _SPENT
        image, target = super().__getitem__(index)
        if target != index:
            raise OSError(f"timm took sample {target} in place of {index}")
        return image, target
