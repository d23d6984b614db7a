"""Query latency against the rate at which queries arrive: a line a percentile and configuration.

The runs of a search, and those at a rate of their own, of the same configuration. A search repeats
runs at about the same rate: each has its marker, and the line goes through their median. The limit
is a horizontal line, and what a long run confirmed below it is marked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import MIN_SAMPLES, percentile
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
_HOLLOW: Final = f"hollow: below {MIN_SAMPLES[99]} queries, too few for p99"
_ALIKE: Final = 1.03
"""Rates up to so many times another are about the same."""
_KNEE: Final[dict[str, Any]] = {"marker": "*", "markersize": 15, "markeredgecolor": "black"}
_LABEL_WIDTH, _LABEL_HEIGHT = 0.22, 1.25
"""How much of the axis the label of the limit takes, and up to what times the limit."""
_LIMIT: Final[dict[str, Any]] = {"color": "black", "linewidth": 1.1, "linestyle": (0, (6, 2))}


@dataclass(frozen=True)
class _Point:
    """A run: its rate, a percentile of its latency, and whether its queries are enough for it."""

    rate: float
    ms: float
    is_supported: bool


@dataclass
class _Series:
    """A configuration: its records, and all their runs, the lowest rate first."""

    name: str
    records: list[LoadRecord] = field(default_factory=list)

    @property
    def runs(self) -> list[LoadRun]:
        found = [run for record in self.records for run in record.by_rate]
        return sorted(found, key=lambda run: run.offered_per_s or 0.0)

    def points(self, pct: float) -> list[_Point]:
        """The rates, and a percentile of the latency at each."""
        return [
            _Point(run.offered_per_s or 0.0, 1e3 * s, run.num_queries >= MIN_SAMPLES[pct])
            for run in self.runs
            if (s := run.percentile_s(pct))
        ]

    def line(self, pct: float) -> tuple[list[float], list[float]]:
        """The medians of the points of about the same rate."""
        groups: list[list[_Point]] = []
        for point in self.points(pct):
            if groups and point.rate <= _ALIKE * groups[-1][0].rate:
                groups[-1].append(point)
            else:
                groups.append([point])
        rates = [percentile([point.rate for point in group], 50) for group in groups]
        return rates, [percentile([point.ms for point in group], 50) for group in groups]

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
    if not all(point.is_supported for s in shown for point in s.points(_PERCENTILES[0])):
        hollow = {**lines.look(0), "markerfacecolor": "white", "linestyle": "none"}
        entries.append((style.line_handle(**{**hollow, "color": style.MUTED}), _HOLLOW))
    if any(s.knees for s in shown):
        handle = style.line_handle(linestyle="none", markerfacecolor="white", **_KNEE)
        entries.append((handle, "confirmed by a long run"))
    made, (axes,) = lines.panels_over_names(_WIDTH, 1, entries)
    values: list[float] = []
    rates: list[float] = []
    for s, place in zip(shown, places, strict=True):
        look = lines.look(place)
        for pct in _PERCENTILES:
            points = s.points(pct)
            of_line = {**look, "linestyle": _LINES[pct], "marker": None}
            if pct != _PERCENTILES[0]:
                of_line["linewidth"] = 1.0
            axes.plot(*s.line(pct), **of_line)
            rates += [point.rate for point in points]
            values += [point.ms for point in points]
        for point in s.points(_PERCENTILES[0]):
            face = look["markerfacecolor"] if point.is_supported else "white"
            of_point = {**look, "linestyle": "none", "markerfacecolor": face, "markersize": 5}
            axes.plot([point.rate], [point.ms], **of_point)
    limits = {x.limit for s in shown for x in s.records if x.limit is not None}
    values += [1e3 * limit.seconds for limit in limits]
    style.scale_axis(axes, "y", min(values), max(values), from_zero=True)
    if axes.get_yscale() != "log":
        axes.set_yscale("log")
        style.scale_axis(axes, "y", min(values), 10.1 * min(values), from_zero=True)
    style.scale_axis(axes, "x", 0.0, max(rates), from_zero=True)
    _draw_knees(axes, shown, places)
    points = [x for s in shown for pct in _PERCENTILES for x in s.points(pct)]
    for limit in limits:
        limit_ms = 1e3 * limit.seconds
        near = [x.rate / max(rates) for x in points if 1 <= x.ms / limit_ms < _LABEL_HEIGHT]
        # At the end where fewer points are.
        is_left = sum(x < _LABEL_WIDTH for x in near) < sum(x > 1 - _LABEL_WIDTH for x in near)
        axes.axhline(limit_ms, zorder=1, **_LIMIT)
        axes.annotate(
            f"limit {limit}",
            (0 if is_left else 1, limit_ms),
            xycoords=("axes fraction", "data"),
            xytext=(4 if is_left else -2, 3),
            textcoords="offset points",
            ha="left" if is_left else "right",
            fontsize=8,
            bbox=lines.BEHIND,
            zorder=1.5,
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
                bbox=lines.BEHIND,
                zorder=6,
            )
