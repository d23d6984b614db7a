"""Columns that say which row this is: the facts of `records/facts.py`, and the record's file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.units import format_value
from fastbench.records.facts import FACTS, FILE, RUN
from fastbench.records.load_facts import LOAD, OF_LOAD
from fastbench.report.columns.column import Column, Row, Value

if TYPE_CHECKING:
    from fastbench.records.fact import Fact


def _column(fact: Fact) -> Column:
    def read(row: Row) -> Value:
        value: Value = fact.read(row.record)
        return format_value(value) if isinstance(value, bool | tuple) else value

    return Column(
        name=fact.name,
        heading=fact.heading,
        meaning=fact.meaning,
        topic=fact.topic,
        read=read,
        show=fact.show,
        words=fact.words,
        align="right" if fact.is_number else "left",
        aliases=fact.aliases,
    )


RUN_LABELS: Final = tuple(_column(fact) for fact in FACTS.values() if fact.topic == RUN)
LOAD_LABELS: Final = tuple(map(_column, OF_LOAD))
MACHINE_LABELS: Final = (
    *(_column(fact) for fact in FACTS.values() if fact.topic not in (RUN, LOAD)),
    Column(
        name="file",
        heading="file",
        meaning="the record's file",
        topic=FILE,
        read=lambda row: str(row.path),
        align="left",
    ),
)
