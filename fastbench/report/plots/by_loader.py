"""End-to-end throughput by loader, before the throughput of loader alone and model alone.

Beside the bars stand CPU seconds for 1,000 images, which other work on the machine disturbs least,
and the agreement with the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import format_rate
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import bars, style
from fastbench.report.plots.caption import valid_records
from fastbench.report.plots.row_layout import add_columns, figures, group_rows, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Record

_WIDTH: Final = 8.5
_HALF: Final = 0.15  # inches: half of the height of what lies behind
_FRONT: Final = 0.13
_MOST_ABOVE: Final = 4.0
"""A ceiling so many times above all bars is cut off and gets a figure: it would flatten them."""

_ALONE: Final[dict[str, dict[str, Any]]] = {
    "loader": {"facecolor": "#FBE3B0", "hatch": "////", "edgecolor": "#B07800"},
    "model": {"facecolor": "#D8EEFA", "hatch": "....", "edgecolor": "#3A86B0"},
}


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """Bars by loader, in groups by what else differs. Raises `NothingToShowError`."""
    valid, invalid = valid_records(records)
    if not valid:
        raise style.NothingToShowError("No row is valid. Measure again.")
    grouped = group_rows(valid, "loader", lambda record: record.throughput.images_per_s)
    rows = lay_out(grouped, width=_WIDTH)
    (axes,) = rows.panels
    highest = max(max(record.throughput.rates) for record in grouped.records)
    ceilings = [rate for record in grouped.records for rate in record.ceilings.values()]
    limit = 1.06 * min(max([highest, *ceilings]), _MOST_ABOVE * highest)
    for y, record in zip(rows.ys, grouped.records, strict=True):
        _draw_ceilings(axes, y, record, limit)
        bars.draw_bar(axes, y, record, _FRONT)
    style.scale_axis(axes, "x", 0, limit, from_zero=True)
    axes.set_xlim(0, limit)
    axes.set_xlabel(COLUMNS["images/s"].title)
    columns = figures(grouped.records, "images/s", "of-ceiling", "bound", "cpu-s", "agreement")
    taken = add_columns(axes, rows.ys, columns)
    behind = {
        f"{name} alone": look
        for name, look in _ALONE.items()
        if any(name in record.ceilings for record in grouped.records)
    }
    entries = bars.legend_entries(grouped.records, behind)
    style.add_legend(axes, entries, _WIDTH - rows.left - taken - 0.3)
    said = [_meaning(grouped.records), *invalid]
    return rows.finish("End-to-end throughput by loader, and its ceilings", said)


def _draw_ceilings(axes: Axes, y: float, record: Record, limit: float) -> None:
    """The loader alone above the bar's middle, the model alone below."""
    for name, side in (("loader", -1), ("model", 1)):
        rate = record.ceilings.get(name)
        if rate is None:
            continue
        middle = y + side * _HALF / 2
        axes.barh(middle, min(rate, 1.2 * limit), _HALF, linewidth=0.6, zorder=2, **_ALONE[name])
        if rate > limit:
            axes.annotate(
                f"{format_rate(rate)} ▸",
                (1, middle),
                xycoords=("axes fraction", "data"),
                xytext=(-2, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                zorder=4.5,
            )


def _meaning(records: Sequence[Record]) -> str:
    parts = [bars.meaning(records)]
    if any(record.ceilings for record in records):
        parts.append("Of ceiling: end to end over the slower of loader alone and model alone.")
    if any(record.telemetry for record in records):
        parts.append("CPU s: CPU seconds of all processes for 1,000 images.")
    if any(record.parity for record in records):
        parts.append("Agree: top-1 predictions equal to those of the reference in float32.")
    return " ".join(parts)
