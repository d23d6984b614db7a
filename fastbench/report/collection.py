"""Records as a Python program has them: to be picked, shown, drawn, or made a data frame of."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from fastbench.core.errors import InstallationError, UnknownNameError
from fastbench.records import naming
from fastbench.records.facts import FACTS
from fastbench.records.load import LoadRecord
from fastbench.records.record import Record
from fastbench.report.columns.registry import choose, find
from fastbench.report.sheet.load_in_words import answered_in_words
from fastbench.report.sheet.load_sheet import make_load_sheet
from fastbench.report.sheet.sheet import make_sheet
from fastbench.report.sheet.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from matplotlib.figure import Figure
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from fastbench.report.columns.column import Column, Row
    from fastbench.report.columns.load import LoadRow
    from fastbench.report.sheet.table import Sheet

_MOST_SHOWN = 20
_NOTHING = "No records."


class Table:
    """The table of `fastbench report`, for rich's `print`, for `str`, and for a notebook."""

    def __init__(self, sheet: Sheet | None) -> None:
        self.sheet = sheet

    def __str__(self) -> str:
        from fastbench.report.formats.terminal import to_text

        return to_text(self.sheet) if self.sheet else _NOTHING

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segments

        from fastbench.core.terminal import printable
        from fastbench.report.formats.terminal import render

        if self.sheet is None:
            yield _NOTHING
            return
        lines = render(self.sheet, options.max_width)
        for line in lines:
            line.plain = printable(line.plain)
        yield Segments(part for line in lines for part in line.render(console, end="\n"))

    def _repr_html_(self) -> str:
        from fastbench.report.formats.html_table import of_sheet

        return of_sheet(self.sheet) if self.sheet else _NOTHING


class Records(Sequence[Record]):
    """Records in the order in which they were measured, path by path.

    An index gives a record, a slice, `filter` and `+` give records. `rows` has each with its file.
    `folder` is that of the run, or the one that was read; None for several, and for files.
    `under_load` are the records of `fastbench loadtest` that lay there too, which a slice and
    `filter` leave out. Where there are no others, the table and the data frame are theirs.
    """

    def __init__(
        self,
        rows: Iterable[Row] = (),
        folder: Path | None = None,
        under_load: Iterable[LoadRow] = (),
    ) -> None:
        self.rows = list(rows)
        self.folder = folder
        self.under_load = LoadRecords(under_load, folder)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        if isinstance(index, slice):
            return Records(self.rows[index], self.folder)
        return self.rows[index].record

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, others: Records) -> Records:
        under_load = self.under_load + others.under_load
        return Records([*self.rows, *others.rows], under_load=under_load.rows)

    def __repr__(self) -> str:
        named = naming.names(list(self), always=("model", "loader"))
        lines = [
            f"  {' · '.join(name)}: {record.images_per_s:,.1f} images/s"
            for name, record in zip(named[:_MOST_SHOWN], self, strict=False)
        ]
        more = ["  ..."] if len(self) > _MOST_SHOWN else []
        and_load = f", and {len(self.under_load)} under load" if self.under_load else ""
        lines = [f"<Records: {len(self)}{and_load}>", *lines, *more, *self.under_load._lines()]
        return "\n".join(lines)

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        return Group(*self._tables)

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self._tables)

    @property
    def _tables(self) -> list[Table]:
        """The table, and that of the rows under load, of those that have rows; or an empty one."""
        under_load = [self.under_load.table()] if self.under_load else []
        return [*([self.table()] if self.rows or not under_load else []), *under_load]

    def filter(
        self, predicate: Callable[[Record], bool] | None = None, /, **wanted: Any
    ) -> Records:
        """The records for which the predicate holds, and which have what is wanted.

        `batch_size=32` asks for that value of an attribute of the record, or of a column of the
        report, with `_` for `-`; of several values, as in `loader=["dali", "opencv"]`, one will do.
        Raises `UnknownNameError` for a name that is neither.
        """
        rows = self.rows
        for name, value in wanted.items():
            values = value if isinstance(value, list | tuple | set | frozenset | range) else [value]
            column = _column(name)
            rows = [x for x in rows if any(y in values for y in _known(x, name, column))]
        if predicate is not None:
            rows = [row for row in rows if predicate(row.record)]
        return Records(rows, self.folder)

    def table(
        self,
        columns: str | Sequence[str] = "default",
        sort: str | None = None,
        *,
        reverse: bool = False,
        by: str | None = None,
    ) -> Table:
        """The table of `fastbench report`, with the same columns, order and groups.

        Raises `UnknownNameError` for a column that is not there.
        """
        if self.under_load and not self and by is None:
            return self.under_load.table(columns, sort, reverse=reverse)
        view = View(
            columns=_joined(columns),
            sort=None if sort is None else find(sort),
            reverse=reverse,
            by=None if by is None else find(by),
        )
        return Table(self._sheet(view))

    def to_frame(self, columns: str | Sequence[str] = "all") -> Any:
        """A `pandas.DataFrame`: a row a record, and the columns of the report by their names.

        Numbers are in SI units and not rounded. Where a column has a range, such as a 95 %
        interval, two columns more have its ends: `images/s low` and `images/s high`. Raises
        `InstallationError` without pandas.
        """
        if self.under_load and not self:
            return self.under_load.to_frame(columns)
        text = _joined(columns)
        return _frame(self._sheet(View(columns=text, is_data=True)), text)

    def plot(self, name: str) -> Figure:
        """One of the pictures of `fastbench report --plots`, such as `accuracy-throughput`.

        Raises `UnknownNameError` for another name, and `NothingToShowError` where the records do
        not have what it shows.
        """
        return _plot(name, [*self, *self.under_load])

    def _sheet(self, view: View) -> Sheet | None:
        """The sheet; None without records. A damaged record is warned of, and left out."""
        return _warned(make_sheet(self.rows, view))


class LoadRecords(Sequence[LoadRecord]):
    """Records of `fastbench loadtest`, as `Records` has those of `fastbench run`."""

    def __init__(self, rows: Iterable[LoadRow] = (), folder: Path | None = None) -> None:
        self.rows = list(rows)
        self.folder = folder

    @overload
    def __getitem__(self, index: int) -> LoadRecord: ...
    @overload
    def __getitem__(self, index: slice) -> LoadRecords: ...
    def __getitem__(self, index: int | slice) -> LoadRecord | LoadRecords:
        if isinstance(index, slice):
            return LoadRecords(self.rows[index], self.folder)
        return self.rows[index].record

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, others: LoadRecords) -> LoadRecords:
        return LoadRecords([*self.rows, *others.rows])

    def __repr__(self) -> str:
        return "\n".join([f"<LoadRecords: {len(self)}>", *self._lines()])

    def _lines(self) -> list[str]:
        named = naming.names(list(self), always=("model", "loader", "scenario"))
        lines = [
            f"  {' · '.join(name)}: {answered_in_words(record)}"
            for name, record in zip(named[:_MOST_SHOWN], self, strict=False)
        ]
        return [*lines, "  ..."] if len(self) > _MOST_SHOWN else lines

    def __rich__(self) -> Table:
        return self.table()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def table(
        self,
        columns: str | Sequence[str] = "default",
        sort: str | None = None,
        *,
        reverse: bool = False,
    ) -> Table:
        """The table of rows under load of `fastbench report`, with the same columns and order.

        Raises `UnknownNameError` for a column that is not there.
        """
        order = None if sort is None else find(sort)
        view = View(columns=_joined(columns), sort=order, reverse=reverse)
        return Table(_warned(make_load_sheet(self.rows, view)))

    def to_frame(self, columns: str | Sequence[str] = "all") -> Any:
        """A `pandas.DataFrame`, as `Records.to_frame` makes it."""
        text = _joined(columns)
        view = View(columns=text, is_data=True)
        return _frame(_warned(make_load_sheet(self.rows, view)), text)

    def plot(self, name: str) -> Figure:
        """`latency-rate` or `latency-cdf` of `fastbench report --plots`.

        Raises `UnknownNameError` for another name, and `NothingToShowError` where the records do
        not have what it shows.
        """
        return _plot(name, list(self))


def _joined(columns: str | Sequence[str]) -> str:
    return columns if isinstance(columns, str) else ",".join(columns)


def _warned(made: tuple[Sheet | None, list[str]]) -> Sheet | None:
    """The sheet; what is damaged is warned of."""
    sheet, damaged = made
    for text in damaged:
        warnings.warn(text, stacklevel=4)
    return sheet


def _plot(name: str, records: Sequence[Record | LoadRecord]) -> Figure:
    from fastbench.report.plots.registry import draw
    from fastbench.report.plots.style import encode

    figure = draw(name, records)
    # A notebook knows how to show a figure only after pyplot was imported.
    figure._repr_png_ = functools.partial(encode, figure, "png")  # type: ignore[attr-defined]
    return figure


def _frame(sheet: Sheet | None, columns: str) -> Any:
    """A `pandas.DataFrame` of a sheet; without one it has the names of the columns alone."""
    try:
        import pandas as pd
    except ImportError as error:
        raise InstallationError(
            f"to_frame() needs pandas, which cannot be imported ({error}). Install it: "
            f'pip install "fastbench[pandas]"'
        ) from error
    from fastbench.report.formats.export import values_of

    if sheet is None:
        return pd.DataFrame(columns=[choice.column.name for choice in choose(columns)])
    return pd.DataFrame([values_of(sheet, line) for line in sheet.lines])


def _column(name: str) -> Column | None:
    """The column of this name; None where only a record has an attribute of this name."""
    try:
        return find(name, [x for x in dir(Record) if not x.startswith("_")])
    except UnknownNameError:
        if name.startswith("_") or not hasattr(Record, name):
            raise
    return None


def _known(row: Row, name: str, column: Column | None) -> list[Any]:
    """What a row has under a name: as an attribute, as a fact, and as a column."""
    found = [] if column is None else [row.value(column)]
    if column is not None and column.name in FACTS:
        found.append(FACTS[column.name].of(row.record))
    value = getattr(row.record, name, ())
    return [*found, value] if isinstance(value, str | int | float | None) else found
