"""Throughput against ranks beside its ideal, and scaling efficiency with what is lost, by cause.

The ideal is as many times the throughput of one rank of the same configuration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import counted
from fastbench.records import naming
from fastbench.records.scaling import CAUSES, WAITING
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import lines, style
from fastbench.report.plots.caption import caption_of, valid_records
from fastbench.report.sheet.scaling import key_of, with_scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Record

_MOST_SERIES: Final = 6
_MOST_LINEAR: Final = 16
"""Up to so many ranks the axes are linear; beyond, the ideal is a straight line in logarithms."""
_ROOM: Final = 1.25  # times: from the outermost number of ranks to a logarithmic axis's ends
_BESIDE: Final = 0.012  # of the axis: how far the outermost line is from the number of ranks
_GROUP: Final = 0.8  # of the room for a number of ranks
_WIDEST: Final = 0.45
_LABEL_SIZE: Final = 8.0
_LEAST: Final = 0.0005
_IDEAL: Final[dict[str, Any]] = {"linestyle": (0, (1, 1.5)), "linewidth": 1.2, "zorder": 1.5}
_LOST: Final = dict(zip(CAUSES, ("", "////", "xxxx", "...."), strict=True))
"""The hatch of what is lost, by its cause."""


@dataclass
class _Series:
    """One configuration: its rows by the number of ranks."""

    name: str
    rows: dict[int, Row] = field(default_factory=dict)

    @property
    def counts(self) -> list[int]:
        return sorted(self.rows)


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """One panel, or two where one rank was measured. Raises `NothingToShowError`."""
    valid, invalid = valid_records(records)
    series, num_earlier = _series(valid)
    several = [s for s in series if len(s.rows) > 1]
    shown = several[:_MOST_SERIES]
    if not shown:
        raise style.NothingToShowError(
            "No configuration has several numbers of ranks. Run with several --ranks, or with "
            "--preset scaling."
        )
    drawn = [s.rows[num].record for s in shown for num in s.counts]
    said = caption_of(drawn, without=("ranks", "threads", "engine-threads"))
    every = iter(said.every)
    for s in shown:
        s.name += "".join(dict.fromkeys(mark for _ in s.counts for mark in next(every)))
    has_efficiency = any(row.scaling for s in shown for row in s.rows.values())
    made = _draw(shown, lines.looks([s.rows[s.counts[0]].record for s in shown], records))
    left_out = [
        (len(series) - len(several), "configurations of one number of ranks"),
        (len(several) - len(shown), "further configurations"),
        (num_earlier, "earlier rows of the same configuration and ranks"),
    ]
    style.finish(
        made,
        f"Throughput{' and scaling efficiency' if has_efficiency else ''} against ranks",
        [
            *said.paragraphs,
            " ".join(
                [
                    "Throughput: the median of the windows, and their spread.",
                    "Scaling efficiency: the share of the ideal; above it what is lost, by cause."
                    if has_efficiency
                    else "Without one rank of the same configuration there is no efficiency.",
                    *invalid,
                    *(f"Left out: {what} ({num})." for num, what in left_out if num),
                ]
            ),
        ],
    )
    return made


def _series(records: Sequence[Record]) -> tuple[list[_Series], int]:
    """The configurations, and how many records a later one of the same ranks replaces."""
    latest: dict[tuple[object, ...], Row] = {}
    for record in sorted(records, key=lambda record: record.created):
        row = Row(record=record)
        latest[key_of(row), record.num_ranks] = row
    kept = with_scaling(list(latest.values()))
    telling = [name for name in naming.varying(records) if name != "ranks"]
    asked = {row.record.config.get("num_threads") for row in kept}
    found: dict[tuple[object, ...], _Series] = {}
    for row in kept:
        name, threads = naming.parts(row.record, telling), row.record.config.get("num_threads")
        if len(asked) > 1 and threads:
            name.append(counted(threads, "thread"))
        series = found.setdefault(key_of(row), _Series(" · ".join(name) or row.record.model))
        series.rows[row.record.num_ranks] = row
    return list(found.values()), len(records) - len(kept)


def _draw(shown: Sequence[_Series], places: Sequence[int]) -> Figure:
    """The panels side by side; below them, what the lines and the hatches are."""
    every = [row for s in shown for row in s.rows.values()]
    counts = sorted({row.record.num_ranks for row in every if row.scaling})
    width = lines.PANEL[0] * (2 if counts else 1.4)
    entries: list[tuple[Artist, str]] = []
    if len(shown) > 1:
        handles = [style.line_handle(**lines.look(place)) for place in places]
        entries += [(handle, s.name) for handle, s in zip(handles, shown, strict=True)]
    if any(1 in s.rows for s in shown):
        handle = style.line_handle(color=style.MUTED, **_IDEAL)
        entries.append((handle, "ideal: as many times one rank"))
    entries += _causes(every)
    if any(row.is_doubted(COLUMNS[name]) for row in every for name in ("images/s", "scaling")):
        entries.append((style.line_handle(**lines.RING), lines.IN_DOUBT))
    made, panels = lines.panels_over_names(width, 2 if counts else 1, entries)
    inches = width / len(panels) - lines.BESIDE_AXES
    _draw_throughput(panels[0], shown, places, inches)
    if counts:
        _draw_efficiency(panels[1], shown, places, counts, inches)
    return made


def _causes(rows: Sequence[Row]) -> list[tuple[Artist, str]]:
    from matplotlib.patches import Patch

    lost = {cause for row in rows if row.scaling for cause, x in row.scaling.losses.items()
            if x >= _LEAST}  # fmt: skip
    return [
        (Patch(**_look_of(cause)), cause if cause == WAITING else f"ranks slower: {cause}")
        for cause in CAUSES
        if cause in lost
    ]


def _look_of(cause: str) -> dict[str, Any]:
    return {
        "facecolor": "#e6e6e6" if cause == WAITING else "white",
        "edgecolor": style.MUTED,
        "hatch": _LOST[cause],
        "linewidth": 0.8,
    }


def _draw_throughput(
    axes: Axes, shown: Sequence[_Series], places: Sequence[int], inches: float
) -> None:
    counts = sorted({num for s in shown for num in s.rows})
    is_linear, middle = counts[-1] <= _MOST_LINEAR, (len(shown) - 1) / 2
    # A little beside each other: else one's whiskers would hide another's.
    end = counts[-1] * (1 + 0.08) if is_linear else math.log2(_ROOM**2 * counts[-1] / counts[0])

    def place(num: float, number: int) -> float:
        aside = _BESIDE * end * (number - middle) / max(1, middle)
        return num + aside if is_linear else num * 2**aside

    highest, lowest = 0.0, math.inf
    for i, s in enumerate(shown):
        look, timed = lines.look(places[i]), [s.rows[num].record.throughput for num in s.counts]
        middles = [x.images_per_s for x in timed]
        below = [x.images_per_s - min(x.rates) for x in timed]
        above = [max(x.rates) - x.images_per_s for x in timed]
        xs = [place(num, i) for num in s.counts]
        axes.errorbar(xs, middles, [below, above], capsize=2.5, elinewidth=0.9, **look)
        highest = max(highest, *(max(x.rates) for x in timed))
        lowest = min(lowest, *(min(x.rates) for x in timed))
        if 1 in s.rows:
            one = s.rows[1].record.throughput.images_per_s
            along = [(counts[-1]) ** (step / 64) for step in range(65)]
            axes.plot([place(x, i) for x in along], [one * x for x in along],
                      color=look["color"], **_IDEAL)  # fmt: skip
            highest = max(highest, one * counts[-1])
        ringed = [
            (x, y)
            for x, y, num in zip(xs, middles, s.counts, strict=True)
            if s.rows[num].is_doubted(COLUMNS["images/s"])
        ]
        axes.plot([x for x, _ in ringed], [y for _, y in ringed], **lines.RING)
    if is_linear:
        style.scale_axis(axes, "y", highest, highest, from_zero=True)
        axes.set_xlim(0, end)
        lines.number_ticks(axes, counts, lambda a, b: inches * abs(b - a) / end)
    else:
        style.scale_axis(axes, "y", lowest, highest, from_zero=True)
        axes.set_xscale("log", base=2)
        axes.set_xlim(counts[0] / _ROOM, counts[-1] * _ROOM)
        lines.number_ticks(axes, counts, lambda a, b: inches * abs(math.log2(b / a)) / end)
    axes.set_ylabel(COLUMNS["images/s"].title)
    axes.set_xlabel("ranks")
    axes.grid(axis="y")


def _draw_efficiency(
    axes: Axes,
    shown: Sequence[_Series],
    places: Sequence[int],
    counts: Sequence[int],
    inches: float,
) -> None:
    wide = min(_WIDEST, _GROUP / len(shown))
    highest = 100.0
    for i, s in enumerate(shown):
        for at, num in enumerate(counts):
            row = s.rows.get(num)
            if row is None or row.scaling is None:
                continue
            x, top = at + wide * (i - (len(shown) - 1) / 2), 100 * row.scaling.efficiency
            colour = lines.look(places[i])["color"]
            axes.bar(x, top, wide, facecolor=colour, edgecolor="black", linewidth=0.8)
            text = COLUMNS["scaling"].text(row.scaling.efficiency)
            if style.text_width(text, _LABEL_SIZE) < 0.9 * wide * inches / len(counts):
                axes.text(x, top / 2, text, ha="center", va="center", color="white",
                          fontsize=_LABEL_SIZE)  # fmt: skip
            if row.is_doubted(COLUMNS["scaling"]):
                axes.plot([x], [top], **lines.RING)
            for cause, share in row.scaling.losses.items():
                if share >= _LEAST:
                    axes.bar(x, 100 * share, wide, bottom=top, **_look_of(cause))
                    top += 100 * share
            highest = max(highest, top)
    axes.set_xticks(range(len(counts)), [f"{num:,}" for num in counts])
    axes.set_xlim(-0.5, len(counts) - 0.5)
    axes.set_ylim(0, highest * 1.04)
    axes.set_ylabel("scaling efficiency %")
    axes.set_xlabel("ranks")
    axes.grid(axis="y")
