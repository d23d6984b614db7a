"""The batches that a model is quantised with, as the reference loader reads them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import torch

from fastbench.core.errors import LoaderError
from fastbench.core.loader_facts import REFERENCE_LOADER
from fastbench.data.calibration import find_calibration
from fastbench.loaders.registry import resolve
from fastbench.records.engine import Calibration
from fastbench.runner.open_loader import open_loader

if TYPE_CHECKING:
    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress
    from fastbench.data.dataset import Manifest
    from fastbench.loaders.base import LoaderSpec


def find(config: RunConfig, scored: Manifest, progress: Progress) -> Manifest:
    """The images. Raises `UsageError` for one that is scored too."""
    return find_calibration(config, scored, progress.count)


def read_batches(
    config: RunConfig, scored: Manifest, spec: LoaderSpec, progress: Progress
) -> list[torch.Tensor]:
    """(N, 3, H, W) float32 batches on the CPU, normalised, all of the spec's batch size.

    The last one is filled up with the first images. `spec` is that of the scored images. Raises
    `LoaderError` where the loader does not read images.
    """
    images = find(config, scored, progress)
    name = loader_of(config)
    spec = dataclasses.replace(
        spec,
        paths=images.paths,
        sizes=images.sizes,
        largest=images.largest,
        device="cpu",
        dtype="float32",
        repeatable=True,
    )
    with open_loader(name, resolve(name), spec) as loader:
        if not loader.reads_images:
            raise LoaderError(
                f"The loader {name!r} does not read images, so a model cannot be calibrated with "
                f"it. Choose another --reference."
            )
        read = [batch.images_NCHW[: batch.num_valid].clone() for batch in loader]
    images_NCHW = torch.cat(read)
    size = spec.batch_size
    num = -(-len(images_NCHW) // size) * size
    order = list(itertools.islice(itertools.cycle(range(len(images_NCHW))), num))
    filled_NCHW = images_NCHW[order].contiguous(memory_format=torch.channels_last)
    return list(filled_NCHW.split(size))


def describe(config: RunConfig, scored: Manifest, progress: Progress) -> Calibration | None:
    """What the record says of them; None where nothing is calibrated."""
    if config.quantize != "int8":
        return None
    images = find(config, scored, progress)
    return Calibration(
        root=str(images.root),
        names=list(images.names),
        digest=images.digest,
        loader=loader_of(config),
    )


def loader_of(config: RunConfig) -> str:
    """The loader that reads images which are not timed."""
    return REFERENCE_LOADER if config.reference == "none" else config.reference
