"""Picks the columns of a sheet.

Columns that were named one by one are shown as they were asked for. Of a set of columns, one that
has the same value in all rows goes into the lines above the table, and one without any value is
left out; the columns that tell the rows apart come first. For programs nothing is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.report.columns.column import OK, Row
from fastbench.report.columns.registry import COLUMNS, Choice
from fastbench.report.sheet.ratios import CONFIGURATION, tells

_MANY: Final = 3
"""From so many rows on, what is the same in all is said once."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.report.columns.column import Column
    from fastbench.report.sheet.view import View


def grouping_of(view: View) -> list[Column]:
    """The columns that make up a group's heading."""
    if view.by:
        return [view.by]
    if not view.across:
        return []
    names = [name for name in (*CONFIGURATION, "digest") if name != view.across.name]
    return [COLUMNS[name] for name in names]


def pick(
    rows: Sequence[Row], choices: list[Choice], grouping: list[Column], view: View
) -> list[Column]:
    """The columns of these rows."""
    chosen = [
        choice.column
        for choice in choices
        if choice.is_asked or view.is_data or _is_worth_it(rows, choice.column)
    ]
    if view.is_data:
        if not all(choice.is_asked for choice in choices):
            chosen = _in_front([COLUMNS[name] for name in CONFIGURATION], chosen)
        return list(dict.fromkeys((*chosen, *grouping, COLUMNS["status"])))
    if not all(choice.is_asked for choice in choices):
        labels = [column for column in chosen if column.is_label and column not in grouping]
        labels = _labels(rows, labels, grouping, view)
        chosen = _in_front(labels, [column for column in chosen if not column.is_label])
    if COLUMNS["status"] not in chosen and any(row.status != OK for row in rows):
        num_labels = next(
            (i for i, column in enumerate(chosen) if not column.is_label), len(chosen)
        )
        chosen.insert(num_labels, COLUMNS["status"])
    return chosen


def told_once(
    rows: Sequence[Row], columns: list[Column], choices: list[Choice], view: View
) -> tuple[str, list[Column]]:
    """What a column of a set says of all rows alike, in words, and the columns that are left.

    A figure that has a better direction stays: that it is alike is what it says.
    """
    asked = {choice.column.name for choice in choices if choice.is_asked}
    if view.is_data or len(rows) < _MANY:
        return "", columns
    alike = {
        column.name: values.pop()
        for column in columns
        if column.name not in asked and not column.is_label and not column.best
        if len(values := {column.text(row.value(column)) for row in rows}) == 1
    }
    said = [f"{column.title}: {alike[column.name]}" for column in columns if column.name in alike]
    return " · ".join(said), [column for column in columns if column.name not in alike]


def _in_front(labels: list[Column], columns: list[Column]) -> list[Column]:
    return [*labels, *(column for column in columns if column not in labels)]


def _is_worth_it(rows: Sequence[Row], column: Column) -> bool:
    """Whether a column of a set is shown: labels where rows differ, figures where known."""
    values = {row.value(column) for row in rows}
    return len(values) > 1 if column.is_label else values != {None}


def _labels(
    rows: Sequence[Row], labels: list[Column], grouping: list[Column], view: View
) -> list[Column]:
    """The columns that tell the rows apart, in the registry's order."""
    grouped = {column.name for column in grouping}
    names = {column.name for column in labels}
    names |= {
        name
        for name in CONFIGURATION
        if name not in grouped and _is_worth_it(rows, COLUMNS[name]) and tells(name, rows)
    }
    if view.across:
        names.add(view.across.name)
    if not names:
        names.add("model" if "loader" in grouped else "loader")
    seen = [tuple(row.value(COLUMNS[each]) for each in (*grouped, *names)) for row in rows]
    for column in [column for column in COLUMNS.values() if column.is_label]:
        num = len(set(seen))
        if num == len(rows):
            break
        with_it = [(*its, row.value(column)) for its, row in zip(seen, rows, strict=True)]
        if len(set(with_it)) > num:
            names.add(column.name)
            seen = with_it
    return [column for column in COLUMNS.values() if column.name in names]
