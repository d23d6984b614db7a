"""A table as every format prints it: columns, groups of lines, cells, and what stands around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fastbench.report.columns.column import Bounds, Column, Row, Value
    from fastbench.report.sheet.footnotes import Footnote

BEST: Final = (
    "Bold: the best of the rows that can be ranked, whether or not the difference is beyond chance."
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value, raw and as people read it; `detail` is a smaller text below, often its range."""

    value: Value
    text: str
    detail: str
    bounds: Bounds
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row's cells, one a column of the sheet; `footnotes` say how it stands apart.

    `name` is what it is called among the others, `facts` are those of `footnotes.facts`.
    """

    row: Row
    name: str
    facts: dict[str, Any]
    cells: list[Cell]
    footnotes: list[Footnote]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Lines under a heading, which is empty where there is nothing to say."""

    heading: str
    lines: list[Line]


@dataclass(frozen=True)
class Details:
    """What is said of a row by itself: by topic, `(topic, words)`."""

    name: str
    parts: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All that a format prints: `common` above the table; footnotes and remarks below it.

    `trade_off` is a second table, of the accuracy that rows lose for their throughput (see
    `trade_off.py`); None where there is nothing to show. `details` stand below the table of rows
    under load, which is another one.
    """

    common: list[str]
    columns: list[Column]
    groups: list[Group]
    footnotes: list[Footnote]
    remarks: list[str]
    trade_off: Sheet | None = None
    details: list[Details] = field(default_factory=list)
    is_under_load: bool = False

    @property
    def lines(self) -> list[Line]:
        """The lines of all groups."""
        return [line for group in self.groups for line in group.lines]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """What the measured columns mean: (title, meaning)."""
        return [(column.title, column.meaning) for column in self.columns if not column.is_label]

    @property
    def has_best(self) -> bool:
        """Whether a value is marked as the best."""
        return any(cell.is_best for line in self.lines for cell in line.cells)


def cell_of(row: Row, column: Column) -> Cell:
    """A row's value of a column; where it has none, the detail stands in its place."""
    value, text, detail = row.value(column), "", column.detail_of(row)
    if value is not None or not detail:
        text = column.text(value)
    return Cell(
        value=value,
        text=text or detail,
        detail=detail if text else "",
        bounds=row.bounds(column),
    )
