"""What the Python functions that measure share: how their options are read, and how they end.

The functions themselves are in `api.py`.
"""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.command_options import CALL_VARIABLE
from fastbench.core.errors import FastbenchError, RowsFailedError, UsageError, did_you_mean
from fastbench.core.reading import check_working_folder
from fastbench.core.units import counted
from fastbench.records.load import LoadRecord
from fastbench.records.record import FailedRow, Record
from fastbench.report.collection import Records
from fastbench.report.columns.column import Row
from fastbench.report.columns.load import LoadRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from fastbench.core.options import Option

FIRST: Final = ("model", "loader", "data")
"""Arguments that need no name."""
_MOST_NOTED: Final = 1000
"""Characters of a call that a record has."""
_measuring: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function that measures: its name, which is its command's too, and its options by field.

    `of_command` are the options that the command alone has.
    """

    name: str
    options: Mapping[str, Option]
    of_command: tuple[str, ...] = ()

    def check_place(self) -> None:
        """Raise `UsageError` where nothing can be measured: in a process that is not the only one.

        Also where the working folder is gone.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise UsageError(
                f"fastbench.{self.name} was called as a process that this program starts itself "
                f'runs the program again. Put the call below `if __name__ == "__main__":`.'
            )
        check_working_folder()

        from fastbench.runner import cluster

        if (ranks := cluster.here()) is not None:
            or_command = f", or use the command `fastbench {self.name}`"
            raise UsageError(
                f"fastbench.{self.name} measures for one process, and {ranks.started.by} started "
                f"{ranks.size}. Start this program by itself"
                f"{or_command if 'ranks' in self.options else ''}."
            )

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options that are given, by field, as the command line has them."""
        for name in given:
            if name in self.of_command:
                raise UsageError(
                    f"{name} is an option of the command line alone. Leave it out, or use the "
                    f"command `fastbench {self.name}`."
                )
        if unknown := [name for name in given if name not in self.options]:
            meant = "".join(did_you_mean(name, list(self.options)) for name in unknown)
            raise UsageError(
                f"fastbench.{self.name} has no option {', '.join(map(repr, unknown))}.{meant} Its "
                f"options are those of `fastbench {self.name} --help`, with _ for -."
            )
        return {
            name: _value(self.options[name], value)
            for name, value in given.items()
            if value is not None
        }

    @contextlib.contextmanager
    def measuring(self, given: Mapping[str, Any]) -> Iterator[None]:
        """Have the records say what was called.

        Refuses a second call at the same time, in another thread: each would slow the other.
        """
        if not _measuring.acquire(blocking=False):
            other = os.environ.get(CALL_VARIABLE, f"fastbench.{self.name}").partition("(")[0]
            raise UsageError(
                f"Another {other} is measuring in this process, and two would slow each other. "
                f"Wait until it ends."
            )
        shown = ", ".join(f"{name}={_shown(x)}" for name, x in given.items() if x is not None)
        text = f"fastbench.{self.name}({shown})"
        os.environ[CALL_VARIABLE] = text[:_MOST_NOTED].replace("\0", "")
        try:
            yield
        finally:
            os.environ.pop(CALL_VARIABLE, None)
            _measuring.release()

    def signature(self, function: Callable[..., Any]) -> inspect.Signature:
        """The signature of the function with every option, for editors and `help`."""
        kind = inspect.Parameter.KEYWORD_ONLY
        own = inspect.signature(function).parameters
        more = [
            inspect.Parameter(name, kind, default=option.default)
            for name, option in self.options.items()
            if name not in FIRST
        ]
        return inspect.Signature(
            [*(own[name] for name in FIRST), own["progress"], *more],
            return_annotation=inspect.signature(function).return_annotation,
        )


def teller(progress: bool) -> Any:
    """What tells how far it is: on stderr, or nothing."""
    from fastbench.core.console import ConsoleProgress
    from fastbench.core.progress import Silent

    return ConsoleProgress() if progress else Silent()


def measure(
    make_rows: Callable[[Path, Any], Iterable[Any]],
    output: str | None,
    tell: Any,
    num_rows: int,
    *,
    is_resumable: bool = False,
) -> Records:
    """Run row by row, and keep what was measured whatever happens; the records with their files.

    `output` is the folder for the records, None for a new one. Raises as `fastbench.run` does.
    """
    from fastbench.core.atomic_files import in_use
    from fastbench.runner import kept
    from fastbench.runner.output_folder import discard_if_empty, kept_in_words, open_output

    folder, is_new = open_output(output)
    found: list[Record | LoadRecord] = []
    failed: list[FailedRow] = []
    try:
        with in_use(folder, folder / kept.FOLDER):
            for measured in make_rows(folder, tell):
                if isinstance(measured, FailedRow):
                    failed.append(measured)
                else:
                    found.append(measured)
    except KeyboardInterrupt:
        goes_on = f" Go on with the same call and resume={str(folder)!r}."
        more = goes_on if found and is_resumable else ""
        tell.note(f"Interrupted: {kept_in_words(found, folder)}.{more}")
        raise
    except FastbenchError as ended:
        ended.records = _with_files(found, folder)
        raise
    finally:
        if is_new and not found:
            discard_if_empty(folder)
    records = _with_files(found, folder)
    if failed:
        error = _failure(failed, num_rows)
        error.records = records
        raise error from failed[0].error
    return records


def _value(option: Option, value: Any) -> Any:
    """A value as its option reads it: of what may have several a tuple."""
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if not option.is_repeatable:
        return option.read(_plain(option, value))
    values = value if isinstance(value, list | tuple | set | range) else [value]
    return option.read([_plain(option, each) for each in values], several=True)


def _plain(option: Option, value: Any) -> Any:
    """A path as text, a number as text where that is wanted, and True for an option's bare name."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is True and option.bare is not None:
        return option.bare
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and option.kind is str else value


def _shown(value: Any) -> str:
    """A value of a call; an object as `<its class>`."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_shown(x)}' for key, x in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    plain = isinstance(value, str | int | float | bool | os.PathLike)
    return repr(value) if plain else f"<{type(value).__name__}>"


def _failure(failed: list[FailedRow], num: int) -> RowsFailedError:
    if num == 1:
        return RowsFailedError(str(failed[0]), failed)
    rows = "".join(f"\n  {row}" for row in failed)
    return RowsFailedError(f"{len(failed)} of {counted(num, 'row')} failed:{rows}", failed)


def _with_files(records: list[Record | LoadRecord], folder: Path) -> Records:
    """The records as they are on disk, with their files."""
    from fastbench.report.read import read_rows

    if not records:
        return Records(folder=folder)
    written = read_rows([folder])
    rows: list[Row] = []
    under_load: list[LoadRow] = []
    for record in records:
        if isinstance(record, LoadRecord):
            same = [x for x in written.under_load if _figures(x.record) == _figures(record)]
            under_load.append(same[0] if same else LoadRow(record=record))
        else:
            timed = [x for x in written.rows if _figures(x.record) == _figures(record)]
            rows.append(timed[0] if timed else Row(record=record))
    return Records(rows, folder, under_load)


def _figures(record: Record | LoadRecord) -> tuple[object, object]:
    """What no two records have in common."""
    figures = record.runs if isinstance(record, LoadRecord) else record.throughput
    return record.created, figures
