"""The Python interface: what `import fastbench` offers. `docs/python.md` shows it in use.

records = fastbench.run(model="resnet50", loader=["dali", "torchvision"], data="val")
records = fastbench.read_records("fastbench-results")
fastbench.compare("before", "after")
"""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.command_options import CALL_VARIABLE, PlanOptions
from fastbench.core.config import OPTIONS
from fastbench.core.errors import (
    FastbenchError,
    RecordError,
    RowsFailedError,
    UsageError,
    did_you_mean,
)
from fastbench.core.options import declared
from fastbench.core.reading import check_working_folder, user_path
from fastbench.core.units import counted
from fastbench.records.record import FailedRow, Record
from fastbench.report.collection import Records
from fastbench.report.columns.column import Row
from fastbench.report.compare.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fastbench.core.options import Option
    from fastbench.report.columns.load import LoadRow
    from fastbench.report.compare.pairing import Side

_COMMAND_LINE: Final = ("ab", "dry_run")
"""Options of the command alone."""
_KNOWN: Final = {
    name: option
    for name, option in {**OPTIONS, **declared(PlanOptions)}.items()
    if name not in _COMMAND_LINE
}
_FIRST: Final = ("model", "loader", "data")
_MOST_NOTED: Final = 1000
"""Characters of a call that a record has."""
_measuring: Final = threading.Lock()


def run(
    model: Any = None,
    loader: Any = None,
    data: Any = None,
    *,
    progress: bool = True,
    **options: Any,
) -> Records:
    """Measure, as `fastbench run` does; the records of the rows, which are on disk too.

    `options` are those of the command line, with `_` for `-`: `batch_size=[32, 64]`, `quick=True`.
    Several values are a list; every combination is a row. `model` is a name, a `torch.nn.Module`, a
    `fastbench.models.base.Model`, a mapping from names of your own to such objects, or a list of
    them.

    A named model has a process of its own for each row. An object is measured in this process, and
    its record says so: a copy in inference mode, with the usual preprocessing for ImageNet if it is
    no `Model` that states another. `compile=True` then drops what torch.compile has made here, and
    `allocator="keep"` holds from then on; the default is `system`.

    `progress` shows what is being done, on stderr. A row whose predictions are wrong is no error:
    see the column `status`.

    Raises `UsageError` for what cannot be asked for, `RowsFailedError` after the last row where
    some have failed, and another `FastbenchError` for what ends the run. Each has the rows that
    were measured in `records`.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "fastbench.run was called as a process that this program starts itself runs the "
            'program again. Put the call below `if __name__ == "__main__":`.'
        )
    given = {"model": model, "loader": loader, "data": data, **options}
    models = list(model) if isinstance(model, list | tuple) else [] if model is None else [model]
    chosen = _read({**given, "model": None})
    check_working_folder()

    from fastbench.models import held
    from fastbench.runner import cluster

    if (ranks := cluster.here()) is not None:
        raise UsageError(
            f"fastbench.run measures for one process, and {ranks.started.by} started {ranks.size}. "
            f"Start this program by itself, or use the command `fastbench run`."
        )
    with _alone(), held.named(models) as names, _noted(given):
        if names:
            chosen["model"] = OPTIONS["model"].read(names, several=True)
        how = PlanOptions(**{name: chosen.pop(name) for name in [*chosen] if name not in OPTIONS})
        return _run(chosen, how, progress)


def read_records(*paths: str | os.PathLike[str]) -> Records:
    """The records in files and folders, those in sub-folders too.

    Those of `fastbench loadtest` are `under_load`. A damaged record in a folder is warned of, and
    left out. Raises `RecordError` for a path that has no record of either.
    """
    if not paths:
        raise UsageError("There is nothing to read. Name a record, or a folder of records.")

    from fastbench.report.read import read_rows

    rows: dict[str, Row] = {}
    loaded: dict[str, LoadRow] = {}
    found_in = [user_path(os.fspath(path)) for path in paths]
    for path in found_in:
        found = read_rows([path])
        if not found.rows and not found.under_load:
            nothing = f"{path} holds no record of `fastbench run`. Name a folder that it wrote."
            raise RecordError(next(iter(found.complaints), nothing))
        for complaint in found.complaints:
            warnings.warn(complaint, stacklevel=2)
        for row in found.rows:
            rows.setdefault(os.path.realpath(row.path), row)
        for under_load in found.under_load:
            loaded.setdefault(os.path.realpath(under_load.path), under_load)
    folder = found_in[0] if len(paths) == 1 and found_in[0].is_dir() else None
    return Records(rows.values(), folder, loaded.values())


def compare(a: str | os.PathLike[str] | Records, b: str | os.PathLike[str] | Records) -> Comparison:
    """Hold B against A, as `fastbench compare` does: is it slower, and by how much?

    Each is a record, a folder, or records. Raises `RecordError` where they hold no record, or have
    no configuration in common.
    """
    from fastbench.report.compare import pairing
    from fastbench.report.compare.set_comparison import compare_sets

    if isinstance(a, Records) or isinstance(b, Records):
        (name_a, side_a), (name_b, side_b) = _side(a), _side(b)
        pairs = pairing.pair_sides(side_a, side_b, name_a, name_b)
    else:
        name_a, name_b = os.fspath(a), os.fspath(b)
        pairs = pairing.pair_up(user_path(name_a), user_path(name_b))
    return Comparison(compare_sets(pairs, name_a, name_b))


def _side(side: str | os.PathLike[str] | Records) -> tuple[str, Side]:
    """What a side is called, and what it holds."""
    from fastbench.report.compare.pairing import Side, read_side, runs_of

    if not isinstance(side, Records):
        return os.fspath(side), read_side(user_path(os.fspath(side)))
    if not side and not side.under_load:
        raise RecordError("There is no record to compare. Give some on both sides.")
    num = len(side) + len(side.under_load)
    found = Side(runs_of(side.rows), side.under_load.rows)
    return str(side.folder or counted(num, "record")), found


# ----------------------------------------------------------------------------------- of a run


def _read(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are given, by field, as the command line has them."""
    for name in given:
        if name in _COMMAND_LINE:
            raise UsageError(
                f"{name} is an option of the command line alone. Leave it out, or use the command "
                f"`fastbench run`."
            )
    if unknown := [name for name in given if name not in _KNOWN]:
        meant = "".join(did_you_mean(name, list(_KNOWN)) for name in unknown)
        raise UsageError(
            f"fastbench.run has no option {', '.join(map(repr, unknown))}.{meant} Its options are "
            f"those of `fastbench run --help`, with _ for -."
        )
    return {name: _value(_KNOWN[name], value) for name, value in given.items() if value is not None}


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


def _run(given: dict[str, Any], how: PlanOptions, progress: bool) -> Records:
    from fastbench.core.atomic_files import in_use
    from fastbench.core.progress import Silent
    from fastbench.models import held
    from fastbench.runner import kept, row_here
    from fastbench.runner.execute import plan_rows
    from fastbench.runner.output_folder import discard_if_empty, open_output
    from fastbench.runner.plan import make_plan, merge
    from fastbench.runner.possible_rows import refuse_impossible

    options = merge(given, how)
    if options.get("ab"):
        raise UsageError("--ab is for the command line alone. Leave it out of the file of options.")
    if "allocator" not in options and any(held.find(x) for x in options.get("model", ())):
        given["allocator"] = ("system",)  # the other could not be undone in this process
    tell: Any = Silent()
    if progress:
        from fastbench.core.console import ConsoleProgress

        tell = ConsoleProgress()
    found: list[Record] = []
    failed: list[FailedRow] = []
    with tell:
        plan = make_plan(given, how, tell.count)
        refuse_impossible(plan.todo)
        for row in plan.todo:
            if held.find(row.model) is not None:
                row_here.check(row.config)
        for note in (*plan.notes, *(f"Not taken as finished: {x}" for x in plan.damaged)):
            tell.note(note)
        folder, is_new = open_output(plan.output)
        try:
            with in_use(folder, folder / kept.FOLDER):
                for measured in plan_rows(plan, folder, tell):
                    if isinstance(measured, FailedRow):
                        failed.append(measured)
                    else:
                        found.append(measured)
        except KeyboardInterrupt:
            tell.note(_interrupted(len(found), folder))
            raise
        except FastbenchError as ended:
            ended.records = _with_files(found, folder)
            raise
        finally:
            if is_new and not found:
                discard_if_empty(folder)
    records = _with_files(found, folder)
    if failed:
        error = _failure(failed, len(plan.rows))
        error.records = records
        raise error from failed[0].error
    return records


def _interrupted(num: int, folder: Path) -> str:
    """Where the rows are, and how to go on."""
    if not num:
        return "Interrupted: no row was finished."
    rows = counted(num, "finished row is", "finished rows are")
    return f"Interrupted: {rows} in {folder}. Go on with the same call and resume={str(folder)!r}."


def _failure(failed: list[FailedRow], num: int) -> RowsFailedError:
    if num == 1:
        return RowsFailedError(str(failed[0]), failed)
    rows = "".join(f"\n  {row}" for row in failed)
    return RowsFailedError(f"{len(failed)} of {counted(num, 'row')} failed:{rows}", failed)


def _with_files(records: list[Record], folder: Path) -> Records:
    """The records as they are on disk, with their files."""
    from fastbench.report.read import read_rows

    if not records:
        return Records(folder=folder)
    written = read_rows([folder]).rows
    rows = []
    for record in records:
        same = [
            row
            for row in written
            if row.record.created == record.created and row.record.throughput == record.throughput
        ]
        rows.append(same[0] if same else Row(record=record))
    return Records(rows, folder)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Refuse a second run at the same time, in another thread: each would slow the other."""
    if not _measuring.acquire(blocking=False):
        raise UsageError(
            "Another fastbench.run is measuring in this process, and two would slow each other. "
            "Wait until it ends."
        )
    try:
        yield
    finally:
        _measuring.release()


@contextlib.contextmanager
def _noted(given: Mapping[str, Any]) -> Iterator[None]:
    """Have the records say what was called."""
    shown = ", ".join(f"{name}={_shown(x)}" for name, x in given.items() if x is not None)
    os.environ[CALL_VARIABLE] = f"fastbench.run({shown})"[:_MOST_NOTED].replace("\0", "")
    try:
        yield
    finally:
        os.environ.pop(CALL_VARIABLE, None)


def _shown(value: Any) -> str:
    """A value of a call; an object as `<its class>`."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_shown(x)}' for key, x in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    plain = isinstance(value, str | int | float | bool | os.PathLike)
    return repr(value) if plain else f"<{type(value).__name__}>"


def _signature() -> inspect.Signature:
    """The signature of `run` with every option, for editors and `help`."""
    kind = inspect.Parameter.KEYWORD_ONLY
    own = inspect.signature(run).parameters
    more = [
        inspect.Parameter(name, kind, default=option.default)
        for name, option in _KNOWN.items()
        if name not in _FIRST
    ]
    return inspect.Signature(
        [*(own[name] for name in _FIRST), own["progress"], *more], return_annotation="Records"
    )


run.__signature__ = _signature()  # type: ignore[attr-defined]
