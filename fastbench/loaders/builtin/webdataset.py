"""WebDataset as its documentation shows it: tar shards, `decode("pil")`, `batched`, WebLoader.

A user of WebDataset has shards; fastbench has files. So the files are packed when the loader opens,
untimed, with WebDataset's own writer, into a private folder beside the system's other temporary
files, and removed when it closes. One shard holds the files of one batch: worker w of W takes the
shards w, w + W, ..., and since a DataLoader asks its workers in turn, the batches come in the order
of the list. A member's key is the sample's id.

The images are the reference's: PIL decodes, and torchvision's own transforms follow. What differs
is how bytes come in: one file read from end to end in place of one opened for each image.

Workers start on the next epoch when the last batch of one has been handed over; how far they get
ahead at the boundary is WebDataset's own way, which ends an epoch in every worker.

What it does not know: `--page-cache cold` evicts the files, not the shards made of them; the
settings say how large those are and where they lie. `batched` hands a batch over when it has the
sample after it: one image is always decoded ahead, without prefetching too, and a damaged file may
be named a batch early.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import webdataset

from fastbench.core.errors import LoaderError
from fastbench.core.loader_facts import REFERENCE_LOADER
from fastbench.data.jpeg.quick_check import corrupt, find_corrupt
from fastbench.loaders.base import Batch, LoaderSpec, Setting, take_options
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.loaders.shared.worker_processes import (
    interrupt_deferred,
    without_frames,
    worker_arguments,
    worker_death,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

__all__ = ["WebdatasetLoader"]


class WebdatasetLoader:
    """The loader `webdataset`."""

    reads_images = True

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, "webdataset")
        num_workers = spec.num_threads if spec.prefetch else 0
        on_gpu = spec.device.startswith("cuda")
        self._spec = spec
        self._position = 0
        self._stream: Iterator[tuple[torch.Tensor, torch.Tensor]] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="fastbench-webdataset-")
        try:
            shards = _pack(spec, Path(self._folder.name))
            dataset = (
                webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)
                .decode("pil")
                .map(_Transform(spec))
                .batched(spec.batch_size)
                .map(_Finish(spec))
            )
            loader = webdataset.WebLoader(
                dataset,
                batch_size=None,  # the data set's items are whole batches
                num_workers=num_workers,
                pin_memory=on_gpu,
                persistent_workers=bool(num_workers),
                **(worker_arguments(spec.prefetch) if num_workers else {}),
            )
            # The DataLoader inside: WebLoader's own iterator would start it at the first batch.
            self._loader: Any = loader.stage(0)
            if num_workers:
                self._start_epoch()
        except BaseException:
            self.close()
            raise
        self.settings: Mapping[str, Setting] = {
            "webdataset": webdataset.__version__,
            "decoder": "PIL",
            "num_shards": len(shards),
            "shards_bytes": sum(Path(shard).stat().st_size for shard in shards),
            "shards_in": tempfile.gettempdir(),
            "num_workers": num_workers,
            "prefetch_factor": spec.prefetch,
            "pin_memory": on_gpu,
        }

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches."""
        while self._position:
            self._next()
        for _ in range(self._spec.num_batches):
            images_NCHW, ids_N = self._next()
            yield Batch(
                images_NCHW.to(self._spec.device, non_blocking=True),
                ids_N.to(self._spec.device, non_blocking=True),
                len(ids_N),
            )

    def close(self) -> None:
        """Stop the workers and remove the shards."""
        self._stream = self._loader = None
        self._folder.cleanup()

    def _start_epoch(self) -> None:
        with interrupt_deferred():
            self._stream = iter(self._loader)

    def _next(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._loader is None:
            raise RuntimeError("the loader is closed")
        position = self._position
        try:
            if self._stream is None:
                self._start_epoch()
            assert self._stream is not None
            batch = next(self._stream)
            self._position = (position + 1) % self._spec.num_batches
            if self._position == 0:
                self._stream = None
                if self._spec.prefetch:
                    self._start_epoch()
        except Exception as error:
            without_frames(error)
            # The failed worker's pipeline has ended; the next epoch starts it again.
            self._stream, self._position = None, 0
            raise worker_death(error, "webdataset") or self._error(position, error) from error
        return batch

    def _error(self, position: int, error: Exception) -> Exception:
        """Name the file, of the batch at `position` or of the same worker's next one."""
        spec = self._spec
        num_workers = spec.num_threads if spec.prefetch else 1
        starts = (position * spec.batch_size, (position + num_workers) * spec.batch_size)
        candidates = [i for start in starts for i in range(start, start + spec.batch_size)]
        culprit = find_corrupt(spec.paths[i] for i in candidates if i < len(spec.paths))
        return culprit or LoaderError(
            f"WebDataset failed on batch {position}: {type(error).__name__}. "
            f"Run with --loader {REFERENCE_LOADER} to tell whether an image is at fault."
        )


def _pack(spec: LoaderSpec, folder: Path) -> list[str]:
    """Write the files into shards, one for each batch; their paths.

    Raises `LoaderError` where the disk has no room for them.
    """
    num_bytes = sum(_size_of(path) for path in spec.paths)
    if num_bytes > shutil.disk_usage(folder).free:
        raise LoaderError(
            f"The loader 'webdataset' packs the images into {num_bytes / 1e9:.1f} GB of shards, "
            f"for which {tempfile.gettempdir()} has no room. "
            f"Set TMPDIR to a folder on a larger disk, or use --limit."
        )
    shards = []
    for start in range(0, len(spec.paths), spec.batch_size):
        shard = folder / f"{start // spec.batch_size:06d}.tar"
        with webdataset.TarWriter(str(shard), encoder=False) as writer:
            ids = range(start, min(start + spec.batch_size, len(spec.paths)))
            for sample in ids:
                writer.write({"__key__": f"{sample:09d}", "jpg": _read(spec.paths[sample])})
        shards.append(str(shard))
    return shards


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise corrupt(path, error) from error


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise corrupt(path, error) from error


class _Transform:
    """A decoded sample -> its (3, H, W) float32 image and its id."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._transform = make_transform(spec.preprocess)

    def __call__(self, sample: Mapping[str, Any]) -> tuple[torch.Tensor, int]:
        return self._transform(sample["jpg"]), int(sample["__key__"])


class _Finish:
    """A collated batch, ids as an array -> what the parent process needs no copy of."""

    def __init__(self, spec: LoaderSpec) -> None:
        self._dtype: torch.dtype = getattr(torch, spec.dtype)

    def __call__(
        self, batch: tuple[torch.Tensor, np.ndarray[Any, Any]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images_NCHW, ids_N = batch
        return (
            images_NCHW.to(self._dtype, memory_format=torch.channels_last),
            torch.as_tensor(ids_N, dtype=torch.int64),
        )
