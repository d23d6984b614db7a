"""By loader, side by side: its throughput alone, end to end before the model alone, and how many
predictions are the reference's.

Right of them stand top-1, and the CPU seconds for 1,000 images, which other work on the machine
disturbs least.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import wilson_interval
from fastbench.core.units import format_percent, format_rate
from fastbench.report.plots import bars, style
from fastbench.report.plots.caption import is_hollow, valid_records
from fastbench.report.plots.row_layout import add_columns, figures, group_rows, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Record

_WIDTH: Final = 9.5
_BAR: Final = 0.2  # inches
_CEILING: Final = 0.3
_MOST_ABOVE: Final = 4.0
"""A ceiling so many times as high as what it is held against is cut off, and has its figure."""
_ROOM: Final = 1.45
"""How much longer than its bars a panel is: figures stand behind them."""
_LOADER: Final[dict[str, Any]] = {"facecolor": "#FBE3B0", "hatch": "////", "edgecolor": "#B07800"}
_MODEL: Final[dict[str, Any]] = {"facecolor": "#D8EEFA", "hatch": "....", "edgecolor": "#3A86B0"}


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """Rows by loader, in groups by what else differs. Raises `NothingToShowError`."""
    valid, invalid = valid_records(records)
    if not valid:
        raise style.NothingToShowError("No row is valid. Measure again.")
    grouped = group_rows(valid, "loader", lambda record: record.throughput.images_per_s)
    shown = grouped.records
    panels = [_draw_end_to_end]
    if any("loader" in record.ceilings for record in shown):
        panels.insert(0, _draw_loader_alone)
    if any(record.parity and not record.parity.is_reference for record in shown):
        panels.append(_draw_agreement)
    rows = lay_out(grouped, width=_WIDTH, num_panels=len(panels))
    for axes, draw in zip(rows.panels, panels, strict=True):
        draw(axes, rows.ys, shown)
    columns = figures(shown, "top-1", "of-ceiling", "cpu-s")
    taken = add_columns(rows.panels[-1], rows.ys, columns)
    behind = {"model alone": _MODEL} if any("model" in r.ceilings for r in shown) else {}
    entries = bars.legend_entries(shown, behind)
    style.add_legend(rows.panels[0], entries, _WIDTH - rows.left - taken - 0.3, pad=3.3)
    legend = rows.panels[0].get_legend()
    assert legend is not None
    # It lies above all panels, and would make the first one wide; a blank keeps its place.
    legend.set_in_layout(False)
    rows.panels[0].annotate(
        " ", (0, 1), xycoords="axes fraction", xytext=(0, 42), textcoords="offset points"
    )
    title = "Throughput by loader, and whether its predictions are the reference's"
    return rows.finish(title, [_meaning(shown), *invalid])


def _draw_loader_alone(axes: Axes, ys: Sequence[float], records: Sequence[Record]) -> None:
    rates = [record.ceilings.get("loader") for record in records]
    known = [rate for rate in rates if rate is not None]
    limit = max(rate for rate in known if rate <= _MOST_ABOVE * statistics.median(known))
    axes.set_xlim(0, _ROOM * limit)
    style.few_ticks(axes)
    for y, rate in zip(ys, rates, strict=True):
        if rate is not None:
            axes.barh(y, min(rate, limit), _BAR, linewidth=0.6, zorder=2, **_LOADER)
            _write(axes, min(rate, limit), y, format_rate(rate) + (" ▸" if rate > limit else ""))
    _name(axes, "loader alone", "images/s")


def _draw_end_to_end(axes: Axes, ys: Sequence[float], records: Sequence[Record]) -> None:
    ceilings = [record.ceilings.get("model", 0) for record in records]
    highest = [max(record.throughput.rates) for record in records]
    limit = min(max([*ceilings, *highest]), _MOST_ABOVE * max(highest))
    is_cut = any(ceiling > limit for ceiling in ceilings)
    axes.set_xlim(0, (1.8 if is_cut else _ROOM) * limit)
    style.few_ticks(axes)
    for y, record, ceiling, end in zip(ys, records, ceilings, highest, strict=True):
        axes.barh(y, min(ceiling, limit), _CEILING, linewidth=0.6, zorder=2, **_MODEL)
        bars.draw_bar(axes, y, record, _BAR)
        text = format_rate(record.throughput.images_per_s)
        if ceiling > limit:
            text += f", {format_rate(ceiling)} ▸"
        _write(axes, min(max(ceiling, end), limit), y, text)
    _name(axes, "end to end", "images/s")


def _draw_agreement(axes: Axes, ys: Sequence[float], records: Sequence[Record]) -> None:
    lows: list[float] = []
    for y, record in zip(ys, records, strict=True):
        parity = record.parity
        if parity is None or parity.is_reference:
            axes.annotate(
                "reference" if parity else "–",
                (100, y),
                ha="right",
                va="center",
                fontsize=8,
                color=style.MUTED,
            )
            continue
        share = 100 * parity.agreement
        low, high = (100 * x for x in wilson_interval(parity.num_agreeing, parity.num_samples))
        lows.append(low)
        face = "white" if is_hollow(record) else style.PALETTE[0]
        axes.plot([low, high], [y, y], color="#a6a6a6", linewidth=1.2, zorder=1.5)
        axes.plot(share, y, "o", markersize=6, markeredgecolor="black", markerfacecolor=face)
        _write(axes, max(share, high), y, format_percent(parity.agreement))
    span = max(1.0, 100 - min(lows))
    axes.set_xlim(100 - 1.06 * span, 100 + (_ROOM - 1) * 1.5 * span)
    style.few_ticks(axes)
    axes.set_xticks([tick for tick in axes.get_xticks() if 100 - 1.06 * span <= tick <= 100])
    _name(axes, "predictions equal to", "the reference's, %")


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        zorder=4.5,
    )


def _name(axes: Axes, what: str, unit: str) -> None:
    axes.set_title(f"{what}\n{unit}", loc="left", fontsize=8.5, color=style.TEXT)


def _meaning(records: Sequence[Record]) -> str:
    parts = [bars.meaning(records)]
    if any(record.ceilings for record in records):
        parts.append("Of ceiling: end to end over the slower of loader alone and model alone.")
    if any(record.telemetry for record in records):
        parts.append("CPU s: CPU seconds of all processes for 1,000 images.")
    if any(record.parity for record in records):
        parts.append(
            "Predictions: top-1 equal to those of the reference in float32; grey line: 95 % "
            "interval (Wilson)."
        )
    return " ".join(parts)
