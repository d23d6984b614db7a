"""WebDataset as its documentation shows it: tar shards, `decode("pil")`, `batched`, WebLoader.

When the loader opens, untimed, the files are packed into shards by WebDataset's own writer, in a
temporary folder that is removed when it closes. One shard holds the files of one batch: worker w of
W takes the shards w, w + W, ..., and a DataLoader asks its workers in turn, so the batches come in
the order of the list. A member's key is the sample's id.

The images are the reference's: PIL decodes, and torchvision's transforms follow. What differs is
how bytes come in: one file read from end to end, not one opened for each image.

Workers start on the next epoch when the last batch of one has been handed over: WebDataset ends an
epoch in every worker.

`--page-cache cold` evicts the files, not the shards; the settings say how large those are and where
they lie. `batched` hands a batch over when it has the sample after it: one image is always decoded
ahead, without prefetching too, and a damaged file may be named a batch early.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch
import webdataset

from fastbench.core import temporary
from fastbench.core.errors import LoaderError
from fastbench.data.jpeg.quick_check import corrupt
from fastbench.loaders.base import LoaderSpec, take_options
from fastbench.loaders.builtin.torchvision import make_transform
from fastbench.loaders.shared.worker_processes import WorkerLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from PIL import Image


class WebdatasetLoader(WorkerLoader):
    """The loader `webdataset`."""

    name = "webdataset"
    packs = True

    def __init__(self, spec: LoaderSpec) -> None:
        take_options(spec, self.name)
        self._folder = tempfile.TemporaryDirectory(prefix="fastbench-webdataset-")
        try:
            self._shards = _pack(spec, Path(self._folder.name))
            super().__init__(
                spec,
                {
                    "webdataset": webdataset.__version__,
                    "decoder": "PIL",
                    "num_shards": len(self._shards),
                    "shards_bytes": sum(map(os.path.getsize, self._shards)),
                    "shards_in": temporary.place(),
                },
            )
            if self._num_workers:
                self._stream = self._start()
        except BaseException:
            self._folder.cleanup()
            raise

    def _open(self) -> Any:
        spec = self._spec
        dataset = (
            webdataset.WebDataset(self._shards, shardshuffle=False, empty_check=False)
            .decode("pil")
            .map(partial(_transform, make_transform(spec.preprocess)))
            .batched(spec.batch_size)
            .map(partial(_finish, self._dtype))
        )
        loader = webdataset.WebLoader(
            dataset,
            batch_size=None,  # the data set's items are whole batches
            persistent_workers=self._num_workers > 0,
            **self._arguments(),
        )
        # The DataLoader inside: WebLoader's own iterator would start it at the first batch.
        return loader.stage(0)

    def _end_epoch(self) -> None:
        self._stream = self._start() if self._num_workers else None

    def _free(self) -> None:
        super()._free()
        self._folder.cleanup()

    def _explain(self, position: int, error: Exception) -> Exception:
        """Name the file, from the batch at `position` to the same worker's next one."""
        return self._blame(position, type(error).__name__, 1 + max(1, self._num_workers))


def _pack(spec: LoaderSpec, folder: Path) -> list[str]:
    """Write the files into shards, one for each batch; their paths.

    Raises `LoaderError` where the disk has no room for them, or WebDataset cannot open the folder.
    """
    if urlsplit(str(folder)).path != str(folder):  # WebDataset opens the path of a URL
        raise LoaderError(
            f"The loader 'webdataset' cannot open shards in {temporary.place()!r}, whose name has "
            f"a character that no URL's path has. Set TMPDIR to another folder."
        )
    try:
        num_bytes = sum(map(os.path.getsize, spec.paths))
    except OSError as error:
        raise corrupt(error.filename, error) from error
    if num_bytes > shutil.disk_usage(folder).free:
        raise LoaderError(
            f"The loader 'webdataset' packs the images into {num_bytes / 1e9:.1f} GB of shards, "
            f"for which {temporary.place()} has no room. "
            f"Set TMPDIR to a folder on a larger disk, or use --limit."
        )
    shards = []
    for position in range(spec.num_batches):
        shard = folder / f"{position:06d}.tar"
        with webdataset.TarWriter(str(shard), encoder=False) as writer:
            for sample in spec.ids(position):
                writer.write({"__key__": f"{sample:09d}", "jpg": _read(spec.paths[sample])})
        shards.append(str(shard))
    return shards


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise corrupt(path, error) from error


def _transform(
    transform: Callable[[Image.Image], torch.Tensor], sample: Mapping[str, Any]
) -> tuple[torch.Tensor, int]:
    """A decoded sample -> its (3, H, W) float32 image and its id."""
    return transform(sample["jpg"]), int(sample["__key__"])


def _finish(
    dtype: torch.dtype, batch: tuple[torch.Tensor, np.ndarray[Any, Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A collated batch -> its images in channels_last memory and its ids, as tensors."""
    images_NCHW, ids_N = batch
    return (
        images_NCHW.to(dtype, memory_format=torch.channels_last),
        torch.as_tensor(ids_N, dtype=torch.int64),
    )
