"""What the measuring commands share: an output folder, the rows, and their table.

Whatever ends a run (a row that fails, Ctrl-C, SIGTERM, a full disk), the rows that were measured
are on disk and shown, and the exit code tells the worst that happened (see `core/errors.py`).
"""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from fastbench.cli.output import complain, say
from fastbench.core import terminal
from fastbench.core.atomic_files import in_use
from fastbench.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    FastbenchError,
    OutputError,
    UsageError,
)
from fastbench.records.gates import failures_of
from fastbench.records.load import LoadRecord
from fastbench.records.load_validity import find_contradictions_under_load
from fastbench.records.naming import full_name
from fastbench.records.record import NO_PARITY, AbRecord, FailedRow, ParityRecord, Record
from fastbench.records.validity import find_contradictions
from fastbench.report.formats import wall_time
from fastbench.runner import default_loader
from fastbench.runner.kept import FOLDER
from fastbench.runner.options_file import read_options
from fastbench.runner.output_folder import discard_if_empty, kept_in_words, open_output
from fastbench.runner.plan import PLAN_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from fastbench.core.progress import RowProgress
    from fastbench.runner.plan import Plan

    AnyRecord = Record | LoadRecord | ParityRecord | AbRecord
    Rows = Callable[[Path, RowProgress], Iterator[AnyRecord | FailedRow]]


def measure(output: str | None, make_rows: Rows, plan: Plan | None = None) -> int:
    """Run row by row, keep and show what was measured whatever happens; return the exit code.

    `output` is the folder for the records, None for a new one. `plan` is what `make_rows` goes
    through, None for a command without a plan.
    """
    since = time.monotonic()
    folder, is_new = open_output(output)

    from fastbench.core.console import ConsoleProgress

    records: list[AnyRecord] = []
    complaints: list[str | FastbenchError | FailedRow] = []
    code = 0
    with in_use(folder, folder / FOLDER), ConsoleProgress() as progress:
        try:
            for row in make_rows(folder, progress):
                if isinstance(row, FailedRow):
                    complaints.append(row)
                    # A row that is missing outweighs one that is wrong.
                    code = row.error.exit_code if code in (0, EXIT_WRONG) else code
                    continue
                records.append(row)
                if isinstance(row, Record) and (invalid := find_contradictions(row)):
                    complaints.append(f"{full_name(row)} is INVALID: {invalid[0]}.")
                    code = 1
                if isinstance(row, LoadRecord) and (why := _why_invalid(row)):
                    complaints.append(f"{full_name(row)} is INVALID: {why}.")
                    code = 1
                if isinstance(row, Record) and plan and (lost := _lost_parity(row, plan)):
                    complaints.append(f"{full_name(row)}: {lost}")
                    code = 1
                if not isinstance(row, AbRecord) and failures_of(row):
                    code = code or EXIT_WRONG
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            resume = shlex.join(["fastbench", "run", "--resume", str(folder)])
            goes_on = f" Go on with: {resume}" if plan and _is_kept(plan, folder) else ""
            complaints.append(f"Interrupted: {kept_in_words(records, folder)}.{goes_on}")
        except FastbenchError as error:
            code = error.exit_code
            complaints.append(error)
    try:
        if records:
            for unwritten in show(records, folder):
                complaints.append(unwritten)
                code = unwritten.exit_code if code in (0, EXIT_WRONG) else code
            earlier = [*plan.finished.values()] if plan else []
            new = [x for x in records if isinstance(x, Record) and x not in earlier]
            if new:
                say(wall_time.in_words(new, time.monotonic() - since))
        elif is_new:
            discard_if_empty(folder)
    finally:  # also where stdout cannot be written
        for complaint in complaints:
            complain(complaint)
    return code


def _why_invalid(record: LoadRecord) -> str | None:
    """Why its last run counts for nothing; None for one that does."""
    if contradictions := find_contradictions_under_load(record):
        return contradictions[0]
    if record.result.is_valid:
        return None
    return record.search_ended or "; ".join(record.result.why_not)


def with_loader(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a loader that is installed; stderr says if it is not the usual one."""
    chosen, note = default_loader.with_loader(options)
    if note:
        complain(note)
    return chosen


def _lost_parity(record: Record, plan: Plan) -> str | None:
    """Why a row could not be compared, where the reference has no row of its own to say so."""
    if any(row.loader == row.config.reference for row in plan.rows):
        return None
    return next((note for note in record.notes if note.startswith(NO_PARITY)), None)


def _is_kept(plan: Plan, folder: Path) -> bool:
    """Whether the plan in the folder is this one, and not an earlier run's."""
    try:
        return read_options(folder / PLAN_FILE) == plan.options
    except UsageError:  # there is none
        return False


def show(records: list[AnyRecord], folder: Path) -> list[OutputError]:
    """Print the rows and write the accuracy study; the errors of what could not be written."""
    from fastbench.report.columns.column import Row
    from fastbench.report.formats import ab_screen, parity_screen
    from fastbench.report.formats.accuracy_text import write_study
    from fastbench.report.formats.load_screen import print_load
    from fastbench.report.formats.run_screen import print_run

    console = terminal.console(highlight=False)
    timed = [record for record in records if isinstance(record, Record)]
    loaded = [record for record in records if isinstance(record, LoadRecord)]
    if loaded:
        print_load(loaded, console)
    else:
        print_run([Row(record=record) for record in timed], console)
    pictures, errors = [], []
    try:
        pictures = write_study(timed, folder)
    except OutputError as error:  # the rows that failed are still to be named
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
    if loaded:
        more = shlex.join(["fastbench", "report", str(folder), "--plots", str(folder)])
        say(f"Latency by rate, and its distribution: {more}; a page: --html FILE")
    if timed:
        more = shlex.join(["fastbench", "report", str(folder), "--details"])
        say(f"More on each row: {more}; plots: --plots DIR; a page: --html FILE")
    return errors
