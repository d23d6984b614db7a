"""A row in a process of its own: a crash, a full memory or a fault of a driver ends that row alone.

What the child printed becomes a log beside the records if it crashes.

What it does not know: whether a child that was killed was killed for its memory. The kernel does
not say so; it is what mostly happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.child_process import Channel, ChildProcess, pack_error, serve, unpack_error
from fastbench.core.config import RunConfig
from fastbench.core.errors import CrashError
from fastbench.records.record import FailedRow, Record
from fastbench.records.store import read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.core.progress import Progress

__all__ = ["find_missing", "run_row"]

MODULE: Final = "fastbench.runner.row_in_child"
"""What the child runs."""
GRACE_S: Final = 5.0
"""How long a child may take to end after Ctrl-C."""
EXIT_S: Final = 30.0
"""How long a child may take to end after its row is measured."""
NUM_TAIL: Final = 6


def run_row(
    config: RunConfig, folder: Path, tell: Progress, models: Sequence[str]
) -> Iterator[Record | FailedRow]:
    """Measure one row as `measure_row.measure_row` does, in a child; a crash is a failed row."""
    job = {
        "config": dataclasses.asdict(config),
        "folder": str(folder),
        "models": list(models),
        "argv": sys.argv[1:],
    }
    answers: dict[str, Any] = {}
    with _interruptible(job, tell) as child:
        try:
            is_late = _listen(child, tell, answers)
        except KeyboardInterrupt:
            if "record" in answers:  # it had only to end
                yield read_record(Path(answers["record"]))
            raise
        if "record" in answers:
            if is_late:
                tell.note(f"The row's process did not end within {EXIT_S:g} s, and was killed.")
            elif child.status:
                tell.note(f"The row's process {child.ending} after it was measured.")
            yield read_record(Path(answers["record"]))
        elif "failed" in answers:
            failed = answers["failed"]
            yield FailedRow(failed["model"], failed["loader"], unpack_error(failed["error"]))
        elif "ends" not in answers:
            yield FailedRow(
                config.model[0], config.timed_loader, _crash(child, config, folder, tell)
            )
        if "ends" in answers:
            raise unpack_error(answers["ends"])


def find_missing(names: Sequence[str], tell: Progress) -> dict[str, str]:
    """The loaders among these that cannot run here, and why; asked in a child, which imports all.

    A child that crashes over it says nothing: the rows will.
    """
    answers: dict[str, Any] = {}
    with _interruptible({"loaders": list(names)}, tell) as child:
        _listen(child, tell, answers)
    found: dict[str, str] = answers.get("missing", {})
    return found


@contextlib.contextmanager
def _interruptible(job: dict[str, Any], tell: Progress) -> Iterator[ChildProcess]:
    """A child that has some time to stop its workers when Ctrl-C ends this process's wait."""
    with ChildProcess(MODULE, job, flags=("-X", "faulthandler")) as child:
        try:
            yield child
        except KeyboardInterrupt:
            child.interrupt()
            if not child.ends_within(GRACE_S):
                tell.note(f"The row did not end within {GRACE_S:g} s, and was killed.")
            raise


def _listen(child: ChildProcess, tell: Progress, answers: dict[str, Any]) -> bool:
    """Pass on what the child says until it has ended; whether it had answered and would not end."""
    counts: dict[tuple[str, str], Callable[[int, int], None]] = {}
    deadline = math.inf
    is_late = False
    try:
        while (message := child.next_message(deadline - time.monotonic())) is not None:
            ((kind, what),) = message.items()
            if kind == "say":
                tell.say(what)
            elif kind == "note":
                tell.note(what)
            elif kind == "count":
                doing, done, now, total = what
                if (doing, done) not in counts:
                    counts[doing, done] = tell.count(doing, done)
                counts[doing, done](now, total)
            else:
                answers[kind] = what
                deadline = min(deadline, time.monotonic() + EXIT_S)
            if time.monotonic() > deadline:  # it goes on talking
                is_late = not child.has_ended()
                break
    except TimeoutError:
        is_late = True
    child.end()
    return is_late


def _crash(child: ChildProcess, config: RunConfig, folder: Path, tell: Progress) -> CrashError:
    """What became of a child that left no answer; its output is kept, and its end shown."""
    output, lines = child.read_output()
    where = ""
    if lines:
        stem = f"crash-{config.model[0]}-{config.timed_loader}".replace("/", "_")
        path = folder / f"{stem}-{os.getpid()}-{time.time_ns() // 10**6}.log"
        with contextlib.suppress(OSError):  # the row has failed in any case
            path.write_bytes(output)
            where = f" Its output is in {path}."
        title = f"{config.model[0]} · {config.timed_loader} crashed, and wrote last:"
        tell.note("\n".join((title, *(f"  | {line}" for line in lines[-NUM_TAIL:]))))
    if child.status == -signal.SIGKILL:
        advice = "Mostly that is the system, out of memory: try a smaller --batch-size."
    elif child.status < 0:
        advice = "That is a fault of a library or a driver: try other versions of it."
    else:
        advice = "That is a bug of fastbench or of the loader: report it."
    return CrashError(f"The row's process {child.ending}. {advice}{where}")


def work(job: dict[str, Any], channel: Channel) -> None:
    """What the child does."""
    if "loaders" in job:
        channel.send(missing=_missing(job["loaders"]))
    else:
        _measure(job, channel)


def _measure(job: dict[str, Any], channel: Channel) -> None:
    config = RunConfig.from_json(job["config"])
    sys.argv[1:] = job["argv"]  # the record has the command that was given
    channel.say(f"{config.model[0]} · {config.timed_loader}: loading torch")
    from fastbench.runner.measure_row import measure_row

    for row, path in measure_row(config, Path(job["folder"]), channel, job["models"]):
        if isinstance(row, FailedRow):
            error = pack_error(row.error)
            channel.send(failed={"model": row.model, "loader": row.loader, "error": error})
        else:
            channel.send(record=str(path))


def _missing(names: list[str]) -> dict[str, str]:
    from fastbench.loaders.registry import why_not

    found = {name: why_not(name) for name in names}
    return {name: why for name, why in found.items() if why is not None}


if __name__ == "__main__":
    sys.exit(serve(work))
