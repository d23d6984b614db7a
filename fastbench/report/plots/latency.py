"""Every sample of batch latency and of step time, in a panel each, with their percentiles.

Each dot is a sample; of more than 400 samples, 400 order statistics, evenly spaced and with both
ends. Percentiles are drawn where there are enough samples for them (`stats.MIN_SAMPLES`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import MIN_SAMPLES, supported_percentile
from fastbench.core.units import NOT_AVAILABLE
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import style
from fastbench.report.plots.caption import is_hollow, valid_records, why_hollow
from fastbench.report.plots.row_layout import add_columns, group_rows, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Record
    from fastbench.report.columns.column import Column

_WIDTH: Final = 11.0
_MOST_DOTS: Final = 400
_JITTER: Final = 0.1  # inches, to both sides
_DOT: Final[dict[str, Any]] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 3.2,
    "markerfacecolor": style.PALETTE[5],
    "markeredgecolor": style.PALETTE[0],
    "markeredgewidth": 0.4,
}
_HOLLOW: Final[dict[str, Any]] = {**_DOT, "markerfacecolor": "white"}
# Percentile: half of its mark's height in inches, and its line's width.
_MARKS: Final = {50: (0.15, 2.2), 90: (0.12, 1.4), 99: (0.09, 1.0)}


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """A strip a row of batch latency, and of step time. Raises `NothingToShowError`."""
    valid, invalid = valid_records(records)
    if not valid:
        raise style.NothingToShowError("No row is valid. Measure again.")
    grouped = group_rows(valid, None)
    panels: list[tuple[Column, Callable[[Record], list[float]]]] = [
        (COLUMNS["batch-latency"], lambda record: record.latency.samples_s),
        (COLUMNS["step"], lambda record: record.throughput.step_times_s),
    ]
    panels = [panel for panel in panels if any(panel[1](record) for record in grouped.records)]
    rows = lay_out(grouped, width=_WIDTH, num_panels=len(panels), row_height=0.42)
    taken = 0.0
    for axes, (column, samples_of) in zip(rows.panels, panels, strict=True):
        samples = [samples_of(record) for record in grouped.records]
        for y, record, of_row in zip(rows.ys, grouped.records, samples, strict=True):
            _draw_strip(axes, y, of_row, _HOLLOW if is_hollow(record, column.name) else _DOT)
        everything = [1e3 * value for of_row in samples for value in of_row]
        style.scale_axis(axes, "x", min(everything), max(everything), from_zero=True)
        axes.set_xlabel(column.title)
        taken += add_columns(axes, rows.ys, _columns(samples, column))
    why = why_hollow(grouped.records, *(column.name for column, _ in panels))
    _add_legend(rows.panels[0], (_WIDTH - rows.left - taken) / len(panels), why)
    needs = ", ".join(f"p{pct} needs {MIN_SAMPLES[pct]}" for pct in (90, 99))
    meaning = (
        "Batch latency: from asking for a batch to its predictions on the host, nothing else in "
        "flight. Step time: completed batch to completed batch, the pipeline full. "
        f"{NOT_AVAILABLE} too few samples for a percentile ({needs}): --latency-samples takes "
        f"more of the latency, a larger --min-seconds of the steps."
    )
    return rows.finish("Batch latency and step time", [meaning, *invalid])


def _draw_strip(axes: Axes, y: float, samples_s: list[float], look: dict[str, Any]) -> None:
    if not samples_s:
        return
    ordered = sorted(samples_s)
    num = min(len(ordered), _MOST_DOTS)
    chosen = [ordered[round(i * (len(ordered) - 1) / max(1, num - 1))] for i in range(num)]
    axes.plot(
        [1e3 * value for value in chosen],
        [y + _JITTER * _scatter(i) for i in range(num)],
        alpha=0.75,
        zorder=2,
        **look,
    )
    for pct, (half, width) in _MARKS.items():
        value = supported_percentile(samples_s, pct)
        if value is not None:
            axes.plot(
                [1e3 * value] * 2,
                [y - half, y + half],
                color="black",
                linewidth=width,
                solid_capstyle="butt",
                zorder=3,
            )


def _scatter(i: int) -> float:
    """The i-th of numbers that fill -1..1 evenly, the same every time: the golden ratio's."""
    return 2 * ((i * 0.6180339887498949) % 1) - 1


def _columns(samples: Sequence[list[float]], column: Column) -> list[tuple[str, list[str]]]:
    def text(of_row: list[float], pct: int) -> str:
        return column.text(supported_percentile(of_row, pct) if of_row else None)

    return [
        ("n", [f"{len(of_row):,}" for of_row in samples]),
        *((f"p{pct}", [text(of_row, pct) for of_row in samples]) for pct in _MARKS),
    ]


def _add_legend(axes: Axes, width: float, why_hollow: str) -> None:
    entries = {"a sample": style.line_handle(**_DOT)}
    if why_hollow:
        entries[f"hollow: {why_hollow}"] = style.line_handle(**_HOLLOW)
    for pct, (half, line_width) in _MARKS.items():
        entries[f"p{pct}"] = style.line_handle(
            linestyle="none",
            marker="|",
            color="black",
            markersize=144 * half / 2,
            markeredgewidth=line_width,
        )
    style.add_legend(axes, entries, width)
