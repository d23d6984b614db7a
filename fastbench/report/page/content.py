"""What does the page of a report show? A sheet's rows and columns as plain data for a script.

The page's script sorts, filters and draws; every word and every rounded figure is made here, by the
same registry as the other formats. All columns that any row has a value for go along, so that the
reader can show or plot what the command did not ask for. Columns lie column by column:

    values   raw numbers in the column's unit, or text; None where there is none
    texts    as people read them; `details` stands below, `bounds` is the value's range
    factor   from the raw unit to the one that is shown: 1000 for s -> ms

What it does not know: how wide a screen is, and which rows a reader filters away.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from fastbench.advice import NAMES, advise_all
from fastbench.report.columns import COLUMNS
from fastbench.report.contrast import CONFIGURATION
from fastbench.report.page.facts import facts_of
from fastbench.report.rows import INVALID, OK
from fastbench.report.sheet import why_unranked
from fastbench.report.unlike import facts, is_comparable, usual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.advice import Advice
    from fastbench.report.columns import Bounds, Column
    from fastbench.report.rows import Row
    from fastbench.report.sheet import Sheet

__all__ = ["FACTORS", "PIPELINE", "describe"]

PIPELINE: Final = "pipeline"
"""The column of pictures: loader alone, model alone, both together."""

FACTORS: Final = {
    ("share", "%"): 1e2,
    ("share", "pt"): 1e2,
    ("s", "ms"): 1e3,
    ("bytes", "GB"): 1e-9,
    ("bytes/s", "MB/s"): 1e-6,
    ("parameters", "M"): 1e-6,
    ("MACs", ""): 1e-9,
}
"""From a column's raw unit to the unit of its text, where that is another."""

_SPEED: Final = "images/s"
_FACETS: Final = (
    *("device", "model", "weights", "loader", "decoder", "dtype", "batch", "compile", "threads"),
    *("images", "page-cache", "bound", "parity", "status", "cpu", "torch", "dali", "driver"),
)
_MOST_CHOICES: Final = 60


def describe(sheet: Sheet) -> dict[str, Any]:
    """All that the page shows of a sheet, as JSON has it."""
    rows = [line.row for line in sheet.lines]
    every = [facts(row) for row in rows]
    common = usual(every)
    titles = _titles(rows)
    return {
        "columns": _columns(rows),
        "shown": _shown(sheet, rows),
        "facets": [name for name in _FACETS if _num_choices(name, rows) in _CHOICES],
        "rows": [
            {
                "title": title,
                "file": line.row.path.name,
                "status": line.row.status,
                "isRanked": line.row.status == OK and is_comparable(its, common),
                "marks": [note.mark for note in line.footnotes],
                "problems": why_unranked(line.row),
                "doubts": [_doubt(advice) for _, advice in _advise([line.row])],
                "facts": facts_of(line.row),
            }
            for title, line, its in zip(titles, sheet.lines, every, strict=True)
        ],
        "advice": [{"row": number, **_doubt(advice)} for number, advice in _advise(rows)],
        "footnotes": [{"mark": note.mark, "text": note.text} for note in sheet.footnotes],
        "common": sheet.common,
        "remarks": sheet.remarks,
    }


_CHOICES: Final = range(2, _MOST_CHOICES + 1)


def _num_choices(name: str, rows: Sequence[Row]) -> int:
    return len({row.value(COLUMNS[name]) for row in rows})


def _advise(rows: Sequence[Row]) -> list[tuple[int, Advice]]:
    """The doubts of rows, the gravest first, each once with the number of the first that has it.

    An INVALID row's figures say nothing, and give reason for no advice.
    """
    sound = {id(row.record): number for number, row in enumerate(rows) if not row.invalid}
    records = [rows[number].record for number in sound.values()]
    return [(sound[id(record)], advice) for record, advice in advise_all(records, len(NAMES))]


def _doubt(advice: Advice) -> dict[str, str]:
    return {"name": advice.name, "doubt": advice.doubt, "remedy": advice.remedy}


def _titles(rows: Sequence[Row]) -> list[str]:
    """What each row is called: model, loader, and what else of the configuration differs."""
    names = [
        name
        for name in CONFIGURATION
        if name in ("model", "loader") or len({row.value(COLUMNS[name]) for row in rows}) > 1
    ]
    return [
        " · ".join(
            column.words(value)
            for column in (COLUMNS[name] for name in names)
            if (value := row.value(column)) is not None and column.words(value)
        )
        for row in rows
    ]


def _shown(sheet: Sheet, rows: Sequence[Row]) -> list[str]:
    """The columns that the page begins with: the sheet's, what its headings say, the pictures.

    The page tags a row that is not ok, so the status takes no column.
    """
    names = [column.name for column in sheet.columns if column.name != "status"]
    hidden = [
        name for name in CONFIGURATION if name not in names and _num_choices(name, rows) > 1
    ]
    names = [name for name in (*hidden, *names) if name in _with_values(rows)]
    place = names.index(_SPEED) + 1 if _SPEED in names else len(names)
    return [*names[:place], PIPELINE, *names[place:]]


def _with_values(rows: Sequence[Row]) -> list[str]:
    return [
        column.name
        for column in COLUMNS.values()
        if any(row.value(column) is not None for row in rows)
    ]


def _columns(rows: Sequence[Row]) -> list[dict[str, Any]]:
    described = []
    for name in _with_values(rows):
        described.append(_column(COLUMNS[name], rows))
        if name == _SPEED:
            described.append(_pipeline(rows))
    return described


def _column(column: Column, rows: Sequence[Row]) -> dict[str, Any]:
    values = [row.value(column) for row in rows]
    texts = [column.text(value) for value in values]
    details = [
        column.detail_of(row) if value is not None else ""
        for row, value in zip(rows, values, strict=True)
    ]
    bounds = [_finite(row.bounds(column)) for row in rows]
    is_number = all(isinstance(value, int | float) for value in values if value is not None)
    return {
        "name": column.name,
        "title": column.title,
        "meaning": column.meaning,
        "topic": column.topic,
        "kind": "number" if is_number else "text",
        "isLabel": column.is_label,
        "align": column.align,
        "best": column.best,
        "factor": FACTORS.get((column.unit, column.shown_unit or ""), 1),
        "values": values,
        **({"texts": texts} if texts != values else {}),
        **({"details": details} if any(details) else {}),
        **({"bounds": bounds} if any(bounds) else {}),
    }


def _finite(bounds: Bounds) -> Bounds:
    return bounds if bounds and all(map(math.isfinite, bounds)) else None


def _pipeline(rows: Sequence[Row]) -> dict[str, Any]:
    """The pictures' column: in order of the share of the ceiling; its words are the verdicts."""
    return {
        "name": PIPELINE,
        "title": PIPELINE,
        "meaning": "loader alone, model alone, and both together, on a scale of the row's own; "
        "in order of the share of the ceiling",
        "topic": COLUMNS[_SPEED].topic,
        "kind": PIPELINE,
        "isLabel": False,
        "align": "left",
        "best": "",
        "factor": 1,
        "values": [row.value(COLUMNS["of-ceiling"]) for row in rows],
        "texts": [_verdict(row) for row in rows],
    }


def _verdict(row: Row) -> str:
    if row.status == INVALID:
        return "INVALID: its numbers contradict each other"
    return row.record.verdict or "loader and model were not both measured alone"
