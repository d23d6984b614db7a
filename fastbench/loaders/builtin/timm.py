"""timm's own way to evaluate a model: `create_loader` over its `ImageDataset`, as its scripts do.

Its evaluation transform (torchvision's Resize and CenterCrop on PIL images) ends in uint8 arrays;
worker processes collate them, and its prefetcher normalises on the run's device, one batch ahead.
Three things are arranged around that, and none touches a pixel:

- timm's dataset takes a file from a reader: here one of fastbench's list, where a file's target is
  its id.
- timm puts the next image in the place of one that it cannot read, up to an error budget. Here the
  budget is one image, and an image in the place of another is refused.
- `create_loader` cannot say how workers start nor how far they run ahead, and pauses them between
  epochs. So its DataLoader, before its workers start, is remade as timm's own
  `MultiEpochsDataLoader` with the same arguments and those two.

The resize size is `floor(crop / crop_pct)` in timm: the fraction is chosen so that it cannot fall
on the wrong side of a whole number.

timm's prefetcher normalises in the run's dtype: within 1e-3 of float32 in float16, within a level
or so in bfloat16. Without prefetching the transform normalises in float32, and the cast comes last.
Since the prefetcher is one batch ahead, a damaged file is named at the batch before its own.
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
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess, take_options
from fastbench.loaders.shared.worker_processes import WorkerLoader, interrupt_deferred

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_SPENT = 1 << 30
"""More errors in a row than timm's dataset allows; versions before 1.0.20 or so count them."""

# timm warns that a sample was skipped, which here is an error that names the file.
logging.getLogger("timm.data.dataset").setLevel(logging.ERROR)


def crop_pct(preprocess: Preprocess) -> float:
    """The fraction from which timm's `floor(crop / fraction)` gives `preprocess.resize`."""
    return preprocess.crop / (preprocess.resize + 0.5)


class TimmLoader(WorkerLoader):
    """The loader `timm`."""

    name = "timm"

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, self.name)
        if not spec.preprocess.antialias:
            raise LoaderError(
                "The loader 'timm' cannot resize without antialias, which this model's "
                "preprocessing asks for: it resizes with Pillow. Use another loader."
            )
        where = "in timm's prefetcher, on the device" if spec.prefetch else "on the CPU"
        settings = {"timm": timm.__version__, "decoder": "PIL", "normalised": where}
        super().__init__(spec, settings, sent=torch.uint8)
        self._stream = self._start()

    def _open(self) -> Any:
        """timm's loader, its workers started."""
        spec, has_workers = self._spec, self._num_workers > 0
        loader = create_loader(
            _Dataset(_ListReader(spec.paths)),
            input_size=(3, spec.preprocess.crop, spec.preprocess.crop),
            batch_size=spec.batch_size,
            is_training=False,
            use_prefetcher=has_workers,
            interpolation=spec.preprocess.interpolation,
            mean=spec.preprocess.mean,
            std=spec.preprocess.std,
            num_workers=self._num_workers,
            crop_pct=crop_pct(spec.preprocess),
            crop_mode="center",
            pin_memory=spec.on_gpu,
            img_dtype=self._dtype,
            device=self._device,
            persistent_workers=has_workers,
        )
        if has_workers:
            loader.loader = self._endless(loader.loader)
        return loader

    def _endless(self, made: Any) -> MultiEpochsDataLoader:
        """Remake a DataLoader as timm's that runs on into the next epoch, and start its workers.

        Newer versions of timm leave that to the first batch.
        """
        with interrupt_deferred():
            loader = MultiEpochsDataLoader(
                made.dataset,
                batch_size=made.batch_size,
                collate_fn=made.collate_fn,
                persistent_workers=made.persistent_workers,
                **self._arguments(init=made.worker_init_fn),
            )
            if loader.iterator is None:
                loader.iterator = DataLoader.__iter__(loader)
        return loader

    def _end_epoch(self) -> None:
        self._stream = None  # the workers go on

    def _hand_over(self, taken: Any, ids: range) -> Batch:
        for tensor in taken:
            if tensor.is_cuda:
                # Another stream reads the memory of the prefetcher's stream now.
                tensor.record_stream(torch.cuda.current_stream(self._device))
        return super()._hand_over(taken, ids)

    def _explain(self, position: int, error: Exception) -> Exception:
        """Name the file, of the batch at `position` or of the one after."""
        return self._blame(position, type(error).__name__, 2)


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
