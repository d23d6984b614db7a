"""Rows in a process of their own: a crash, a full memory or a fault of a driver ends no other row.

If the child crashes, what it printed is kept in a log beside the records. That it was killed for
its memory is a guess: the kernel does not say so.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import itertools
import math
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from fastbench.core import allocator, watchdog
from fastbench.core.atomic_files import file_stem, write_whole
from fastbench.core.child_process import Channel, ChildProcess, portable
from fastbench.core.debugging import is_debugging
from fastbench.core.errors import (
    CrashError,
    FastbenchError,
    LimitError,
    LoaderError,
    OutOfMemoryError,
)
from fastbench.core.loader_facts import BUILT_IN
from fastbench.core.system_errors import limit_in
from fastbench.measure.ranks import join
from fastbench.models import held
from fastbench.records.record import FailedRow
from fastbench.runner.cluster import here, meet_here
from fastbench.runner.rank_group import RankGroup, give_signs_of_life
from fastbench.runner.row_here import rows_here

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress
    from fastbench.data.dataset import Skipped
    from fastbench.measure.ranks import Ranks
    from fastbench.records.record import AbRecord, ParityRecord, Record

    AnyRow = Record | ParityRecord | AbRecord | FailedRow
    Child = ChildProcess | RankGroup

GRACE_S: Final = 5.0
"""How long a child may take to end after Ctrl-C."""
EXIT_S: Final = 30.0
"""How long a child may take to end after its rows are measured."""
NUM_TAIL: Final = 6
"""Lines of a crashed child's output that are shown."""
_NUM_SEARCHED: Final = 60
"""Lines of it in which is looked for a limit that a library has reached."""


def run_rows(
    make_rows: Callable[..., Iterator[AnyRow]],
    config: RunConfig,
    folder: Path,
    tell: Progress,
    names: Sequence[tuple[str, str]],
) -> Iterator[Any]:
    """The rows of `make_rows(config, folder, tell)`, which is called in a child.

    `names` are the model and the loader of each row. A crash is a failed row, and the last; so is
    what reaches a limit of the system. Raises any other `FastbenchError` that `make_rows` raises.
    A model that is an object of this process is measured here.
    """
    if held.find(config.models[0]) is not None:
        yield from rows_here(make_rows, config, folder, tell, names[0])
        return
    num_rows = 0
    with interruptible(_children(make_rows, config, folder, names), tell) as child:
        try:
            for row in _answers(child, tell, len(names)):
                num_rows += 1
                _tell_others(child, row)
                yield row
        except KeyboardInterrupt:
            _stop(child, tell)
            yield from _last_answers(child)
            raise
        except (LimitError, OutOfMemoryError) as error:  # another row may need less
            if num_rows == len(names):
                tell.note(f"After the row was measured: {error}")
            else:
                row = FailedRow(*names[num_rows], error)
                _tell_others(child, row)
                yield row
            return
        except FastbenchError as error:
            _tell_others(child, FailedRow(*names[0], error))
            raise
        if num_rows < len(names) and not child.is_done:
            model, loader = names[num_rows]
            row = FailedRow(model, loader, _crash(child, model, loader, folder, tell))
            _tell_others(child, row)
            yield row
        elif child.status:
            tell.note(f"{child.called} {child.ending} after the row was measured.")


def _tell_others(child: Child, row: AnyRow) -> None:
    """Tell the ranks of other processes that the row has failed."""
    if isinstance(row, FailedRow) and isinstance(child, RankGroup):
        child.tell_others(row)


def _children(
    make_rows: Callable[..., Iterator[AnyRow]],
    config: RunConfig,
    folder: Path,
    names: Sequence[tuple[str, str]],
) -> Child:
    """The process of a row, or one for each of its ranks here."""
    cluster = here()
    if config.ranks == 1:
        return ChildProcess(_send_rows, (make_rows, config, folder, None))
    if cluster is not None:
        places = cluster.begin_row(make_rows, config, folder, names)
    else:
        places = meet_here(config.ranks)
    jobs = {place.rank: (make_rows, config, folder, place) for place in places}
    return RankGroup(_send_rows, jobs, cluster)


@contextlib.contextmanager
def interruptible(started: Child, tell: Progress) -> Iterator[Child]:
    """A child that is given some time to stop its workers after Ctrl-C."""
    with started as child:
        try:
            yield child
        except KeyboardInterrupt:
            _stop(child, tell)
            raise


def _stop(child: Child, tell: Progress) -> None:
    if child.has_ended():
        return
    child.interrupt()
    if not child.ends_within(GRACE_S):
        tell.note(f"The row did not end within {GRACE_S:g} s, and was killed.")
        child.end()


def _last_answers(child: Child) -> Iterator[Any]:
    """What a child that has ended had answered and nobody has heard."""
    while (message := child.next_message()) is not None:
        if message[0] == "answer":
            yield message[1]


def _answers(child: Child, tell: Progress, num: int) -> Iterator[Any]:
    """The child's answers, at most `num`; what it says of its progress is passed on to `tell`.

    Raises the `FastbenchError` that ended it.
    """
    counts: dict[tuple[str, str], Callable[[int, int], None]] = {}
    deadline = math.inf
    try:
        while (message := child.next_message(deadline - time.monotonic())) is not None:
            match message:
                case ("say", text):
                    tell.say(text)
                case ("note", text):
                    tell.note(text)
                case ("count", doing, done, now, total):
                    if (doing, done) not in counts:
                        counts[doing, done] = tell.count(doing, done)
                    counts[doing, done](now, total)
                case ("ends", error):
                    raise error
                case ("answer", what):
                    yield what
                    num -= 1
                    if num == 0:
                        deadline = time.monotonic() + EXIT_S
    except TimeoutError:
        tell.note(f"{child.called} did not end within {EXIT_S:g} s, and was killed.")
        return
    child.end()


def _crash(child: Child, model: str, loader: str, folder: Path, tell: Progress) -> FastbenchError:
    """Why a child left no answer; its output is written to a log, and the end of it shown."""
    output, lines = child.read_output()
    where = ""
    if lines:
        stem = file_stem("crash", model, loader)
        path = folder / f"{stem}-{os.getpid()}-{time.time_ns() // 10**6}.log"
        with contextlib.suppress(OSError):  # the row has failed in any case
            write_whole(path, output)
            where = f" Its output is in {path}."
        shown = lines if is_debugging() else _last_words(lines)
        title = f"{model} · {loader} crashed, and wrote last:"
        tell.note("\n".join((title, *(f"  | {line}" for line in shown))))
    last = "\n".join(lines[-_NUM_SEARCHED:])
    if (limit := limit_in(last, "in the row's process, which ended")) is not None:
        return LimitError(f"{limit}{where}")
    if child.status == -watchdog.SIGNAL and lines:
        return LoaderError(f"{lines[-1]} Choose another with --loader, or mend this one.{where}")
    if child.silent_s is not None:
        return CrashError(
            f"{child.called} gave no sign of life for {child.silent_s:.0f} s, and was ended. Look "
            f"whether its machine swaps, or the process was stopped.{where}",
            child.status,
        )
    if child.status == -signal.SIGKILL and not child.fault:
        advice = "Mostly that is the system, out of memory: try a smaller --batch-size."
    elif child.status < 0 and not child.fault:
        advice = "That is a fault of a library or a driver: try other versions of it."
    elif loader in BUILT_IN:
        advice = "That is a bug of fastbench or of a library: report it."
    else:
        advice = f"That is most likely a bug of the plug-in loader {loader!r}: tell its author."
    return CrashError(f"{child.called} {child.ending}. {advice}{where}", child.status)


def _last_words(lines: list[str]) -> list[str]:
    """The end of a crashed child's output, without the stacks that `faulthandler` appends."""
    printed = itertools.takewhile(lambda line: not line.startswith("Fatal Python error"), lines)
    shown = list(printed)[-NUM_TAIL:]
    for number, line in enumerate(lines):
        if line.startswith("Current thread"):  # its innermost calls come first
            return [*shown, *lines[number + 1 : number + 1 + NUM_TAIL]]
    return shown or lines[-NUM_TAIL:]


# ------------------------------------------------------------------------------------ the child


def _send_rows(job: tuple[Any, ...], channel: Channel) -> None:
    make_rows, config, folder, place = job
    faulthandler.enable()
    watchdog.start()
    if (why_not := allocator.set_up(config.allocator)) is not None:
        channel.note(f"--allocator {config.allocator} has no effect: {why_not}.")
    if place is not None:
        give_signs_of_life(channel)
        make_rows = functools.partial(make_rows, ranks=join(place))
    for row in make_rows(config, folder, channel):
        if isinstance(row, FailedRow):
            row = replace(row, error=portable(row.error))
        channel.send("answer", row)
    if place is not None:
        channel.send("finished")


def measure(
    config: RunConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped] = (),
    models: Sequence[str] = (),
    since: float | None = None,
    ranks: Ranks | None = None,
    called: Sequence[str] = (),
) -> Iterator[Record | FailedRow]:
    """The row of `fastbench run`, whose turn came at `since`; checks all `models`' names first.

    `called` is what tells it from the others of the run.
    """
    from fastbench.runner.measure_row import measure_row

    yield from measure_row(config, folder, tell, models, leave_out, since, ranks, called)


def parity(
    config: RunConfig, folder: Path, tell: Progress, leave_out: Collection[Skipped] = ()
) -> Iterator[ParityRecord | FailedRow]:
    """A row of `fastbench parity`, or several."""
    from fastbench.runner.parity import parity_rows
    from fastbench.runner.prepare import Workbench

    yield from parity_rows(Workbench(config, folder, tell, leave_out))


def ab(
    config: RunConfig, folder: Path, tell: Progress, leave_out: Collection[Skipped] = ()
) -> Iterator[AbRecord | FailedRow]:
    """A row of `fastbench run --ab`."""
    from fastbench.runner.ab import ab_row

    yield from ab_row(config, folder, tell, leave_out)
