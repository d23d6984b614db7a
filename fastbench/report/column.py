"""What is a column of a report? All that a table, a plot or a page has to know of one figure.

Its heading and what it means, how it is read from a row and in which unit, how it is written for
people, which direction is better. It knows nothing of formats, and rounds only in its text:

    read    Row -> the raw value in the unit `unit` (SI, shares of 0..1), None where there is none
    bounds  Row -> the range of that value: a 95 % interval, or the windows' extremes
    text    the value as people read it; `detail` is a second, smaller text below it
    words   the value in a sentence: `batch 32`, where a column's one value stands above the table

What it does not know: whether two rows may be compared (see `unlike.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from fastbench.core.units import NOT_AVAILABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.report.rows import Row

__all__ = ["COST", "FILE", "MACHINE", "PREDICTIONS", "RUN", "SPEED", "Bounds", "Column", "Value"]

Value: TypeAlias = "str | int | float | None"
Bounds: TypeAlias = "tuple[float, float] | None"

RUN: Final = "what was run"
SPEED: Final = "speed"
PREDICTIONS: Final = "predictions"
COST: Final = "what it took"
MACHINE: Final = "machine and software"
FILE: Final = "record"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; see the module.

    `unit` is that of the raw value, `shown_unit` that of the text where it is another. `best` is
    the better direction, empty where there is none. `topic` is what a table keeps together.
    """

    name: str
    heading: str
    meaning: str
    topic: str
    read: Callable[[Row], Value]
    show: Callable[[Any], str] = str
    unit: str = ""
    shown_unit: str | None = None
    best: Literal["max", "min", ""] = ""
    align: Literal["left", "right"] = "right"
    bounds: Callable[[Row], Bounds] | None = None
    show_bounds: Callable[[float, float], str] | None = None
    detail: Callable[[Row], str | None] | None = None
    words: Callable[[Any], str] = str
    aliases: tuple[str, ...] = ()

    @property
    def is_label(self) -> bool:
        """Whether it says which row this is, and not what was measured."""
        return self.topic in (RUN, MACHINE, FILE)

    @property
    def title(self) -> str:
        """The heading with the unit of what is shown: `latency ms`."""
        unit = self.unit if self.shown_unit is None else self.shown_unit
        return self.heading if not unit or unit in self.heading else f"{self.heading} {unit}"

    @property
    def raw_title(self) -> str:
        """The name with the unit of the raw value: `latency [s]`."""
        return self.name if self.unit in ("", self.name) else f"{self.name} [{self.unit}]"

    def text(self, value: Value) -> str:
        """A value as people read it."""
        return NOT_AVAILABLE if value is None else self.show(value)

    def in_words(self, value: Value) -> str:
        """A value in a heading or a sentence: `batch 32`; never empty."""
        if value is None:
            return f"{self.heading} unknown"
        return self.words(value) or self.text(value)

    def detail_of(self, row: Row) -> str:
        """What stands below the value: its range, or a word; empty where there is nothing."""
        if self.detail is not None:
            return self.detail(row) or ""
        if self.show_bounds is None or (bounds := row.bounds(self)) is None:
            return ""
        return self.show_bounds(*bounds)
