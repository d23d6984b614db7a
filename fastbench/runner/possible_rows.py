"""Which rows of a plan no engine here can measure, and which of those are left out of it.

A preset names engines that are not installed everywhere, and a sweep of engines and number formats
has mixes that cannot be. Those are left out, and said. A value that was asked for by name, and is
in no other row, is not: its row is an error.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import EngineMissingError, FastbenchError
from fastbench.core.units import counted
from fastbench.engines.mixes import check
from fastbench.runner.auto_values import mix_here

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fastbench.runner.planned_rows import PlannedRow

SWEPT_HERE: Final = ("engine", "dtype", "quantize")
"""The options whose values may be left out with their rows, where a preset alone gives them."""


def problem_of(row: PlannedRow) -> FastbenchError | None:
    """Why the row's engine cannot measure it here, or None; nothing is imported."""
    try:
        check(mix_here(row.config, row.model))
    except FastbenchError as error:
        return error
    return None


def leave_out(
    rows: Sequence[PlannedRow], *, optional: Collection[str], finished: Collection[object]
) -> tuple[tuple[PlannedRow, ...], list[str]]:
    """The rows without those that are left out, and sentences on these.

    `optional` are the options that nobody gave by name. Rows with the keys of `finished` stay, and
    so do all where none would be left.
    """
    problems = {row.key: None if row.key in finished else problem_of(row) for row in rows}
    asked = {row.key: _asked_by_name(row, optional) for row in rows}
    possible = {value for row in rows if problems[row.key] is None for value in asked[row.key]}
    left: list[PlannedRow] = []
    notes: Counter[str] = Counter()
    for row in rows:
        problem = problems[row.key]
        is_missing = isinstance(problem, EngineMissingError) and "engine" not in optional
        if problem is None or is_missing or not asked[row.key] <= possible:
            left.append(dataclasses.replace(row, only_if_engine="engine" in optional))
        else:
            notes[str(problem)] += 1
    said = [f"{counted(num, 'row is', 'rows are')} left out. {text}" for text, num in notes.items()]
    return tuple(left), said


def refuse_impossible(rows: Iterable[PlannedRow]) -> None:
    """Raise for a row that could be measured nowhere, before another is.

    An engine that is missing here loses its own rows alone.
    """
    for row in rows:
        problem = problem_of(row)
        if problem is not None and not isinstance(problem, EngineMissingError):
            raise problem


def _asked_by_name(row: PlannedRow, optional: Collection[str]) -> set[tuple[str, str]]:
    """The row's model, and its values of the options that somebody gave."""
    config = row.config
    values = {"engine": config.engine_name, "dtype": config.dtype, "quantize": config.quantize}
    asked = {(name, value) for name, value in values.items() if name not in optional}
    return {("model", row.model), *asked}
