"""Makes the sheet that every format prints: columns, groups, cells, best values, footnotes.

It decides all that a format must not: which columns there are (`pick_columns.py`), which rows may
be ranked against each other, which value is the best, and which row needs a footnote
(`footnotes.py`). The best value need not be better than the next beyond chance.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from fastbench.core.debugging import LOGGER
from fastbench.core.errors import RecordError
from fastbench.core.units import counted
from fastbench.records import naming
from fastbench.records.fact_values import images_of
from fastbench.report.columns.column import OK
from fastbench.report.columns.registry import COLUMNS, Choice, choose
from fastbench.report.read import refusing_damage
from fastbench.report.sheet.footnotes import (
    facts,
    make_footnotes,
    usual,
    what_is_common,
    why_not_comparable,
)
from fastbench.report.sheet.pick_columns import grouping_of, pick, told_once
from fastbench.report.sheet.ratios import means_over_models, sides, tells, with_prices, with_ratios
from fastbench.report.sheet.remarks import remarks_on
from fastbench.report.sheet.repeats import fold
from fastbench.report.sheet.scaling import with_scaling
from fastbench.report.sheet.table import Cell, Group, Line, Sheet, cell_of
from fastbench.report.sheet.trade_off import trade_off_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.report.columns.column import Column, Row, Value
    from fastbench.report.sheet.view import View


def make_sheet(rows: Sequence[Row], view: View) -> tuple[Sheet | None, list[str]]:
    """The sheet, None where no row is left, and complaints of damaged records.

    Raises `UsageError` for columns, sides or devices that are not there.
    """
    choices = _choices(view)
    if view.sort and view.sort.name not in COLUMNS:  # which rows under load have
        view = dataclasses.replace(view, sort=None)
    rows, every, complaints = _undamaged(rows, [choice.column for choice in choices], view)
    if not rows:
        return None, complaints
    if not view.is_data:
        rows, every = fold(rows, every)
    values = sides(rows, view.contrast, view.baseline) if view.contrast else []
    if view.contrast and len(values) > 1:
        rows = with_ratios(rows, view.contrast, values[0])
        if all(row.value(view.contrast) == values[0] for row in rows if row.ratio is not None):
            rows = [dataclasses.replace(row, ratio=None) for row in rows]  # 1.00x and nothing else
    rows = with_scaling(rows)
    if view.prices:
        rows = with_prices(rows, view.prices)
    grouping = grouping_of(view)
    alike, columns = told_once(rows, pick(rows, choices, grouping, view), choices, view)
    headings = [
        column
        for column in grouping
        if view.by or (len({row.value(column) for row in rows}) > 1 and tells(column.name, rows))
    ]
    shown = {column.name for column in (*columns, *headings)}
    notes, of_rows = make_footnotes(every, shown, [row.doubts for row in rows])
    records = [row.record for row in rows]
    names = naming.names(records, always=("loader",))
    lines = [
        Line(
            row=row,
            name=" · ".join(name),
            facts=its_facts,
            cells=[cell_of(row, column) for column in columns],
            footnotes=its_notes,
        )
        for row, name, its_facts, its_notes in zip(rows, names, every, of_rows, strict=True)
    ]
    groups = [
        Group(heading=heading, lines=_ranked(its_lines, columns, view, values))
        for heading, its_lines in _groups(lines, headings, view, values)
    ]
    sheet = Sheet(
        common=[*what_is_common(records, shown), *([alike] if alike else [])],
        columns=columns,
        groups=groups,
        footnotes=notes,
        remarks=[],
        trade_off=_trade_off(lines, choices, view),
    )
    return dataclasses.replace(sheet, remarks=_remarks(sheet, choices, values, view)), complaints


def _choices(view: View) -> list[Choice]:
    """What was chosen of these rows' columns; the default where figures are of rows under load."""
    every = choose(view.columns)
    own = [choice for choice in every if choice.column.name in COLUMNS]
    is_other = len(own) < len(every) and all(choice.column.is_label for choice in own)
    return [*own, *choose("default")] if is_other else own


def _trade_off(lines: Sequence[Line], choices: list[Choice], view: View) -> Sheet | None:
    """The second table, where people read the sheet and did not ask for something else."""
    is_asked = all(choice.is_asked for choice in choices)
    return None if view.is_data or view.contrast or is_asked else trade_off_of(lines)


def _undamaged(
    rows: Sequence[Row], columns: Iterable[Column], view: View
) -> tuple[list[Row], list[dict[str, Any]], list[str]]:
    """The rows whose figures can be read, their facts, and complaints of the others."""
    labels = [column for column in COLUMNS.values() if column.is_label]
    needed = {column.name: column for column in (*labels, COLUMNS["images/s"], *columns)}
    needed |= {column.name: column for column in (view.sort, view.contrast) if column}
    undamaged, every, complaints = [], [], []
    shown: set[tuple[str, Value]] = set()
    for row in rows:
        try:
            with refusing_damage(f"{row.path} is a damaged record"):
                its_facts = facts(row.record, row.version)
                hash(tuple(its_facts.values()))
                _ = row.status, row.doubts, remarks_on([("", row)]), images_of(row.record)
                for column in needed.values():
                    # What a label shows depends on its value alone.
                    if not column.is_label or (column.name, row.value(column)) not in shown:
                        shown.add((column.name, cell_of(row, column).value))
        except RecordError as error:
            complaints.append(str(error))
            LOGGER.debug("%s", row.path, exc_info=True)
        else:
            undamaged.append(row)
            every.append(its_facts)
    return undamaged, every, complaints


def _groups(
    lines: list[Line], headings: list[Column], view: View, values: list[Value]
) -> list[tuple[str, list[Line]]]:
    """Headings and their lines: with --by in the order of its values, else as they come."""
    found: dict[tuple[Value, ...], list[Line]] = {}
    if view.by:
        found = {(value,): [] for value in values}
    for line in lines:
        key = tuple(line.row.value(column) for column in headings)
        found.setdefault(key, []).append(line)
    return [
        (
            " · ".join(column.in_words(value) for column, value in zip(headings, key, strict=True)),
            its_lines,
        )
        for key, its_lines in found.items()
    ]


def _ranked(
    lines: list[Line], columns: list[Column], view: View, values: list[Value]
) -> list[Line]:
    """A group's lines in order, the best values marked."""
    common = usual([line.facts for line in lines])
    comparable = [
        line
        for line in lines
        if line.row.status == OK and not why_not_comparable(line.facts, common)
    ]

    def ranked(column: Column) -> list[Line]:
        return [line for line in comparable if not line.row.is_doubted(column)]

    best = [
        _best([(line, line.cells[i]) for line in ranked(column)], column)
        for i, column in enumerate(columns)
    ]
    if view.across:
        across = view.across
        lines = sorted(lines, key=lambda line: values.index(line.row.value(across)))
    if view.sort:
        is_ranked = {id(line) for line in ranked(view.sort)}
        lines = _sorted(lines, view.sort, is_ranked, reverse=view.reverse)
    elif view.reverse:
        lines = lines[::-1]
    return [
        dataclasses.replace(
            line,
            cells=[
                dataclasses.replace(cell, is_best=True) if id(line) in its_best else cell
                for cell, its_best in zip(line.cells, best, strict=True)
            ],
        )
        for line in lines
    ]


def _best(cells: list[tuple[Line, Cell]], column: Column) -> set[int]:
    """The lines with a column's best value, by `id`; none where there is nothing to choose from."""
    known = [(id(line), x) for line, x in cells if isinstance(x.value, int | float)]
    if not column.best or len({cell.text for _, cell in known}) < 2:
        return set()
    choose_best = max if column.best == "max" else min
    best = choose_best((cell for _, cell in known), key=lambda cell: cell.value)  # type: ignore[arg-type,return-value]
    return {line for line, cell in known if cell.text == best.text}


def _sorted(lines: list[Line], column: Column, is_ranked: set[int], *, reverse: bool) -> list[Line]:
    """By a column, the best first; then what is not ranked, and what is not known."""
    known = [line for line in lines if line.row.value(column) is not None]
    known.sort(
        key=lambda line: line.row.value(column),  # type: ignore[arg-type,return-value]
        reverse=(column.best == "max") != reverse,
    )
    if not column.is_label:
        known.sort(key=lambda line: id(line) not in is_ranked)
    return [*known, *(line for line in lines if line.row.value(column) is None)]


def _on_ratios(rows: Sequence[Row], contrast: Column, values: list[Value]) -> list[str]:
    """What the ratios are to, and their means; or that there are none."""
    if all(row.ratio is None for row in rows):
        return [
            f"There are no ratios: nothing was measured alike with more than one "
            f"{contrast.heading}."
        ]
    speed = COLUMNS["images/s"]
    base = [row for row in rows if row.value(contrast) == values[0]]
    doubted = sum(row.is_doubted(speed) for row in base)
    doubt = f", whose throughput is in doubt in {doubted} of {counted(len(base), 'row')}"
    said = f"Ratios are to {contrast.in_words(values[0])}{doubt if doubted else ''}."
    return [said, *filter(None, [means_over_models(rows, contrast, values, speed)])]


def _remarks(sheet: Sheet, choices: list[Choice], values: list[Value], view: View) -> list[str]:
    """What is said below the table, apart from footnotes and the legend."""
    remarks = []
    if view.contrast and len(values) > 1 and any(x.column.name == "ratio" for x in choices):
        remarks += _on_ratios([line.row for line in sheet.lines], view.contrast, values)
    if view.prices:
        prices = {line.row.device: line.row.price_per_h for line in sheet.lines}
        said = [f"{name} ${price:g}" for name, price in prices.items() if price is not None]
        without = [name or "an unknown device" for name, price in prices.items() if price is None]
        remarks.append(
            f"Prices of an hour: {', '.join(said)}"
            + (f"; none was given for {', '.join(without)}." if without else ".")
        )
    if view.columns != "default" and not view.is_data:
        missing = [
            choice.column.heading
            for choice in choices
            if not choice.column.is_label
            and all(line.row.value(choice.column) is None for line in sheet.lines)
            and choice.column.name not in ("ratio", "cost")
        ]
        if missing:
            remarks.append(f"In no record: {', '.join(missing)}.")
    return [*remarks, *remarks_on([(line.name, line.row) for line in sheet.lines])]
