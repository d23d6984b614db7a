"""Lines of several configurations: how each looks, their names below them, and ticks between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.records.facts import FACTS
from fastbench.report.plots import style
from fastbench.report.plots.caption import COLOURED, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Described

RING: Final[dict[str, Any]] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 12,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
}
"""What is drawn round a figure that is in doubt."""
IN_DOUBT: Final = "ring: in doubt"
BEHIND: Final = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
"""What keeps lines off a label."""
PANEL: Final = (4.9, 3.6)  # inches
BESIDE_AXES: Final = 1.0  # inches: what a panel has for its margins, label and ticks
_TICK_SIZE: Final = 9.0
_NAME_SIZE: Final = 8.5
_LEGEND_LINE: Final = 0.2  # inches
_HANDLE: Final = 0.6


def look(i: int) -> dict[str, Any]:
    """Colour, marker and dashes change together; the second round has hollow markers."""
    turn, place = divmod(i, len(style.PALETTE))
    return {
        "color": style.PALETTE[place],
        "marker": style.MARKERS[place],
        "markerfacecolor": "white" if turn % 2 else style.PALETTE[place],
        "linestyle": style.LINES[(place + turn) % len(style.LINES)],
        "linewidth": 1.5,
        "markersize": 6,
        "markeredgecolor": "black",
        "markeredgewidth": 0.6,
    }


def looks(firsts: Sequence[Described], records: Sequence[Described]) -> list[int]:
    """The numbers of lines' looks: of a fact in which all their first records differ, if any is."""
    for name in COLOURED:
        places = places_of(records, name)
        own = [places[FACTS[name].of(first)] for first in firsts]
        if len(set(own)) == len(own) > 1:
            return own
    return list(range(len(firsts)))


def panels_over_names(
    width: float, num_panels: int, entries: Sequence[tuple[Artist, str]]
) -> tuple[Figure, list[Axes]]:
    """A figure so wide, its panels side by side; below them the names of `entries`, if any."""
    names = [style.fold(name, 90) for _, name in entries]
    heights = [PANEL[1]]
    if names:
        wide = max(style.text_width(x, _NAME_SIZE) for name in names for x in name)
        columns = max(1, min(len(names), int((width - 0.3) / (wide + _HANDLE))))
        rows = -(-len(names) // columns) * max(map(len, names))
        heights.append(_LEGEND_LINE * rows + 0.1)
    made = style.new_figure(width, sum(heights))
    grid = made.add_gridspec(len(heights), num_panels, height_ratios=heights)
    panels = [made.add_subplot(grid[0, column]) for column in range(num_panels)]
    if names:
        below = made.add_subplot(grid[1, :])
        below.axis("off")
        below.legend(
            [handle for handle, _ in entries],
            ["\n".join(name) for name in names],
            loc="upper left",
            ncols=columns,
            borderaxespad=0,
            handlelength=3.2,
            fontsize=_NAME_SIZE,
        )
    return made, panels


def number_ticks(axes: Axes, values: Sequence[int], apart: Callable[[int, int], float]) -> None:
    """Ticks of the x axis at whole numbers, in order, whose labels do not meet.

    The ends are labelled, then the roundest numbers. `apart` tells how many inches lie between two.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    def meet(a: int, b: int) -> bool:
        widths = [style.text_width(f"{x:,}", _TICK_SIZE) for x in (a, b)]
        return apart(a, b) < 0.1 + sum(widths) / 2

    kept: list[int] = []
    for value in [values[0], values[-1], *sorted(values, key=lambda value: -(value & -value))]:
        if not any(meet(value, other) for other in kept):
            kept.append(value)
    axes.xaxis.set_major_locator(FixedLocator(sorted(kept)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
