"""Throughput as bars, one a row: by loader with its ceilings, and by GPU. What the two share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.records.gates import failures_of
from fastbench.report.plots import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fastbench.records.record import Record

__all__ = [
    "BAR",
    "FAILS",
    "FAILS_MEANING",
    "FAILS_NAME",
    "any_fails",
    "draw_bar",
    "handle",
    "meaning",
]

BAR: Final[dict[str, Any]] = {"facecolor": style.PALETTE[0], "edgecolor": "black"}
FAILS_NAME: Final = "hollow: fails a gate"
FAILS_MEANING: Final = "Hollow: fails a gate of parity or accuracy."
FAILS: Final[dict[str, Any]] = {"facecolor": "white", "edgecolor": "black"}


def draw_bar(axes: Axes, y: float, record: Record, height: float) -> None:
    """End-to-end throughput with the spread of its windows; hollow where predictions are wrong."""
    throughput = record.throughput
    look = FAILS if failures_of(record) else BAR
    axes.barh(y, throughput.images_per_s, height, linewidth=0.8, zorder=3, **look)
    low, high = min(throughput.rates), max(throughput.rates)
    if low < high:
        axes.plot(
            [low, high], [y, y], color="white", linewidth=3, zorder=3.5, solid_capstyle="butt"
        )
        axes.plot([low, high], [y, y], color="black", linewidth=1.4, marker="|", zorder=4)


def handle(**look: Any) -> Any:
    """A patch for a legend."""
    from matplotlib.patches import Patch

    return Patch(linewidth=0.8, **look)


def meaning(records: Sequence[Record]) -> str:
    """What a bar is, for the caption."""
    several = any(len(record.throughput.rates) > 1 for record in records)
    text = "the median of the windows; black line: their spread." if several else "one window each."
    return f"Bars: {text}" + (f" {FAILS_MEANING}" if any_fails(records) else "")


def any_fails(records: Sequence[Record]) -> bool:
    """Whether a hollow bar is drawn, which the legend then explains."""
    return any(failures_of(record) for record in records)
