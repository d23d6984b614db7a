"""Opening a loader for a pass, and closing it in any case."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from fastbench.loaders.guard import CheckedLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.loaders.base import Factory, LoaderSpec

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def open_loader(name: str, factory: Factory, spec: LoaderSpec) -> Iterator[CheckedLoader]:
    """A loader whose batches are checked against the contract; it is closed in any case.

    Raises `LoaderError`, also while it is iterated, if it fails or breaks the contract.
    """
    start = time.perf_counter()
    loader = CheckedLoader(name, factory, spec)
    seconds = time.perf_counter() - start
    _LOG.debug("%s started in %.3f s: %s", name, seconds, dict(loader.settings))
    try:
        yield loader
    finally:
        loader.close()
        _LOG.debug("%s closed", name)
