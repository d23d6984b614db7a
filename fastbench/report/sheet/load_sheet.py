"""The sheet of rows under load: a table of its own, with what is said of each row below it.

Nothing is ranked: a row is one run, and rows differ in scenario and limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.errors import RecordError
from fastbench.core.units import and_more
from fastbench.records import naming
from fastbench.report.columns.column import OK
from fastbench.report.columns.load import LOAD_DEFAULT, LoadRow
from fastbench.report.columns.registry import COLUMNS, OF_LOAD, choose
from fastbench.report.read import refusing_damage
from fastbench.report.sheet.footnotes import facts, make_footnotes, what_is_common
from fastbench.report.sheet.load_in_words import load_in_words
from fastbench.report.sheet.remarks import remarks_on
from fastbench.report.sheet.table import Details, Group, Line, Sheet, cell_of
from fastbench.report.sheet.view import View

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fastbench.report.columns.column import Column

_LABELS: Final = {name: column for name, column in (COLUMNS | OF_LOAD).items() if column.is_label}
_ALWAYS: Final = ("loader", "scenario")
_MOST_NAMED: Final = 3


def make_load_sheet(
    rows: Iterable[LoadRow], view: View | None = None
) -> tuple[Sheet | None, list[str]]:
    """The sheet, None where no row is left, and complaints of damaged records.

    Of the view it takes the columns that these rows have, and the order.
    """
    view = view or View()
    undamaged, complaints = _undamaged(rows)
    if not undamaged:
        return None, complaints
    rows = _sorted(undamaged, view)
    records = [row.record for row in rows]
    columns = _columns(rows, view)
    shown = {column.name for column in columns}
    every = [facts(row.record, row.version) for row in rows]
    notes, of_rows = make_footnotes(every, shown, [[] for _ in rows])
    names = [" · ".join(name) for name in naming.names(records, always=_ALWAYS)]
    lines = [
        Line(
            row=row,
            name=name,
            facts=its_facts,
            cells=[cell_of(row, column) for column in columns],
            footnotes=its_notes,
        )
        for row, name, its_facts, its_notes in zip(rows, names, every, of_rows, strict=True)
    ]
    sheet = Sheet(
        common=_common(rows, shown),
        columns=columns,
        groups=[Group(heading="", lines=lines)],
        footnotes=notes,
        remarks=[
            *remarks_on([*zip(names, rows, strict=True)]),
            *_unfinished(rows, names),
            *_on_mlperf(rows, names),
        ],
        details=[
            Details(name, load_in_words(row.record))
            for name, row in zip(names, rows, strict=True)
            if not row.invalid
        ],
        is_under_load=True,
    )
    return sheet, complaints


def _common(rows: Sequence[LoadRow], shown: Collection[str]) -> list[str]:
    first, *others = what_is_common([row.record for row in rows], shown)
    return [f"Under load · {first}", *others]


def _undamaged(rows: Iterable[LoadRow]) -> tuple[list[LoadRow], list[str]]:
    found, complaints = [], []
    for row in rows:
        try:
            with refusing_damage(f"{row.path} is a damaged record"):
                _ = hash(tuple(facts(row.record).values())), row.status, load_in_words(row.record)
                for column in (*_LABELS.values(), *OF_LOAD.values()):
                    cell_of(row, column)
        except RecordError as error:
            complaints.append(str(error))
        else:
            found.append(row)
    return found, complaints


def _columns(rows: Sequence[LoadRow], view: View) -> list[Column]:
    """Labels that tell the rows apart, then figures; what was asked for by name as it was."""
    choices = choose(view.columns)
    asked = [x.column for x in choices if x.is_asked and x.column.name in (_LABELS | OF_LOAD)]
    figures = [column for column in OF_LOAD.values() if not column.is_label]
    if asked and (len(asked) == len(choices) or not all(column.is_label for column in asked)):
        return asked
    if view.is_data:
        names = [*naming.CONFIGURATION, *naming.UNDER_LOAD, "file", "status"]
        return [*((COLUMNS | OF_LOAD)[name] for name in names), *figures]
    wanted = {*LOAD_DEFAULT, *(column.name for column in asked)}
    shown = [
        column
        for column in figures
        if column.name in wanted and any(row.value(column) is not None for row in rows)
    ]
    status = [COLUMNS["status"]] if any(row.status != OK for row in rows) else []
    labels = [x for x in asked if x.is_label]
    return list(dict.fromkeys((*_labels(rows), *labels, *status, *shown)))


def _labels(rows: Sequence[LoadRow]) -> list[Column]:
    """The facts in which rows differ, and further ones as long as two rows look alike."""
    records = [row.record for row in rows]
    names = [name for name in naming.CALLED if name in {*naming.varying(records), *_ALWAYS}]
    further = [name for name in _LABELS if name not in names]
    while further and _num_told(rows, names) < len(rows):
        name = further.pop(0)
        if _num_told(rows, [*names, name]) > _num_told(rows, names):
            names.append(name)
    return [_LABELS[name] for name in names]


def _num_told(rows: Sequence[LoadRow], names: Sequence[str]) -> int:
    return len({tuple(row.value(_LABELS[name]) for name in names) for row in rows})


def _sorted(rows: list[LoadRow], view: View) -> list[LoadRow]:
    """By a column that these rows have, as the ordinary table is; else as they were measured."""
    column = view.sort
    if column is not None and column.name in (_LABELS | OF_LOAD):
        known = [row for row in rows if row.value(column) is not None]
        known.sort(key=lambda row: row.value(column), reverse=column.best == "max")  # type: ignore[arg-type,return-value]
        rows = [*known, *(row for row in rows if row.value(column) is None)]
    return rows[::-1] if view.reverse else rows


def _unfinished(rows: Sequence[LoadRow], names: Sequence[str]) -> list[str]:
    return [
        f"{name}: interrupted; the record is of the runs until then, and nothing is confirmed."
        for name, row in zip(names, rows, strict=True)
        if not row.record.is_finished
    ]


def _on_mlperf(rows: Sequence[LoadRow], names: Sequence[str]) -> list[str]:
    """Which rows are shorter than MLPerf's rules ask for; the others are no result of it either."""
    short = [name for name, row in zip(names, rows, strict=True) if not row.record.is_mlperf_length]
    if not short:
        return ["As long as MLPerf's rules ask for, but no MLPerf result: those are reviewed."]
    which = "" if len(short) == len(rows) else f" of {and_more(short, _MOST_NAMED)}"
    return [f"No MLPerf result{which}: shorter than its rules ask for, or with fewer queries."]
