"""The Python interface: what `import fastbench` offers. `docs/python.md` shows it in use.

records = fastbench.run(model="resnet50", loader=["dali", "torchvision"], data="val")
records = fastbench.loadtest(model="resnet50", loader="dali", data="val", latency="15ms@p99")
records = fastbench.read_records("fastbench-results")
fastbench.compare("before", "after")
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import TYPE_CHECKING, Any, Final

from fastbench.calls import Call, measure, teller
from fastbench.core.command_options import PlanOptions
from fastbench.core.config import OPTIONS
from fastbench.core.errors import FastbenchError, RecordError, UsageError
from fastbench.core.load_options import LOAD_OPTIONS, OF_RUN
from fastbench.core.options import declared
from fastbench.core.reading import user_path
from fastbench.core.units import counted
from fastbench.report.collection import LoadRecords, Records
from fastbench.report.compare.comparison import Comparison

if TYPE_CHECKING:
    from fastbench.report.columns.column import Row
    from fastbench.report.columns.load import LoadRow
    from fastbench.report.compare.pairing import Side

_COMMAND_LINE: Final = ("ab", "dry_run")
_RUN: Final = Call(
    name="run",
    options={
        name: option
        for name, option in {**OPTIONS, **declared(PlanOptions)}.items()
        if name not in _COMMAND_LINE
    },
    of_command=_COMMAND_LINE,
)
_LOADTEST: Final = Call(
    name="loadtest", options={**{name: OPTIONS[name] for name in OF_RUN}, **LOAD_OPTIONS}
)


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
    _RUN.check_place()
    given = {"model": model, "loader": loader, "data": data, **options}
    models = _listed(model)
    chosen = _RUN.read({**given, "model": None})

    from fastbench.models import held

    with _RUN.measuring(given), held.named(models) as names:
        if names:
            chosen["model"] = OPTIONS["model"].read(names, several=True)
        how = PlanOptions(**{name: chosen.pop(name) for name in [*chosen] if name not in OPTIONS})
        return _run(chosen, how, progress)


def loadtest(
    model: Any = None,
    loader: Any = None,
    data: Any = None,
    *,
    progress: bool = True,
    **options: Any,
) -> LoadRecords:
    """Measure under load, as `fastbench loadtest` does; the records, which are on disk too.

    `options` are those of the command line, with `_` for `-`: `rate=[100, 200]`, `quick=True`.
    Several values are a list; every combination is a row. `model` is a name, a file or
    `package.module:callable`, or a list of them, and no object: each row has a process of its own.

    `progress` shows what is being done, on stderr. A run that is not valid is no error: see
    `result.is_valid` and `result.why_not` of its record.

    Raises `UsageError` for what cannot be asked for, `InstallationError` without LoadGen,
    `RowsFailedError` after the last row where some have failed, and another `FastbenchError` for
    what ends the run. Each has the rows that were measured in `records`.
    """
    _LOADTEST.check_place()
    for each in _listed(model):
        if not isinstance(each, str | os.PathLike):
            raise UsageError(
                f"A model is of type {type(each).__name__}. LoadGen cannot be stopped inside a "
                f"program, so each row has a process of its own, which has no objects of yours. "
                f"Give a name, a file or package.module:callable, or a list of them."
            )
    given = {"model": model, "loader": loader, "data": data, **options}
    chosen = _LOADTEST.read(given)

    from fastbench.runner import default_loader
    from fastbench.scenarios.loadgen import check_installed
    from fastbench.scenarios.plan import plan, rows

    with _LOADTEST.measuring(given), teller(progress) as tell:
        check_installed()
        chosen, note = default_loader.with_loader(chosen)
        if note:
            tell.note(note)
        configs = plan(chosen)
        make_rows = functools.partial(rows, configs)
        try:
            return measure(make_rows, chosen.get("output"), tell, len(configs)).under_load
        except FastbenchError as ended:
            if isinstance(ended.records, Records):
                ended.records = ended.records.under_load
            raise


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


def _listed(model: Any) -> list[Any]:
    """The models that are given: one, several, or none."""
    if isinstance(model, list | tuple):
        return list(model)
    return [] if model is None else [model]


def _run(given: dict[str, Any], how: PlanOptions, progress: bool) -> Records:
    from fastbench.models import held
    from fastbench.runner import row_here
    from fastbench.runner.execute import plan_rows
    from fastbench.runner.plan import make_plan, merge
    from fastbench.runner.possible_rows import refuse_impossible

    options = merge(given, how)
    if options.get("ab"):
        raise UsageError("--ab is for the command line alone. Leave it out of the file of options.")
    if "allocator" not in options and any(held.find(x) for x in options.get("model", ())):
        given["allocator"] = ("system",)  # the other could not be undone in this process
    with teller(progress) as tell:
        plan = make_plan(given, how, tell.count)
        refuse_impossible(plan.todo)
        for row in plan.todo:
            if held.find(row.model) is not None:
                row_here.check(row.config)
        for note in (*plan.notes, *(f"Not taken as finished: {x}" for x in plan.damaged)):
            tell.note(note)
        make_rows = functools.partial(plan_rows, plan)
        return measure(make_rows, plan.output, tell, len(plan.rows), is_resumable=True)


run.__signature__ = _RUN.signature(run)  # type: ignore[attr-defined]
loadtest.__signature__ = _LOADTEST.signature(loadtest)  # type: ignore[attr-defined]
