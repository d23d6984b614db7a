"""The reference: torchvision's own transforms on PIL images, in DataLoader worker processes.

It evaluates a model as torchvision's documentation does: `Image.open(path).convert("RGB")`, the
weights' transforms in float32, then the cast to the model's dtype. Two things are arranged for
honest timing, and neither touches a pixel: workers go on to the next epoch without a pause, and
they stack their images in channels_last memory, so the parent process copies nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import Compose, PILToTensor
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import InterpolationMode

from fastbench.core.errors import CorruptImageError
from fastbench.data.jpeg.quick_check import corrupt
from fastbench.loaders.shared.worker_processes import WorkerLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastbench.loaders.base import LoaderSpec, Preprocess


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
    # torchvision always antialiases when it resizes one of Pillow's images.
    return transform if preprocess.antialias else Compose([PILToTensor(), transform])


class TorchvisionLoader(WorkerLoader):
    """The loader `torchvision`."""

    name = "torchvision"

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec, {"decoder": "PIL"})
        self._stream = self._start()

    def _open(self) -> DataLoader[_Images]:
        return DataLoader(
            _BatchDataset(self._spec),
            sampler=_EndlessEpochs(self._spec),
            batch_size=None,  # the sampler's items are whole batches
            **self._arguments(),
        )

    def _take(self, position: int) -> Any:
        taken = super()._take(position)
        if isinstance(taken, CorruptImageError):
            raise taken
        return taken


_Images: TypeAlias = tuple[torch.Tensor, torch.Tensor] | CorruptImageError
"""A batch's images and ids. Raised in a worker, an error would arrive wrapped in a traceback."""


class _BatchDataset(Dataset[_Images]):
    """An item is a whole batch: the samples of the ids that are asked for."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._paths = list(spec.paths)
        self._transform = make_transform(spec.preprocess)
        self._size = spec.preprocess.crop
        self._dtype: torch.dtype = getattr(torch, spec.dtype)

    def __getitem__(self, ids: list[int]) -> _Images:
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
                return corrupt(path, error)
            images_NCHW[row] = self._transform(rgb)
        return images_NCHW, torch.tensor(ids, dtype=torch.int64)


class _EndlessEpochs(Sampler[list[int]]):
    """Batches of ids, epoch after epoch, so that workers never run dry at a boundary."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._spec = spec

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            for position in range(self._spec.num_batches):
                yield list(self._spec.ids(position))
