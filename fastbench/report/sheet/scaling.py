"""Scaling efficiency of a report's rows: several ranks against one of the same configuration.

As a ratio (`ratios.py`), but for the threads: they are alike as they were asked for, since by
default a machine's ranks share its cores. Of several rows of one rank the geometric mean counts.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from fastbench.records.advice import ACCURACY
from fastbench.records.scaling import scaling_of
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.sheet.ratios import configuration, is_like

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.report.columns.column import Row


def with_scaling(rows: Sequence[Row]) -> list[Row]:
    """The rows, those of several ranks with their scaling, where one rank is among them."""
    ranks = COLUMNS["ranks"]
    if not any(row.record.ranks for row in rows):
        return list(rows)
    alone: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.value(ranks) == 1 and not row.invalid:
            alone.setdefault(key_of(row), []).append(row)
    return [_with_scaling(row, alone.get(key_of(row), [])) for row in rows]


def key_of(row: Row) -> tuple[Any, ...]:
    """Equal for rows that differ in their ranks alone."""
    return (*configuration(row, COLUMNS["ranks"]), row.record.config.get("num_threads"))


def _with_scaling(row: Row, alone: Sequence[Row]) -> Row:
    alone = [each for each in alone if is_like(row, each, COLUMNS["ranks"])]
    scaling = None if row.invalid else scaling_of(row.record, [each.record for each in alone])
    if scaling is None:
        return row
    is_doubted = any(doubt.about != ACCURACY for each in alone for doubt in each.doubts)
    return dataclasses.replace(row, scaling=scaling, is_scaling_doubted=is_doubted)
