"""timm, SPDL and WebDataset through their own code: the reference's images, or how far off."""

import dataclasses
import itertools
import multiprocessing
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from conftest import draw
from test_loaders import (
    IMAGENET,
    ids_of,
    open_loader,  # noqa: F401 - a fixture
    pixels_of,
    presets,
    spec_of,
)

from fastbench.data.manifest import scan
from fastbench.errors import CorruptImageError, LoaderError, LoaderMissingError, UsageError
from fastbench.loaders.base import Loader, LoaderSpec

Open = Callable[[str, LoaderSpec], Loader]
NAMES = ["spdl", "timm", "webdataset"]


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("name", ["timm", "webdataset"])
def test_pil_gives_the_references_pixels(
    name: str, prefetch: int, images: Path, open_loader: Open  # noqa: F811
) -> None:
    manifest = scan(images)
    spec = spec_of(manifest, prefetch=0)
    reference = pixels_of(open_loader("torchvision", spec))
    found = pixels_of(open_loader(name, dataclasses.replace(spec, prefetch=prefetch)))
    assert (found - reference).abs().max() < 1e-3
