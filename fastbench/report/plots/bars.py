"""Throughput as bars, one a row: by loader with its ceilings, and by GPU. What the two share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.report.plots import style
from fastbench.report.plots.caption import is_hollow, why_hollow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from fastbench.records.record import Record

_BAR: Final[dict[str, Any]] = {"facecolor": style.PALETTE[0], "edgecolor": "black"}
_HOLLOW: Final[dict[str, Any]] = {"facecolor": "white", "edgecolor": "black"}


def draw_bar(
    axes: Axes, y: float, record: Record, height: float, colour: str = style.PALETTE[0]
) -> None:
    """End-to-end throughput with the spread of its windows; hollow where it does not count."""
    throughput = record.throughput
    look = _HOLLOW if is_hollow(record, "images/s") else {**_BAR, "facecolor": colour}
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
    if why := why_hollow(records, "images/s"):
        looks[f"hollow: {why}"] = _HOLLOW
    return {label: Patch(linewidth=0.8, **look) for label, look in looks.items()}


def meaning(records: Sequence[Record]) -> str:
    """What a bar is, for the caption."""
    several = any(len(record.throughput.rates) > 1 for record in records)
    text = "the median of the windows; black line: their spread." if several else "one window each."
    why = why_hollow(records, "images/s")
    return f"Bars: {text}" + (f" Hollow: {why}." if why else "")
