"""Loaders that fail at some files which Pillow reads, and what makes them plug-ins in a child.

A file's name says what becomes of it: `...raises.jpg`, `...dies.jpg`. `Breaks` raises at any file.
"""

from __future__ import annotations

import faulthandler
import importlib.metadata
import os
import signal
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from builders.plug_ins import FakeEntryPoint
from fastbench.core.child_process import Channel
from fastbench.core.config import RunConfig
from fastbench.core.errors import DataError
from fastbench.data.dataset import Skipped
from fastbench.loaders.base import Batch
from fastbench.loaders.builtin.torchvision_tensor import TensorLoader
from fastbench.records.record import FailedRow
from fastbench.runner import row_in_child, unread_files


class Picky(TensorLoader):
    """Fails at some files."""

    name = "picky"

    def __iter__(self) -> Iterator[Batch]:
        for position, batch in enumerate(super().__iter__()):
            for sample in self._spec.ids(position):
                file = Path(self._spec.paths[sample]).stem
                if file.endswith("raises"):
                    raise OSError("marker 0xd1 is unknown")
                if file.endswith("dies"):
                    faulthandler._sigsegv()  # type: ignore[attr-defined]
            yield batch


class Breaks(TensorLoader):
    """Fails at whatever it reads."""

    name = "breaks"

    def __iter__(self) -> Iterator[Batch]:
        raise OSError("no decoder")


PLUG_INS = [FakeEntryPoint(kind.name, kind) for kind in (Picky, Breaks)]


def measure(*job: Any, **more: Any) -> Iterator[Any]:
    """`row_in_child.measure` with these plug-ins."""
    _register()
    yield from row_in_child.measure(*job, **more)


def dies_unless_left_out(
    config: RunConfig, folder: Path, channel: Channel, leave_out: Collection[Skipped] = ()
) -> Iterator[FailedRow]:
    """A row that dies of a file, in place of `row_in_child.parity` and `ab`."""
    if not leave_out:
        os.kill(os.getpid(), signal.SIGSEGV)
    names = ", ".join(file.name for file in leave_out)
    yield FailedRow(*config.model, *config.loader, DataError(f"Without {names} it goes on."))


try_spans: Callable[..., None] = unread_files._try_spans


def try_spans_here(*job: Any) -> None:
    """`unread_files._try_spans` with these plug-ins."""
    _register()
    try_spans(*job)


def _register() -> None:
    real = importlib.metadata.entry_points

    def entry_points(**asked: str) -> object:
        return PLUG_INS if asked.get("group") == "fastbench.loaders" else real(**asked)

    importlib.metadata.entry_points = entry_points  # type: ignore[assignment]
