"""Repeats of `fastbench run --repeat N` as one row of a table.

Rows are repeats where one of them says so, they lie in one folder, and are alike in every fact but
the date. Their row is that of the repeat with the median throughput; its figures of speed and cost
are the medians of the repeats, and its throughput their geometric mean, with Student's 95 %
interval on the logarithms. That interval has in it what differs from one process to the next, and
what drifts during the run; the range of a row's windows has neither. A repeat that is INVALID or
fails a gate stays a row of its own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from fastbench.records.facts import FACTS
from fastbench.report.columns.column import OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.report.columns.column import Row

_ALSO: Final = ("decoder", "labels", "fastbench", "commit", "python", "affinity", "instruction-set")
"""Facts that no footnote is of."""


def fold(
    rows: Sequence[Row], every: Sequence[dict[str, Any]]
) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows, repeats as one at the place of their first, and the facts of what is left."""
    if not any(map(_is_repeat, rows)):
        return [*rows], [*every]
    groups: dict[Any, list[int]] = {}
    for number, (row, its_facts) in enumerate(zip(rows, every, strict=True)):
        key: Any = number
        if row.status == OK:
            also = (FACTS[name].of(row.record) for name in _ALSO)
            key = row.path.parent, *its_facts.values(), *map(repr, also)
        if key in groups and not any(_is_repeat(rows[i]) for i in (number, *groups[key])):
            key = number
        groups.setdefault(key, []).append(number)
    numbers = [_middle(rows, group) for group in groups.values()]
    folded = [
        dataclasses.replace(rows[number], repeats=tuple(rows[i].record for i in group))
        if len(group) > 1
        else rows[number]
        for number, group in zip(numbers, groups.values(), strict=True)
    ]
    return folded, [every[number] for number in numbers]


def _is_repeat(row: Row) -> bool:
    return (row.record.config.get("repeat") or 1) > 1


def _middle(rows: Sequence[Row], group: Sequence[int]) -> int:
    """The one with the median throughput; of two, the slower."""
    in_order = sorted(group, key=lambda i: rows[i].record.throughput.images_per_s)
    return in_order[(len(group) - 1) // 2]
