"""What the measuring commands share: an output folder, rows, and what becomes of them.

Whatever ends a run (a row that fails, Ctrl-C, SIGTERM, a full disk), the rows that were measured
are on disk and shown, and the exit code tells the worst that happened (see `errors.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench import references
from fastbench.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    FastbenchError,
    LoaderMissingError,
    OutputError,
    UsageError,
)
from fastbench.options import read_options, write_options
from fastbench.records.gates import failures_of
from fastbench.records.record import EVERY_LOADER, AbRecord, FailedRow, ParityRecord, Record
from fastbench.records.validity import find_contradictions
from fastbench.sweep import PLAN_FILE, RESULTS, seconds_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.cli_console import Progress
    from fastbench.core.config import RunConfig
    from fastbench.sweep import Plan

    AnyRecord = Record | ParityRecord | AbRecord
    Rows = Callable[[Path, Progress], Iterator[AnyRecord | FailedRow]]

__all__ = ["ab_rows", "complain", "measure", "parity_rows", "plan_rows", "say"]


def measure(output: str | None, make_rows: Rows, plan: Plan | None = None) -> int:
    """Run row by row, keep what was measured whatever happens, and show it; the exit code.

    `output` is the folder for the records, None for a new one; `plan` is that of the rows, where
    they have one.
    """
    # OpenMP's threads spin while they wait, and take the cores from the loader's workers: on two
    # cores without a GPU that costs a third of the throughput. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder, is_new = _open_output(output)

    from fastbench.cli_console import Progress

    records: list[AnyRecord] = []
    complaints: list[str] = []
    code = 0
    with Progress() as progress, _terminated_like_interrupted():
        try:
            for row in make_rows(folder, progress):
                if isinstance(row, FailedRow):
                    complaints.append(str(row))
                    # A row that is missing outweighs one that is wrong.
                    code = row.error.exit_code if code in (0, EXIT_WRONG) else code
                    continue
                records.append(row)
                if isinstance(row, Record) and (invalid := find_contradictions(row)):
                    complaints.append(f"{row.model} · {row.loader} is INVALID: {invalid[0]}.")
                    code = 1
                if not isinstance(row, AbRecord) and failures_of(row):
                    code = code or EXIT_WRONG
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            num = len(records)
            kept = f"{num} finished row{' is' if num == 1 else 's are'} in {folder}"
            resume = shlex.join(["fastbench", "run", "--resume", str(folder)])
            goes_on = f" Go on with: {resume}" if plan and _is_kept(plan, folder) else ""
            complaints.append(f"Interrupted: {kept if num else 'no row was finished'}.{goes_on}")
        except FastbenchError as error:
            code = error.exit_code
            complaints.append(str(error))
    if records:
        for unwritten in _show(records, folder):
            complaints.append(str(unwritten))
            code = unwritten.exit_code if code in (0, EXIT_WRONG) else code
    elif is_new:
        shutil.rmtree(folder / references.FOLDER, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    for complaint in complaints:
        complain(complaint)
    return code


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends rows as Ctrl-C does: a loader may have gigabytes of files to remove."""
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def plan_rows(
    plan: Plan, apart: bool, folder: Path, progress: Progress
) -> Iterator[Record | FailedRow]:
    """The rows of `fastbench run`, where there are several each in a process of its own.

    `apart` False keeps all of them in this one: a row that crashes is then the end.
    """
    from fastbench.apart import find_missing, run_row

    todo = plan.todo
    if todo:
        _check_predictions(plan)
    run = run_row if apart and len(plan.rows) > 1 else _run_row_here
    if plan.num_changed:
        num = plan.num_changed
        rows, again = ("row", "it is") if num == 1 else ("rows", "they are")
        progress.note(
            f"{num} finished {rows} had other images, labels or weights: {again} run again."
        )
    optional = tuple(dict.fromkeys(row.loader for row in todo if row.only_if_here))
    if optional:
        progress.say("looking which loaders run here")
    missing = find_missing(optional, progress) if optional else {}
    for loader, why in missing.items():
        progress.note(f"{loader} is left out: {why}")
    todo = [row for row in todo if row.loader not in missing]
    models: Sequence[str] = tuple(dict.fromkeys(row.model for row in todo))
    failed: set[tuple[object, ...]] = set()
    seconds: list[float] = []
    written = False
    for row in plan.rows:
        if row.digest in plan.finished:
            yield plan.finished[row.digest]
            continue
        if row.loader in missing or row.group in failed:
            continue
        number = todo.index(row)
        left_s = seconds_left(seconds, len(todo) - number)
        how = plan.how(row)
        progress.row(number, len(todo), plan.title(row), left_s, " · ".join(how))
        start = time.monotonic()
        for measured in run(row.config, folder, progress, models):
            if isinstance(measured, Record):
                seconds.append(time.monotonic() - start)
                yield measured  # before anything else can fail
                if not written:
                    write_options(plan.options, folder / PLAN_FILE)
                    written = True
            elif row.only_if_here and isinstance(measured.error, LoaderMissingError):
                missing[row.loader] = str(measured.error)
                progress.note(f"{row.loader} is left out: {measured.error}")
            else:
                if measured.loader == EVERY_LOADER:
                    failed.add(row.group)
                yield dataclasses.replace(measured, how=tuple(how))
        models = ()  # the first row has looked at their names


def _run_row_here(
    config: RunConfig, folder: Path, progress: Progress, models: Sequence[str]
) -> Iterator[Record | FailedRow]:
    progress.say("loading torch")
    from fastbench.session import measure_row

    for row, _ in measure_row(config, folder, progress, models):
        yield row


def _is_kept(plan: Plan, folder: Path) -> bool:
    """Whether the folder's plan is this one, and not that of an earlier run."""
    try:
        return read_options(folder / PLAN_FILE) == plan.options
    except UsageError:  # there is none
        return False


def _check_predictions(plan: Plan) -> None:
    """A run that goes on adds to the file of predictions; any other makes it."""
    from fastbench.predictions_csv import PredictionsFile

    name = plan.options.get("predictions")
    if name is not None and not plan.resumed:
        PredictionsFile(Path(name).expanduser()).check()


def parity_rows(
    config: RunConfig, folder: Path, progress: Progress
) -> Iterator[ParityRecord | FailedRow]:
    """The rows of `fastbench parity`."""
    progress.say("loading torch")
    from fastbench import comparison
    from fastbench.workbench import Workbench

    workbench = Workbench(config, folder, say=progress.say, count=progress.count)
    yield from comparison.parity_rows(workbench)


def ab_rows(config: RunConfig, folder: Path, progress: Progress) -> Iterator[AbRecord | FailedRow]:
    """The rows of `fastbench run --ab`."""
    progress.say("loading torch")
    from fastbench import ab
    from fastbench.workbench import Workbench

    a, b = (
        Workbench(side, folder, say=progress.say, count=progress.count)
        for side in (config, config.other_side())
    )
    yield from ab.ab_rows(a, b, progress.count)


def _show(records: list[AnyRecord], folder: Path) -> list[OutputError]:
    """Print the rows and write the study; what could not be written."""
    from rich.console import Console

    from fastbench.report.formats import ab_screen, parity_screen, run_table
    from fastbench.report.formats.accuracy_text import write_study

    console = Console()
    # On a narrower one rich would cut figures short: the terminal folds the lines instead.
    console.width = max(run_table.NARROWEST, console.width)
    timed = [record for record in records if isinstance(record, Record)]
    if timed:
        console.print(run_table.render(timed))
    pictures, errors = [], []
    try:
        pictures = write_study(timed, folder)
    except OutputError as error:  # the rows that failed are yet to be told
        errors.append(error)
    for record in records:
        if isinstance(record, ParityRecord):
            console.print(parity_screen.render(record))
        elif isinstance(record, AbRecord):
            console.print(ab_screen.render(record))
    say(f"Records: {folder}")
    if pictures:
        say(f"Accuracy: {', '.join(map(str, pictures))}")
    if len({record.loader for record in timed}) > 2:
        say(f"Loaders: {shlex.join(['fastbench', 'report', str(folder), '--columns', 'loaders'])}")
    elif len(timed) > 1:
        say(f"Tables, plots, a page: {shlex.join(['fastbench', 'report', str(folder)])}")
    return errors


def _open_output(asked: str | None) -> tuple[Path, bool]:
    """Make the folder for the records now, not after an hour of measuring; and was it made?"""
    folder = Path(asked).expanduser() if asked else RESULTS
    is_new = not asked or not folder.exists()
    try:
        if asked:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = _make_new_folder()
        probe = folder / f".fastbench-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"The output folder {folder} cannot be written ({error.strerror}). "
            f"Name another with --output."
        ) from error
    return folder, is_new


def _make_new_folder() -> Path:
    """A folder named after the time, and of this run alone: two may start in the same second."""
    from datetime import datetime

    stem = f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    for number in itertools.count(1):
        folder = RESULTS / (stem if number == 1 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError


def say(text: str) -> None:
    """A line of result, on stdout."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """A line of error, on stderr."""
    sys.stderr.write(f"fastbench: {text}\n")
