"""Throughput as bars, one a row: by loader with its ceilings, and by GPU. What the two share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.records.gates import failures_of
from fastbench.report.plots import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from fastbench.records.record import Record

_BAR: Final[dict[str, Any]] = {"facecolor": style.PALETTE[0], "edgecolor": "black"}
FAILS_NAME: Final = "hollow: fails a gate"
FAILS_MEANING: Final = "Hollow: fails a gate of parity or accuracy."
_FAILS: Final[dict[str, Any]] = {"facecolor": "white", "edgecolor": "black"}


def draw_bar(axes: Axes, y: float, record: Record, height: float) -> None:
    """End-to-end throughput with the spread of its windows; hollow where predictions are wrong."""
    throughput = record.throughput
    look = _FAILS if failures_of(record) else _BAR
    axes.barh(y, throughput.images_per_s, height, linewidth=0.8, zorder=3, **look)
    low, high = min(throughput.rates), max(throughput.rates)
    if low < high:
        axes.plot(
            [low, high], [y, y], color="white", linewidth=3, zorder=3.5, solid_capstyle="butt"
        )
        axes.plot([low, high], [y, y], color="black", linewidth=1.4, marker="|", zorder=4)


def legend_entries(
    records: Sequence[Record], behind: Mapping[str, dict[str, Any]] | None = None
) -> dict[str, Artist]:
    """Handles by label: of the bars, of what lies `behind` them, and of hollow ones if any is."""
    from matplotlib.patches import Patch

    looks = {"end to end": _BAR, **(behind or {})}
    if any_fails(records):
        looks[FAILS_NAME] = _FAILS
    return {label: Patch(linewidth=0.8, **look) for label, look in looks.items()}


def meaning(records: Sequence[Record]) -> str:
    """What a bar is, for the caption."""
    several = any(len(record.throughput.rates) > 1 for record in records)
    text = "the median of the windows; black line: their spread." if several else "one window each."
    return f"Bars: {text}" + (f" {FAILS_MEANING}" if any_fails(records) else "")


def any_fails(records: Sequence[Record]) -> bool:
    """Whether a hollow bar is drawn, which the legend then explains."""
    return any(failures_of(record) for record in records)
