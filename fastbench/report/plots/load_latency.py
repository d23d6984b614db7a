"""The distribution of query latency: which share of the queries takes longer, on a scale of
logarithms, where p99 and p99.9 stand as clear as the median.

Of many queries the order statistics are drawn that lie evenly on that scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.stats import MIN_SAMPLES
from fastbench.records import naming
from fastbench.records.load import OFFLINE
from fastbench.report.plots import lines, style
from fastbench.report.plots.caption import caption_of, valid_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.load import LoadRecord

_WIDTH: Final = 7.6  # inches
_MOST_SERIES: Final = 8
_PLACES: Final = 240
"""Points of a line."""
_TICKS: Final = (50.0, 90.0, 99.0, 99.9, 99.99)
_LEAST: Final = 10
"""Queries without which there is no distribution."""


@style.look()
def figure(records: Sequence[LoadRecord]) -> Figure:
    """One panel. Raises `NothingToShowError` where no row has several queries."""
    valid, invalid = valid_records(records)
    arriving = [record for record in valid if record.scenario != OFFLINE]
    several = [record for record in arriving if len(record.latencies_s) >= _LEAST]
    shown = several[:_MOST_SERIES]
    if not shown:
        raise style.NothingToShowError(
            f"No row has {_LEAST} queries that arrive by themselves: those of offline come at "
            f"once. Run another --scenario."
        )
    said = caption_of(shown)
    names = [
        " · ".join(name) + marks
        for name, marks in zip(naming.names(shown, always=("scenario",)), said.marks, strict=True)
    ]
    made = _draw(shown, names, lines.looks(shown, records))
    left_out = [
        (len(valid) - len(arriving), "rows of offline, whose queries come at once"),
        (len(arriving) - len(several), "rows of a few queries"),
        (len(several) - len(shown), "further rows"),
    ]
    meaning = (
        "Query latency: from the arrival that the load generator had scheduled to the answer, of "
        "the last run. p99 says something from "
        f"{MIN_SAMPLES[99]:,} queries on, p99.9 from {MIN_SAMPLES[99.9]:,}."
    )
    notes = [f"Left out: {what} ({num})." for num, what in left_out if num]
    style.finish(
        made,
        "Queries that take longer",
        [*said.paragraphs, " ".join([meaning, *invalid, *notes])],
    )
    return made


def _draw(shown: Sequence[LoadRecord], names: Sequence[str], places: Sequence[int]) -> Figure:
    looks = [{**lines.look(place), "marker": None, "linewidth": 1.7} for place in places]
    entries: list[tuple[Artist, str]] = [
        (style.line_handle(**look), name) for look, name in zip(looks, names, strict=True)
    ]
    made, (axes,) = lines.panels_over_names(_WIDTH, 1, entries if len(entries) > 1 else ())
    for record, look in zip(shown, looks, strict=True):
        axes.plot(*_tail(record.latencies_s), drawstyle="steps-pre", **look)
    ends = [1e3 * end for x in shown for end in (min(x.latencies_s), max(x.latencies_s))]
    limits = {record.limit for record in shown if record.limit is not None}
    ends += [1e3 * limit.seconds for limit in limits]
    style.scale_axis(axes, "x", min(ends), max(ends), from_zero=False)
    least = 1 / max(len(record.latencies_s) for record in shown)
    _scale_shares(axes, least)
    for limit in limits:
        allowed = 1 - limit.pct / 100
        axes.axvline(1e3 * limit.seconds, color="black", linewidth=1.1, linestyle=(0, (6, 2)))
        axes.plot([1e3 * limit.seconds], [allowed], marker="o", markersize=6, color="black")
        axes.annotate(
            f"limit {limit}",
            (1e3 * limit.seconds, 1),
            xycoords=("data", "axes fraction"),  # above the axes, where no line is
            xytext=(0, 2),
            textcoords="offset points",
            ha="left",
            va="bottom",
            rotation=15,  # those of limits that are near each other do not meet
            fontsize=8,
        )
    axes.set_xlabel("query latency ms")
    axes.set_ylabel("share of queries that take longer")
    return made


def _tail(latencies_s: Sequence[float]) -> tuple[list[float], list[float]]:
    """Latencies in ms, and which share is not below each."""
    ordered, n = sorted(latencies_s), len(latencies_s)
    ranks = {round(n ** (i / (_PLACES - 1))) for i in range(_PLACES)}  # from the largest on
    chosen = sorted(ranks, reverse=True)
    return [1e3 * ordered[n - rank] for rank in chosen], [rank / n for rank in chosen]


def _scale_shares(axes: Axes, least: float) -> None:
    """Logarithms, with ticks at the percentiles."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_yscale("log")
    axes.set_ylim(least / 1.5, 1.0)
    known = [pct for pct in _TICKS if 1 - pct / 100 >= least]
    places = [1.0, *(1 - pct / 100 for pct in known)]
    labels = ["100 %", *(f"{100 - pct:.4g} % (p{pct:g})" for pct in known)]
    axes.yaxis.set_major_locator(FixedLocator(places))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticks(places, labels)
    axes.grid()
