"""What the measuring commands share: an output folder, rows, and what becomes of them.

Whatever ends a run (a row that fails, Ctrl-C, a full disk), the rows that were measured are on disk
and shown, and the exit code tells the worst that happened (see `errors.py`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench.errors import EXIT_INTERRUPTED, EXIT_WRONG, FastbenchError, OutputError
from fastbench.results import AbRecord, FailedRow, ParityRecord, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastbench.config import RunConfig
    from fastbench.report.progress import Progress

    AnyRecord = Record | ParityRecord | AbRecord
    Rows = Callable[[RunConfig, Path, Progress], Iterator[AnyRecord | FailedRow]]

__all__ = ["ab_rows", "complain", "measure", "parity_rows", "rows", "say"]


def measure(config: RunConfig, make_rows: Rows) -> int:
    """Run row by row, keep what was measured whatever happens, and show it; the exit code."""
    # OpenMP's threads spin while they wait, and take the cores from the loader's workers: on two
    # cores without a GPU that costs a third of the throughput. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder, is_new = _open_output(config.output)

    from fastbench.report.progress import Progress

    records: list[AnyRecord] = []
    complaints: list[str] = []
    code = 0
    with Progress() as progress:
        progress.say("loading torch")
        try:
            for row in make_rows(config, folder, progress):
                if isinstance(row, FailedRow):
                    complaints.append(f"{row.model} · {row.loader}: {row.error}")
                    # A row that is missing outweighs one that is wrong.
                    code = row.error.exit_code if code in (0, EXIT_WRONG) else code
                    continue
                records.append(row)
                if isinstance(row, Record) and row.invalid:
                    complaints.append(f"{row.model} · {row.loader} is INVALID: {row.invalid[0]}.")
                    code = 1
                if not isinstance(row, AbRecord) and row.failures:
                    code = code or EXIT_WRONG
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            num = len(records)
            kept = f"{num} finished row{' is' if num == 1 else 's are'} in {folder}"
            complaints.append(f"Interrupted: {kept if num else 'no row was finished'}.")
        except FastbenchError as error:
            code = error.exit_code
            complaints.append(str(error))
    if records:
        _show(records, folder)
    elif is_new and not any(folder.iterdir()):
        folder.rmdir()
    for complaint in complaints:
        complain(complaint)
    return code


def rows(config: RunConfig, folder: Path, progress: Progress) -> Iterator[Record | FailedRow]:
    """The rows of `fastbench run`."""
    from fastbench.report.predictions import PredictionsFile
    from fastbench.session import Session
    from fastbench.workbench import Workbench

    workbench = Workbench(config, folder, say=progress.say, count=progress.count)
    file = PredictionsFile(Path(config.predictions).expanduser()) if config.predictions else None
    if workbench.device.type == "cpu":
        progress.note("No GPU is used: DALI and the model run on the CPU.")
    yield from Session(workbench, file).rows()


def parity_rows(
    config: RunConfig, folder: Path, progress: Progress
) -> Iterator[ParityRecord | FailedRow]:
    """The rows of `fastbench parity`."""
    from fastbench import comparison
    from fastbench.workbench import Workbench

    workbench = Workbench(config, folder, say=progress.say, count=progress.count)
    yield from comparison.parity_rows(workbench)


def ab_rows(config: RunConfig, folder: Path, progress: Progress) -> Iterator[AbRecord | FailedRow]:
    """The rows of `fastbench run --ab`."""
    from fastbench import ab
    from fastbench.workbench import Workbench

    a, b = (
        Workbench(side, folder, say=progress.say, count=progress.count)
        for side in (config, config.other_side())
    )
    yield from ab.ab_rows(a, b, progress.count)


def _show(records: list[AnyRecord], folder: Path) -> None:
    from rich.console import Console

    from fastbench.report import ab, parity, table
    from fastbench.report.study import write_study

    console = Console()
    timed = [record for record in records if isinstance(record, Record)]
    if timed:
        console.print(table.render(timed))
    pictures = write_study(timed, folder)
    for record in records:
        if isinstance(record, ParityRecord):
            console.print(parity.render(record))
        elif isinstance(record, AbRecord):
            console.print(ab.render(record))
    say(f"Records: {folder}")
    if pictures:
        say(f"Accuracy: {', '.join(map(str, pictures))}")


def _open_output(asked: str | None) -> tuple[Path, bool]:
    """Make the folder for the records now, not after an hour of measuring; and was it made?"""
    from datetime import datetime

    default = Path("fastbench-results") / f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    folder = Path(asked).expanduser() if asked else default
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".fastbench-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"The output folder {folder} cannot be written ({error.strerror}). "
            f"Name another with --output."
        ) from error
    return folder, is_new


def say(text: str) -> None:
    """A line of result, on stdout."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """A line of error, on stderr."""
    sys.stderr.write(f"fastbench: {text}\n")
