"""Query latency against the rate at which queries arrive: a line a percentile and configuration.

The runs of a search, and those at a rate of their own, of the same configuration. The limit is a
horizontal line, and what a long run confirmed below it is marked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import format_rate
from fastbench.records import naming
from fastbench.records.facts import FACTS
from fastbench.records.load import SERVER
from fastbench.report.plots import lines, style
from fastbench.report.plots.caption import caption_of, valid_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.load import LoadRecord, LoadRun

_WIDTH: Final = 7.6  # inches
_MOST_SERIES: Final = 8
_PERCENTILES: Final = (99.0, 90.0, 50.0)
_LINES: Final = {99.0: "-", 90.0: "--", 50.0: ":"}
_KNEE: Final[dict[str, Any]] = {"marker": "*", "markersize": 15, "markeredgecolor": "black"}
_BEHIND: Final = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
"""What keeps lines off a label."""
_LIMIT: Final[dict[str, Any]] = {"color": "black", "linewidth": 1.1, "linestyle": (0, (6, 2))}


@dataclass
class _Series:
    """A configuration: its records, and all their runs, the lowest rate first."""

    name: str
    records: list[LoadRecord] = field(default_factory=list)

    @property
    def runs(self) -> list[LoadRun]:
        found = [run for record in self.records for run in record.by_rate]
        return sorted(found, key=lambda run: run.offered_per_s or 0.0)

    def points(self, pct: float) -> tuple[list[float], list[float]]:
        """The rates, and a percentile of the latency at each in ms."""
        known = [(run, s) for run in self.runs if (s := run.percentile_s(pct))]
        return [run.offered_per_s or 0.0 for run, _ in known], [1e3 * s for _, s in known]

    @property
    def knees(self) -> list[tuple[float, float]]:
        """What long runs have confirmed: the rate, and the limit's percentile there in ms."""
        return [
            (rate, 1e3 * (x.result.limit_s or 0.0))
            for x in self.records
            if x.is_search and (rate := x.latency_bounded_per_s) is not None
        ]


@style.look()
def figure(records: Sequence[LoadRecord]) -> Figure:
    """One panel. Raises `NothingToShowError` where no configuration has several rates."""
    valid, invalid = valid_records(records)
    series = _series([record for record in valid if record.scenario == SERVER])
    several = [s for s in series if len({run.offered_per_s for run in s.runs}) > 1]
    shown = several[:_MOST_SERIES]
    if not shown:
        raise style.NothingToShowError(
            "No configuration has several rates of queries. Run fastbench loadtest with several "
            "--rate, or without it, which searches."
        )
    drawn = [record for s in shown for record in s.records]
    said = caption_of(drawn, without=("rate",))
    every = iter(said.every)
    for s in shown:
        s.name += "".join(dict.fromkeys(mark for _ in s.records for mark in next(every)))
    made = _draw(shown, lines.looks([s.records[0] for s in shown], records))
    left_out = [
        (len(series) - len(several), "configurations of one rate"),
        (len(several) - len(shown), "further configurations"),
    ]
    meaning = (
        "Query latency: from the arrival that the load generator had scheduled to the answer. "
        "Runs of a search are short: one holds the limit by chance, or misses it."
    )
    notes = [f"Left out: {what} ({num})." for num, what in left_out if num]
    style.finish(
        made,
        "Query latency against the rate of queries",
        [*said.paragraphs, " ".join([meaning, *invalid, *notes])],
    )
    return made


def _series(records: Sequence[LoadRecord]) -> list[_Series]:
    alike = [name for name in naming.UNDER_LOAD if name != "rate"]
    telling = [name for name in naming.varying(records) if name != "rate"]
    found: dict[tuple[object, ...], _Series] = {}
    for record in records:
        key = (*naming.configuration_key(record), *(FACTS[x].of(record) for x in alike))
        name = " · ".join(naming.parts(record, telling)) or record.loader
        found.setdefault(key, _Series(name)).records.append(record)
    return list(found.values())


def _draw(shown: Sequence[_Series], places: Sequence[int]) -> Figure:
    entries: list[tuple[Artist, str]] = []
    if len(shown) > 1:
        plain = [{**lines.look(place), "linestyle": "-"} for place in places]
        entries += [
            (style.line_handle(**look), s.name) for look, s in zip(plain, shown, strict=True)
        ]
    entries += [
        (style.line_handle(color=style.MUTED, linestyle=_LINES[pct]), f"p{pct:g}")
        for pct in _PERCENTILES
    ]
    if any(s.knees for s in shown):
        handle = style.line_handle(linestyle="none", markerfacecolor="white", **_KNEE)
        entries.append((handle, "confirmed by a long run"))
    made, (axes,) = lines.panels_over_names(_WIDTH, 1, entries)
    values: list[float] = []
    rates: list[float] = []
    for s, place in zip(shown, places, strict=True):
        look = lines.look(place)
        for pct in _PERCENTILES:
            xs, ys = s.points(pct)
            of_line = {**look, "linestyle": _LINES[pct]}
            if pct != _PERCENTILES[0]:
                of_line |= {"marker": None, "linewidth": 1.0}
            axes.plot(xs, ys, **of_line)
            rates, values = rates + xs, values + ys
    limits = {x.limit for s in shown for x in s.records if x.limit is not None}
    values += [1e3 * limit.seconds for limit in limits]
    style.scale_axis(axes, "y", min(values), max(values), from_zero=True)
    if axes.get_yscale() != "log":
        axes.set_yscale("log")
        style.scale_axis(axes, "y", min(values), 10.1 * min(values), from_zero=True)
    style.scale_axis(axes, "x", 0.0, max(rates), from_zero=True)
    _draw_knees(axes, shown, places)
    for limit in limits:
        axes.axhline(1e3 * limit.seconds, zorder=1, **_LIMIT)
        axes.annotate(
            f"limit {limit}",
            (1, 1e3 * limit.seconds),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            bbox=_BEHIND,
        )
    axes.set_xlabel("queries/s that arrive")
    axes.set_ylabel("query latency ms")
    axes.grid()
    return made


def _draw_knees(axes: Axes, shown: Sequence[_Series], places: Sequence[int]) -> None:
    for s, place in zip(shown, places, strict=True):
        colour = lines.look(place)["color"]
        for rate, latency_ms in s.knees:
            axes.plot([rate], [latency_ms], color=colour, zorder=5, **_KNEE)
            axes.annotate(
                f"{format_rate(rate)}/s",
                (rate, latency_ms),
                xytext=(0, -9),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8.5,
                fontweight="bold",
                color=colour,
                bbox=_BEHIND,
                zorder=6,
            )
