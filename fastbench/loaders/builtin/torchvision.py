"""The reference: torchvision's own transforms on PIL images, in DataLoader worker processes.

Every other loader is held against this one, so it does what torchvision's documentation does to
evaluate a model and nothing cleverer: `Image.open(path).convert("RGB")`, the weights' transforms
in float32, then the cast to the model's dtype. Two things are arranged for honest timing, and
neither touches a pixel: workers go on to the next epoch without a pause, and they stack their
images straight into channels_last memory, so the parent process copies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import Compose, PILToTensor
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import InterpolationMode

from fastbench.data.jpeg.quick_check import corrupt
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess, Setting
from fastbench.loaders.shared.worker_processes import (
    interrupt_deferred,
    without_frames,
    worker_arguments,
    worker_death,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastbench.core.errors import CorruptImageError

__all__ = ["TorchvisionLoader", "make_transform"]


def make_transform(preprocess: Preprocess) -> Callable[[Image.Image], torch.Tensor]:
    """The transforms of torchvision's weights, rebuilt from the preprocessing read off them."""
    transform = ImageClassification(
        crop_size=preprocess.crop,
        resize_size=preprocess.resize,
        mean=preprocess.mean,
        std=preprocess.std,
        interpolation=InterpolationMode(preprocess.interpolation),
        antialias=preprocess.antialias,
    )
    # Of Pillow's images torchvision cannot leave it out.
    return transform if preprocess.antialias else Compose([PILToTensor(), transform])


class TorchvisionLoader:
    """The loader `torchvision`."""

    reads_images = True

    def __init__(self, spec: LoaderSpec) -> None:
        num_workers = spec.num_threads if spec.prefetch else 0
        on_gpu = spec.device.startswith("cuda")
        self.settings: Mapping[str, Setting] = {
            "decoder": "PIL",
            "num_workers": num_workers,
            "prefetch_factor": spec.prefetch,
            "pin_memory": on_gpu,
        }
        self._spec = spec
        self._position = 0
        loader = DataLoader(
            _BatchDataset(spec),
            sampler=_EndlessEpochs(len(spec.paths), spec.batch_size),
            batch_size=None,  # the sampler's items are whole batches
            num_workers=num_workers,
            pin_memory=on_gpu,
            **(worker_arguments(spec.prefetch) if num_workers else {}),
        )
        with interrupt_deferred():
            self._stream: Iterator[_CpuBatch | _Failure] | None = iter(loader)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches."""
        while self._position:
            self._next()
        for _ in range(self._spec.num_batches):
            batch = self._next()
            images_NCHW = batch.images_NCHW.to(self._spec.device, non_blocking=True)
            ids_N = batch.ids_N.to(self._spec.device, non_blocking=True)
            yield Batch(images_NCHW, ids_N, len(ids_N))

    def close(self) -> None:
        """Stop the workers."""
        self._stream = None

    def _next(self) -> _CpuBatch:
        if self._stream is None:
            raise RuntimeError("the loader is closed")
        try:
            batch = next(self._stream)
        except Exception as error:
            without_frames(error)
            if (death := worker_death(error, "torchvision")) is None:
                raise
            raise death from error
        self._position = (self._position + 1) % self._spec.num_batches
        if isinstance(batch, _Failure):
            raise batch.error
        return batch


@dataclass
class _CpuBatch:
    images_NCHW: torch.Tensor
    ids_N: torch.Tensor

    def pin_memory(self) -> _CpuBatch:
        """What DataLoader's pin-memory thread calls on a type of ours."""
        return _CpuBatch(self.images_NCHW.pin_memory(), self.ids_N.pin_memory())


@dataclass
class _Failure:
    """A worker's error as a value: raised there, it would arrive wrapped in a traceback."""

    error: CorruptImageError


class _BatchDataset(Dataset[_CpuBatch | _Failure]):
    """Item k of this data set is a whole batch: the samples whose ids are asked for."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._paths = list(spec.paths)
        self._transform = make_transform(spec.preprocess)
        self._size = spec.preprocess.crop
        self._dtype: torch.dtype = getattr(torch, spec.dtype)

    def __getitem__(self, ids: list[int]) -> _CpuBatch | _Failure:
        images_NCHW = torch.empty(
            (len(ids), 3, self._size, self._size),
            dtype=self._dtype,
            memory_format=torch.channels_last,
        )
        for row, sample in enumerate(ids):
            path = self._paths[sample]
            try:
                with Image.open(path) as image:
                    rgb = image.convert("RGB")
            # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and others.
            except Exception as error:  # noqa: BLE001
                return _Failure(corrupt(path, error))
            images_NCHW[row] = self._transform(rgb)
        return _CpuBatch(images_NCHW, torch.tensor(ids, dtype=torch.int64))


class _EndlessEpochs(Sampler[list[int]]):
    """Batches of ids, epoch after epoch, so that workers never run dry at a boundary."""

    def __init__(self, num_samples: int, batch_size: int) -> None:
        self._num_samples = num_samples
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            for start in range(0, self._num_samples, self._batch_size):
                yield list(range(start, min(start + self._batch_size, self._num_samples)))
