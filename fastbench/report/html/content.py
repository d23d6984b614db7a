"""A sheet's rows and columns as plain data for the script of the page.

The script sorts, filters and draws; every word and every rounded figure is made here. All columns
that any row has a value of go along, so that a reader can show what the command did not ask for.
Data lie column by column:

    values   raw numbers in the column's unit, or text; None where there is none
    texts    as people read them; `details` stands below, `bounds` is the value's range
    factor   from the raw unit to the one that is shown: 1000 for s -> ms
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from fastbench.records import naming
from fastbench.records.advice import worst_of
from fastbench.records.facts import FACTS, OF_OPTIONS
from fastbench.records.verdict import bound_in_words
from fastbench.report.columns.column import INVALID, OK
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.html.row_panel import panel_of
from fastbench.report.read import refusing_damage
from fastbench.report.sheet.footnotes import usual, why_not_comparable
from fastbench.report.sheet.ratios import CONFIGURATION, tells
from fastbench.report.sheet.table import cell_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.records.advice import Advice
    from fastbench.report.columns.column import Column, Row
    from fastbench.report.sheet.table import Cell, Line, Sheet

PIPELINE: Final = "pipeline"
"""The column of pictures: loader alone, model alone, both together."""

_SPEED: Final = "images/s"
_FACETS: Final = (
    *("device", "model", "weights", "loader", "decoder", "dtype", "engine", "batch", "quantize"),
    *("ranks", "image-size", "process"),
    *("threads", "engine-threads", "images", "page-cache", *(fact.name for fact in OF_OPTIONS)),
    *("bound", "parity", "status", "cpu", "torch", "dali", "driver"),
)
_MAKES: Final = ("model", "loader", "device", "dtype", "engine", "quantize", "image-size")
"""What the points of the chart's front are called by, where rows differ in it."""
_CHOICES: Final = range(2, 61)
"""How many values a facet may have to choose from."""


def describe(sheet: Sheet) -> dict[str, Any]:
    """All that the page shows of a sheet, as JSON has it.

    Raises `RecordError` for a damaged record, whatever of it the sheet itself shows.
    """
    rows = [line.row for line in sheet.lines]
    parts = [_read(row) for row in rows]
    cells = [its_cells for its_cells, _ in parts]
    called = naming.names([row.record for row in rows], always=("model", "loader"))
    common = usual([line.facts for line in sheet.lines])
    return {
        "columns": _columns(rows, cells),
        "shown": _shown(sheet, rows),
        "facets": {
            name: _texts(name, rows)
            for name in _FACETS
            if _num_values(name, rows) in _CHOICES and tells(name, rows)
        },
        "makes": {
            name: [FACTS[name].text(row.record) for row in rows]
            for name in _MAKES
            if name in FACTS and naming.differs([row.record for row in rows], FACTS[name])
        },
        "rows": [
            {
                "title": " · ".join(name),
                **about,
                "isRanked": line.row.status == OK and not why_not_comparable(line.facts, common),
                "unranked": _why_unranked(line, common),
                "marks": [note.mark for note in line.footnotes],
            }
            for name, (_, about), line in zip(called, parts, sheet.lines, strict=True)
        ],
        "advice": [
            {"row": number, **_advice(advice)}
            for number, advice in worst_of([row.advice for row in rows])
        ],
        "footnotes": [dataclasses.asdict(note) for note in sheet.footnotes],
        "tradeOff": _trade_off(sheet.trade_off) if sheet.trade_off else None,
        "common": sheet.common,
        "remarks": sheet.remarks,
    }


def _read(row: Row) -> tuple[dict[str, Cell], dict[str, Any]]:
    """A row's cells by column, and what else is said of it."""
    with refusing_damage(f"{row.path} is a damaged record"):
        return {name: cell_of(row, column) for name, column in COLUMNS.items()}, {
            "file": row.path.name,
            "status": row.status,
            "problems": row.reasons,
            "advice": [_advice(advice) for advice in row.advice],
            "facts": panel_of(row),
        }


def _trade_off(sheet: Sheet) -> dict[str, Any]:
    """The second table, as it is in every format: it is not sorted or filtered."""
    return {
        "title": sheet.common[0],
        "columns": [
            {name: getattr(column, name) for name in ("title", "meaning", "align")}
            for column in sheet.columns
        ],
        "groups": [
            {
                "heading": group.heading,
                "rows": [
                    {
                        "marks": [note.mark for note in line.footnotes],
                        "cells": [[cell.text, cell.detail] for cell in line.cells],
                    }
                    for line in group.lines
                ],
            }
            for group in sheet.groups
        ],
    }


def _why_unranked(line: Line, common: dict[str, Any]) -> list[str]:
    """Why a row is not ranked, without what its footnotes say."""
    noted = {note.text for note in line.footnotes}
    return [why for why in why_not_comparable(line.facts, common) if why not in noted]


def _texts(name: str, rows: Sequence[Row]) -> list[str]:
    """What there is to choose from of a facet; the chart's colours are in this order."""
    column = COLUMNS[name]
    values = naming.in_order(row.value(column) for row in rows)
    return list(dict.fromkeys(map(column.text, values)))


def _num_values(name: str, rows: Sequence[Row]) -> int:
    return len({row.value(COLUMNS[name]) for row in rows})


def _advice(advice: Advice) -> dict[str, str]:
    return {name: getattr(advice, name) for name in ("name", "about", "seen", "remedy")}


def _shown(sheet: Sheet, rows: Sequence[Row]) -> list[str]:
    """The columns that the page begins with: what headings say, the sheet's, the pictures.

    The page tags a row that is not ok, so the status takes no column.
    """
    names = [column.name for column in sheet.columns if column.name != "status"]
    hidden = [
        name
        for name in CONFIGURATION
        if name not in names and _num_values(name, rows) > 1 and tells(name, rows)
    ]
    names = [
        name
        for name in (*hidden, *names)
        if any(row.value(COLUMNS[name]) is not None for row in rows)
    ]
    place = names.index(_SPEED) + 1 if _SPEED in names else len(names)
    return [*names[:place], PIPELINE, *names[place:]]


def _columns(rows: Sequence[Row], cells: Sequence[dict[str, Cell]]) -> list[dict[str, Any]]:
    """The columns that any row has a value of; the pictures stand behind the throughput."""
    described = []
    for name, column in COLUMNS.items():
        its_cells = [of_row[name] for of_row in cells]
        if any(cell.value is not None for cell in its_cells):
            described.append(_column(column, its_cells, rows))
        if name == _SPEED:
            described.append(_pipeline(rows))
    return described


def _column(column: Column, cells: Sequence[Cell], rows: Sequence[Row]) -> dict[str, Any]:
    values = [cell.value for cell in cells]
    texts, details = [cell.text for cell in cells], [cell.detail for cell in cells]
    bounds = [cell.bounds for cell in cells]
    is_number = all(isinstance(value, int | float) for value in values if value is not None)
    return {
        "name": column.name,
        "title": column.title,
        "meaning": column.meaning,
        "topic": column.topic,
        "kind": "number" if is_number else "text",
        "isLabel": column.is_label,
        "doubted": _doubted(column, rows),
        "align": column.align,
        "best": column.best,
        "factor": column.factor,
        "values": values,
        **({"texts": texts} if texts != values else {}),
        **({"details": details} if any(details) else {}),
        **({"bounds": bounds} if any(bounds) else {}),
    }


def _pipeline(rows: Sequence[Row]) -> dict[str, Any]:
    """The pictures' column: in order of the share of the ceiling; its words say what limits it."""
    return {
        "name": PIPELINE,
        "title": PIPELINE,
        "meaning": "loader alone, model alone, and end to end, on a scale of the row's own; "
        "in order of the share of the ceiling",
        "topic": COLUMNS[_SPEED].topic,
        "kind": PIPELINE,
        "isLabel": False,
        "doubted": _doubted(COLUMNS["of-ceiling"], rows),
        "align": "left",
        "best": "",
        "factor": 1,
        "values": [row.value(COLUMNS["of-ceiling"]) for row in rows],
        "texts": [_bound_in_words(row) for row in rows],
    }


def _doubted(column: Column, rows: Sequence[Row]) -> list[int]:
    """The rows whose figure in the column is in doubt, and so not ranked."""
    return [number for number, row in enumerate(rows) if row.is_doubted(column)]


def _bound_in_words(row: Row) -> str:
    if row.status == INVALID:
        return "INVALID: its numbers contradict each other"
    return bound_in_words(row.record) or "loader and model were not both measured alone"
