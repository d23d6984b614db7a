"""`fastbench run --ab`: windows of two configurations in turn, and one ratio.

Both run in one process, unless they differ in what holds for a whole process, such as the
allocator: then the second has one of its own, which waits while the first is timed. The loader's
settings are searched for as for a row, and the second side has the same but for what it is given.

Nothing is scored: run each of the two by itself to see whether the predictions are right. The pairs
are saved as they come, and those of a comparison that was cut off are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fastbench.core import allocator, watchdog
from fastbench.core.child_process import Channel, portable
from fastbench.core.config import OPTIONS
from fastbench.core.device import mapped_errors
from fastbench.core.errors import CrashError, FastbenchError, UsageError
from fastbench.core.other_side import other_side
from fastbench.core.worker_server import fork_server
from fastbench.engines.classifier import forget_compiled
from fastbench.loaders.base import LoaderTraits
from fastbench.measure.clock import make_clock
from fastbench.measure.interleave import NUM_PAIRS, NUM_PAIRS_QUICK, Side, interleave
from fastbench.records.record import AbRecord, FailedRow
from fastbench.records.store import replace_record, write_record
from fastbench.runner.build_record import describe_run
from fastbench.runner.open_loader import open_loader
from fastbench.runner.prepare import Bench, Workbench
from fastbench.runner.search_loader import given_settings, search_loader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress
    from fastbench.data.dataset import Skipped
    from fastbench.loaders.base import Setting

SAVE_S: Final = 5.0
"""How many seconds of pairs may be lost when the process is killed."""
_END_S: Final = 5.0
"""How long the second side's process may take to end."""


def ab_row(
    config: RunConfig, folder: Path, tell: Progress, leave_out: Collection[Skipped] = ()
) -> Iterator[AbRecord | FailedRow]:
    """The row of a configuration with one model, the unfinished one too if that is interrupted.

    It is on disk when it is yielded. Raises `OutputError` if it cannot be written, `UsageError` if
    the two cannot be compared.
    """
    other = other_side(config)
    if config.device != other.device:
        raise UsageError("--ab cannot compare two devices. Run each, and use fastbench compare.")
    workbench = Workbench(config, folder, tell, leave_out)
    pairs = _Pairs(folder)
    (name,) = config.models
    try:
        tell.say(f"{name}: making both sides ready")
        forget_compiled()
        with (
            mapped_errors(f"the comparison of {name}", workbench.batch_size),
            _here(workbench) as a,
            _second(config, other, folder, tell, leave_out, a.searched) as b,
        ):
            _measure(workbench, a, b, pairs)
    except FastbenchError as error:
        if pairs.keep():
            tell.note(f"The pairs before that are in {pairs.path}")
        yield FailedRow(name, config.timed_loader, error)
    except KeyboardInterrupt:
        if (record := pairs.keep()) is not None:
            yield record
        raise
    else:
        record = pairs.keep()
        assert record is not None
        yield record


class _Pairs:
    """The pairs of a comparison so far, and the file in which they are from the first on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.blank: AbRecord | None = None
        self._rates: list[tuple[float, float]] = []
        self._saved_s = -math.inf

    def add(self, rates: tuple[float, float]) -> None:
        """One more. Between windows: what runs next is the batches that wait in the queues."""
        self._rates.append(rates)
        if time.monotonic() > self._saved_s + SAVE_S:
            self.keep()

    def keep(self) -> AbRecord | None:
        """Write them; None if there are none. Raises `OutputError`."""
        if not self._rates:
            return None
        assert self.blank is not None
        a, b = map(list, zip(*self._rates, strict=True))
        record = msgspec.structs.replace(self.blank, a_images_per_s=a, b_images_per_s=b)
        if self.path is None:
            self.path = write_record(record, self.folder)
        else:
            replace_record(record, self.path)
        self._saved_s = time.monotonic()
        return record


@dataclass(frozen=True)
class _Opened:
    """A side that is ready: its windows, and the settings that its loader reports.

    `searched` are those of them that were searched for.
    """

    side: Side | _Remote
    settings: Mapping[str, Setting]
    bench: Bench | None = None
    searched: Mapping[str, Setting] = field(default_factory=dict)


@contextlib.contextmanager
def _here(workbench: Workbench, searched: Mapping[str, Setting] | None = None) -> Iterator[_Opened]:
    """A side in this process. It takes the settings `searched` for another, or searches itself."""
    (name,) = workbench.config.models
    loader = workbench.config.timed_loader
    model, labels = workbench.load(name)
    for note in model.notes:
        workbench.progress.note(f"{name}: {note}.")
    with mapped_errors(f"the warm-up of {name}", workbench.batch_size):
        classifier = workbench.engines.of_rows(model)
        classifier.warm_up()
    spec = workbench.spec(model, loader)
    if searched is None:
        spec, found = search_loader(workbench, loader, spec)
        searched = found.settings if found else {}
    else:
        given = given_settings(workbench.config, loader)
        spec = spec.with_settings({name: x for name, x in searched.items() if name not in given})
    with open_loader(loader, workbench.factories[loader], spec) as opened:
        num_queued = LoaderTraits.of(opened).num_queued(spec.prefetch)
        side = Side(opened, classifier, num_queued, make_clock(workbench.device))
        yield _Opened(side, dict(opened.settings), Bench(model, labels, classifier), searched)


def _second(
    config: RunConfig,
    other: RunConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped],
    searched: Mapping[str, Setting],
) -> contextlib.AbstractContextManager[_Opened]:
    """The second side, in a process of its own if that must be."""
    of_this = searched if other.timed_loader == config.timed_loader else None
    if any(
        option.changes == "process" and getattr(config, name) != getattr(other, name)
        for name, option in OPTIONS.items()
    ):
        return _in_a_process(other, folder, tell, leave_out, of_this)
    return _here(Workbench(other, folder, tell, leave_out), of_this)


def _measure(workbench: Workbench, a: _Opened, b: _Opened, pairs: _Pairs) -> None:
    config = workbench.config
    assert a.bench is not None
    num_pairs = NUM_PAIRS_QUICK if config.quick else NUM_PAIRS
    pairs.blank = AbRecord(
        **describe_run(workbench, a.bench, config.timed_loader, a.settings),
        dtype=workbench.dtype,
        compile_mode=workbench.compile_mode,
        changes=list(config.ab),
        other_config=dataclasses.asdict(other_side(config)),
        other_loader_settings=dict(b.settings),
        a_images_per_s=[],
        b_images_per_s=[],
        num_planned=num_pairs,
    )
    count = workbench.progress.count(
        f"{a.bench.model.name} · {config.timed_loader}: pairs of windows"
    )
    for number, rates in enumerate(interleave(a.side, b.side, num_pairs), start=1):
        pairs.add(rates)
        count(number, num_pairs)


# --------------------------------------------------------------- the second side's own process


@dataclass(frozen=True)
class _Remote:
    """A side in another process."""

    connection: Connection
    tell: Progress
    batch_size: int = 0

    def window(self, num_batches: int) -> float:
        """As of a `Side`."""
        self.connection.send(num_batches)
        return float(self.answer())

    def answer(self) -> Any:
        """What it answers; what it says before is passed on. Raises the error that ended it."""
        while True:
            try:
                message = self.connection.recv()
            except (EOFError, OSError) as error:
                raise CrashError(
                    "The process of the second side of --ab ended. Run that side by itself to see "
                    "why.",
                    1,
                ) from error
            match message:
                case ("answer", what):
                    return what
                case ("ends", error):
                    raise error
                case ("say", text):
                    self.tell.say(text)
                case ("note", text):
                    self.tell.note(text)


@contextlib.contextmanager
def _in_a_process(
    config: RunConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped],
    searched: Mapping[str, Setting] | None,
) -> Iterator[_Opened]:
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    arguments = (theirs, config, folder, tuple(leave_out), searched)
    process = context.Process(target=_serve, args=arguments)
    process.start()
    theirs.close()
    try:
        batch_size, settings = _Remote(ours, tell).answer()
        yield _Opened(_Remote(ours, tell, batch_size), settings)
    finally:
        ours.close()
        process.join(_END_S)
        process.kill()
        process.join()


def _serve(
    connection: Connection,
    config: RunConfig,
    folder: Path,
    leave_out: tuple[Skipped, ...],
    searched: Mapping[str, Setting] | None,
) -> None:
    """Answer with the throughput of a window for each number of batches, until nobody asks."""
    with contextlib.suppress(OSError):  # then one is started when there is a worker
        fork_server(connection)
    watchdog.start()
    channel = Channel(connection)
    if (why_not := allocator.set_up(config.allocator)) is not None:
        channel.note(f"--allocator {config.allocator} has no effect: {why_not}.")
    try:
        with _here(Workbench(config, folder, channel, leave_out), searched) as opened:
            channel.send("answer", (opened.side.batch_size, opened.settings))
            while True:
                channel.send("answer", opened.side.window(connection.recv()))
    except (EOFError, BrokenPipeError):
        return
    except FastbenchError as error:
        channel.send("ends", portable(error))
