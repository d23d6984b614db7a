"""Loaders that are closed after the test, and a few files for those that are slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders.images import draw
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from fastbench.core.errors import LoaderMissingError
from fastbench.core.loader_facts import BUILT_IN
from fastbench.loaders.base import Loader, LoaderSpec
from fastbench.loaders.registry import resolve


@pytest.fixture
def open_loader(server: None) -> Iterator[Callable[[str, LoaderSpec], Loader]]:
    """Opens a loader; skips where the package of an extra, or what that needs, is not here."""
    opened: list[Loader] = []

    def open_(name: str, spec: LoaderSpec) -> Loader:
        try:
            opened.append(resolve(name)(spec))
        except LoaderMissingError as error:
            if name not in BUILT_IN or BUILT_IN[name].extra is None:
                raise
            pytest.skip(str(error))
        return opened[-1]

    yield open_
    for loader in opened:
        loader.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DataLoader that looks after its workers at once, and not every five seconds."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.1,))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landscape, portrait, one smaller and one narrower than any crop."""
    root = tmp_path_factory.mktemp("few")
    for i, size in enumerate([(500, 375), (333, 500), (64, 91), (257, 256)]):
        draw(root / f"{i}.jpg", size)
    return root
