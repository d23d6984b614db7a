"""The files that a loader does not read though Pillow does: named, or left out of its rows.

A loader that fails often does not say at which file, and one that crashes cannot. So a process
opens it on ever fewer of the files until one is left. A drawn image goes first: a loader that does
not read that either fails for another reason.
"""

from __future__ import annotations

import dataclasses
import functools
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core import temporary
from fastbench.core.child_process import ChildProcess, portable
from fastbench.core.errors import (
    CorruptImageError,
    CrashError,
    FastbenchError,
    LoaderError,
    LoaderFailedError,
)
from fastbench.core.loader_facts import REFERENCE_LOADER
from fastbench.core.units import and_more, counted
from fastbench.data.dataset import Skipped
from fastbench.data.jpeg.quick_check import not_read
from fastbench.models import held
from fastbench.models.registry import SAMPLE
from fastbench.records.record import FailedRow
from fastbench.runner.planned_rows import row_of
from fastbench.runner.row_in_child import interruptible, run_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastbench.core.child_process import Channel
    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress

MOST: Final = 100
"""A loader that does not read more files of a data set is not fit for it."""
PATIENCE_S: Final = 300.0
"""How long the search waits for a loader's next batch."""
_NUM_BATCHES: Final = 4
"""Prefetched batches fail before their turn: the file is in one of so many."""
_OTHER: Final = "Use another --loader, or remove the file."

Span = tuple[int, int]
"""The files from one index up to another."""


class Unread:
    """Runs rows, and remembers which files each loader does not read."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._files: dict[str, tuple[Skipped, ...]] = {}

    def run_row(
        self, make_rows: Callable[..., Iterator[Any]], config: RunConfig, *loaders: str
    ) -> Iterator[Any]:
        """The row of `make_rows` in a process of its own; it is the first loader's.

        Where it fails at a file that Pillow reads, the error names the file. With `--on-error skip`
        the row is run again without all such files.
        """
        run = functools.partial(self.run_known, make_rows, config, *loaders)
        for row in run():
            if isinstance(row, FailedRow) and _may_be_a_file(row.error, config):
                error = self._find(config, loaders, row.error)
                if error is None:
                    yield from run()
                else:
                    yield dataclasses.replace(row, error=error)
            else:
                yield row

    def run_known(
        self, make_rows: Callable[..., Iterator[Any]], config: RunConfig, *loaders: str
    ) -> Iterator[Any]:
        """As `run_row`, but only the files that are known already are left out."""
        names = dict.fromkeys((*loaders, config.reference))
        files = [file for name in names for file in self._known(name)]
        if files:
            make_rows = functools.partial(make_rows, leave_out=files)
        row = (config.models[0], loaders[0])
        return run_rows(make_rows, config, self._folder, self._progress, [row])

    def _known(self, loader: str) -> tuple[Skipped, ...]:
        return self._files.get(loader, ())

    def _find(
        self, config: RunConfig, loaders: tuple[str, ...], failed: FastbenchError
    ) -> FastbenchError | None:
        """The error that a row ends with; None where files are known now, to be left out."""
        skips = config.on_error == "skip"
        others = () if config.reference in ("none", REFERENCE_LOADER) else (config.reference,)
        for loader in dict.fromkeys((*loaders, *others)):
            self._progress.say(f"{loader}: looking for the file at which it fails")
            most = MOST if skips else 1
            found, are_all = find_unread(config, loader, self._folder, self._progress, most)
            if found and not skips:
                return next(iter(found.values()))
            files = tuple(Skipped(name, error.what, loader) for name, error in found.items())
            if files and are_all:
                if files == self._known(loader):
                    continue
                self._files[loader] = files
                told = and_more([f"{file.name} {file.why}" for file in files], 3)
                self._progress.note(f"Left out of the rows of {loader}: {told}.")
                return None
            if files:
                return LoaderError(
                    f"The loader {loader!r} does not read {counted(len(files), 'file')} of these "
                    f"images, or more, that Pillow reads, such as {files[0].name}: it "
                    f"{files[0].why}. Use another --loader."
                )
        if skips and isinstance(failed, CorruptImageError):  # what it advises is given
            return CorruptImageError(failed.path, failed.what, _OTHER)
        return failed


def _may_be_a_file(error: FastbenchError, config: RunConfig) -> bool:
    if isinstance(error, CrashError):
        return error.status < 0 and error.status != -signal.SIGKILL
    if isinstance(error, CorruptImageError):  # it names the file, but not those after it
        return config.on_error == "skip"
    return isinstance(error, LoaderFailedError)


def find_unread(
    config: RunConfig, loader: str, folder: Path, tell: Progress, most: int = MOST
) -> tuple[dict[str, CorruptImageError], bool]:
    """The files of a run that a loader does not read, at most `most`, by name and in order.

    Also returns whether it reads all others. Where it fails without files, or in a way that has
    nothing to do with them, there are none.
    """
    found: dict[str, CorruptImageError] = {}
    # The second side of --ab may have another loader.
    config = row_of(dataclasses.replace(config, ab=()), config.models[0], loader)
    if held.find(config.models[0]) is not None:  # which no other process has, nor needs for this
        config = dataclasses.replace(config, model=(SAMPLE,), weights="DEFAULT")
    spans: list[Span] | None = None  # None: all
    while True:
        started = ChildProcess(_try_spans, (config, loader, folder, spans))
        with interruptible(started, tell) as child:
            file = None
            num_read = window = 0
            try:
                while (message := child.next_message(PATIENCE_S)) is not None:
                    match message:
                        case ("trying", spans, window, file):
                            num_read = 0
                        case ("read", num_read):
                            pass
                        case ("unread", name, error):
                            found[name] = error
                            if len(found) >= most:
                                return found, False
                        case ("over", num_files):
                            return found, len(found) < num_files
                        case ("ends", _):
                            return {}, False
            except TimeoutError:
                return {}, False
            child.end()
            if not spans or child.status >= 0:  # not at a file, or not by a fault of its decoder
                return {}, False
            if file is not None:
                name, path = file
                found[name] = not_read(path, loader, f"its process {child.ending}")
                if len(found) >= most:
                    return found, False
            spans = _narrowed(spans, num_read, window)


def _narrowed(spans: list[Span], num_read: int, window: int) -> list[Span]:
    """What is left to try after the last of `spans` has failed; it is cut into two smaller ones."""
    *others, (start, end) = spans
    if end - start == 1:
        return others
    start += num_read if num_read < end - start else 0
    cut = start + window
    if cut >= end:
        cut = (start + end) // 2
    return [*others, (cut, end), *([(start, cut)] if cut > start else [])]


# ------------------------------------------------------------------------------------ the child


def _try_spans(job: tuple[RunConfig, str, Path, list[Span] | None], channel: Channel) -> None:
    import torch

    from fastbench.runner.open_loader import open_loader
    from fastbench.runner.prepare import Workbench

    config, loader, folder, spans = job
    workbench = Workbench(dataclasses.replace(config, page_cache="warm"), folder, channel)
    model, _ = workbench.load(config.models[0])
    spec = dataclasses.replace(workbench.spec(model, loader), prefetch=1)
    window = _NUM_BATCHES * spec.batch_size
    names, paths = workbench.manifest.names, workbench.manifest.paths

    def read(files: tuple[str, ...]) -> tuple[int, FastbenchError | None]:
        """How many of the files were read, and at what the loader has failed."""
        num_read = 0
        some = dataclasses.replace(spec, paths=files)
        try:
            with open_loader(loader, workbench.factories[loader], some) as opened:
                if not opened.reads_images:
                    return 0, LoaderError("")
                for batch in opened:
                    num_read += batch.num_valid
                    channel.send("read", num_read)
            if workbench.device.type == "cuda":
                torch.cuda.synchronize(workbench.device)
        except (LoaderFailedError, CorruptImageError) as error:
            return num_read, error
        return num_read, None

    if spans is None:
        with tempfile.TemporaryDirectory(dir=temporary.run_folder()) as drawn:
            if read((_draw(Path(drawn)),))[1] is not None:
                return
        spans = [(0, len(paths))]
    while spans:
        start, end = spans[-1]
        file = (names[start], paths[start]) if end - start == 1 else None
        channel.send("trying", spans, window, file)
        num_read, error = read(paths[start:end])
        if error is None:
            spans = spans[:-1]
            continue
        if file is not None:
            channel.send("unread", names[start], _as_unread(paths[start], loader, error))
        spans = _narrowed(spans, num_read, window)
    channel.send("over", len(paths))


def _as_unread(path: str, loader: str, error: FastbenchError) -> CorruptImageError:
    if isinstance(error, LoaderFailedError):
        return not_read(path, loader, error.why)
    ours = portable(error)  # a plug-in's own kind cannot be sent
    assert isinstance(ours, CorruptImageError)
    return ours


def _draw(folder: Path) -> str:
    """A JPEG that every decoder reads, and every model's preprocessing takes."""
    import numpy as np
    from PIL import Image

    levels = np.linspace(0, 255, 320 * 240 * 3).reshape(240, 320, 3).astype(np.uint8)
    path = folder / "drawn.jpg"
    Image.fromarray(levels).save(path)
    return str(path)
