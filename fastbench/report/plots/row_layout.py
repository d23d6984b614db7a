"""Plots whose rows lie below each other: names on the left, figures in columns on the right.

Rows that differ in one thing only stand together under a heading. The y axis is in inches from the
top, so that a row has the height that its name's lines need.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.records import naming
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import style
from fastbench.report.plots.caption import caption_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Record
    from fastbench.report.columns.column import Column

MOST_ROWS: Final = 60
"""More do not fit a page: further rows are left out, and the caption says so."""

_NAME_CHARS: Final = 26
_HEADING_CHARS: Final = 9
_NAME_SIZE: Final = 8.5
_LINE: Final = 0.145  # inches
_HEADING_LINE: Final = 0.17
_GAP: Final = 0.14  # inches between columns


@dataclass(frozen=True, kw_only=True)
class RowGroups:
    """Which records are rows, in order, and the titles of their groups with the rows' names.

    A title is empty where there is nothing to say. `notes` are for the caption.
    """

    records: list[Record]
    groups: list[tuple[str, list[str]]]
    caption: list[str]
    notes: list[str]


@dataclass(frozen=True)
class RowChart:
    """An empty plot with its rows: `ys` are their middles, in inches down from the top.

    `height` is that of all rows, `left` how many inches the names take.
    """

    rows: RowGroups
    figure: Figure
    panels: list[Axes]
    ys: list[float]
    height: float
    left: float

    def finish(self, title: str, said: Sequence[str]) -> Figure:
        """Write the title, and a caption that ends with what is `said` (see `style.finish`)."""
        caption = [*self.rows.caption, " ".join([*said, *self.rows.notes])]
        style.finish(self.figure, title, caption, (self.panels[0], self.height))
        return self.figure


def group_rows(
    records: Sequence[Record], by: str | None, rank: Callable[[Record], float] | None = None
) -> RowGroups:
    """Rows in groups that differ in nothing but `by` (see `naming.varying`), the highest first.

    Without `by`, or where that puts each row into a group of its own, all are one group.
    """
    grouped = _group(records, by)
    if by and all(len(group) == 1 for group in grouped):
        by, grouped = None, [list(records)]
    if rank is not None:
        grouped = [sorted(group, key=rank, reverse=True) for group in grouped]
    ordered = [record for group in grouped for record in group][:MOST_ROWS]
    said = caption_of(ordered)
    mark_of = {id(record): mark for record, mark in zip(ordered, said.marks, strict=True)}
    telling = [name for name in naming.varying(ordered) if name != by]
    always = (by,) if by else () if telling else ("model", "loader")
    groups = []
    for group in _group(ordered, by):
        names = naming.names(group, always=always)
        marked = [", ".join(x) + mark_of[id(r)] for x, r in zip(names, group, strict=True)]
        is_alone = by is None or len(group) == len(ordered)
        title = "" if is_alone else " · ".join(naming.parts(group[0], telling))
        groups.append((title, marked))
    notes = []
    if len(ordered) < len(records):
        notes = [f"The first {len(ordered)} of {len(records):,} rows; name fewer for the others."]
    return RowGroups(records=ordered, groups=groups, caption=said.paragraphs, notes=notes)


def _group(records: Sequence[Record], by: str | None) -> list[list[Record]]:
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        key = naming.configuration_key(record, (by,)) if by else ()
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def lay_out(
    rows: RowGroups, *, width: float, num_panels: int = 1, row_height: float = 0.4
) -> RowChart:
    """An empty plot of rows below each other, with so many panels side by side."""
    stacked: list[tuple[float, list[str], bool]] = []  # height, lines, whether a heading
    for title, names in rows.groups:
        if title:
            lines = style.wrap(title, width - 0.3, 9, "bold")
            stacked.append((_HEADING_LINE * len(lines) + 0.14, lines, True))
        for name in names:
            lines = style.fold(name, _NAME_CHARS)
            stacked.append((max(row_height, _LINE * len(lines) + 0.1), lines, False))
    total = sum(height for height, _, _ in stacked) + 0.06
    figure = style.new_figure(width, total + 0.75)
    panels = list(figure.subplots(1, num_panels, squeeze=False, sharey=True)[0])
    ys: list[float] = []
    labels: list[str] = []
    top = 0.03
    for height, lines, is_heading in stacked:
        if is_heading:
            _add_heading(figure, panels[0], top + height, lines)
        else:
            ys.append(top + height / 2)
            labels.append("\n".join(lines))
        top += height
    for number, axes in enumerate(panels):
        axes.set_ylim(total, 0)
        axes.tick_params(axis="y", length=0, labelleft=number == 0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
    panels[0].set_yticks(ys, labels, fontsize=_NAME_SIZE)
    widths = [style.text_width(x, _NAME_SIZE) for text in labels for x in text.split("\n")]
    return RowChart(rows, figure, panels, ys, total, max(widths) + 0.25)


def _add_heading(figure: Figure, axes: Axes, bottom: float, lines: list[str]) -> None:
    """A heading from the figure's left edge, above all panels and their grids."""
    from matplotlib.transforms import blended_transform_factory

    figure.text(
        0.12 / float(figure.get_size_inches()[0]),
        bottom - 0.04,
        "\n".join(lines),
        transform=blended_transform_factory(figure.transFigure, axes.transData),
        ha="left",
        va="bottom",
        fontsize=9,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def figures(records: Sequence[Record], *names: str) -> list[tuple[str, list[str]]]:
    """Columns of a report, by name, for `add_columns`; a row without a value says why, or nothing.

    Headings are broken as narrow as their words allow.
    """
    rows = [Row(record=record) for record in records]
    return [
        (
            "\n".join(textwrap.wrap(COLUMNS[name].title, _HEADING_CHARS, break_long_words=False)),
            [_text(row, COLUMNS[name]) for row in rows],
        )
        for name in names
    ]


def _text(row: Row, column: Column) -> str:
    value = row.value(column)
    return column.detail_of(row) if value is None else column.text(value)


def add_columns(
    axes: Axes, ys: Sequence[float], columns: Sequence[tuple[str, Sequence[str]]]
) -> float:
    """Columns of figures right of the axes, each below its heading; the inches they take.

    A column without any figure is left out.
    """
    place = 0.0
    for heading, cells in columns:
        if not any(cells):
            continue
        texts = [*heading.split("\n"), *cells]
        wide = max(style.text_width(text, 8) for text in texts)
        place += _GAP + wide
        common = {"textcoords": "offset points", "ha": "right", "annotation_clip": False}
        axes.annotate(
            heading,
            (1, 1),
            xycoords="axes fraction",
            xytext=(72 * place, 4),
            va="bottom",
            fontsize=8,
            color=style.MUTED,
            multialignment="right",
            **common,  # type: ignore[arg-type]
        )
        for y, cell in zip(ys, cells, strict=True):
            if cell:
                axes.annotate(
                    cell,
                    (1, y),
                    xycoords=("axes fraction", "data"),
                    xytext=(72 * place, 0),
                    va="center",
                    fontsize=8,
                    **common,  # type: ignore[arg-type]
                )
    return place
