"""Top-1 against images/s, and the Pareto front: the rows that no other beats in one without losing
in the other.

The front joins measured values: where intervals overlap, another measurement may order the rows
otherwise. A row that fails a gate, or whose speed or accuracy is in doubt, is hollow and not on the
front; nor is one that a table would not rank with the others, for its page cache or `--quick`. Rows
of other images than most, rows predicted among other classes (`--among`) and INVALID rows are left
out, and the caption says so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.records import naming
from fastbench.records.facts import FACTS
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import style
from fastbench.report.plots.caption import (
    COLOURED,
    caption_of,
    is_hollow,
    places_of,
    valid_records,
    why_hollow,
)
from fastbench.report.sheet.footnotes import facts, usual, why_not_comparable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

    from fastbench.records.record import Record

_SIZE: Final = (8.5, 5.2)  # inches
_MARKER: Final = 7.0  # points
_LABEL_SIZE: Final = 7.5
_LABEL_CHARS: Final = 26
_FEW_LABELS: Final = 16  # of more, only those on the front may be far from their points
_MOST_LABELS: Final = 60  # of more points, only those on the front have a label
_POINT: Final[dict[str, Any]] = {
    "linestyle": "none",
    "markersize": _MARKER,
    "markeredgecolor": "black",
}
_FRONT: Final[dict[str, Any]] = {"color": "black", "linewidth": 1.1, "linestyle": (0, (5, 2))}
_FRONT_NAME: Final = "Pareto front"
_SIZE_FACT: Final = "image-size"
_MARKED: Final = ("quantize", _SIZE_FACT)
"""The facts that markers may stand for where colours stand for another."""


@dataclass(frozen=True)
class _Series:
    """A fact that a colour or a marker stands for: each point's value in words, and its number.

    `name` is None where it stands for nothing.
    """

    name: str | None
    words: list[str]
    places: list[int]


@dataclass(frozen=True, kw_only=True)
class _Points:
    """The rows to draw: values, labels, which are the front, and what colour and marker say."""

    records: list[Record]
    x: list[float]
    y: list[float]
    labels: list[str]
    colours: _Series
    markers: _Series
    front: list[int]


def pareto_front(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """The points that no other equals in both and beats in one, by growing x."""
    order = sorted(range(len(x)), key=lambda i: (-x[i], -y[i]))
    front: list[int] = []
    for i in order:
        if not front or y[i] > y[front[-1]] or (x[i], y[i]) == (x[front[-1]], y[front[-1]]):
            front.append(i)
    return front[::-1]


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """The plot of the rows that have an accuracy. Raises `NothingToShowError`."""
    comparable, left_out = _comparable(records)
    said = caption_of(comparable)
    points = _points(comparable, said.marks, records)
    meaning = "Bars: 95 % interval of top-1 (Wilson), and the spread of the windows' throughputs."
    if points.front and len(points.x) > 1:
        meaning += " Bold: on the Pareto front."
    if not points.front:
        meaning += " There is no Pareto front: no point is free of doubt in both figures."
    if size := _usual_size(comparable):
        meaning += f" {size} where no size is said."
    if num_apart := _is_ranked(comparable).count(False):
        left_out.append(
            f"Not held against the others, for their page cache or --quick: {num_apart} of "
            f"{len(comparable):,} points."
        )
    if why := why_hollow(comparable, "images/s", "top-1"):
        meaning += f" Hollow: {why}."
    notes = [meaning, *left_out]
    made, num_bare = _draw(points, [*said.paragraphs, " ".join(notes)])
    if num_bare:
        notes.append(
            f"Without a label, for want of room: {num_bare:,} of {len(points.x):,} points."
        )
        made, _ = _draw(points, [*said.paragraphs, " ".join(notes)])
    return made


def _comparable(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The rows whose top-1 is of the same images, the most there are; a sentence on the others."""
    valid, notes = valid_records(records)
    scored = [record for record in valid if record.accuracy]
    if not scored:
        raise style.NothingToShowError("No valid row has an accuracy. Run with labelled images.")
    if missing := len(valid) - len(scored):
        notes.append(f"Left out, without accuracy: {missing} of {len(records):,} rows.")
    found = scored
    for names, what in (
        (("digest", "images"), "of other images"),
        (("among",), "predicted among other classes"),
    ):
        kinds = [tuple(FACTS[name].of(record) for name in names) for record in found]
        most = Counter(kinds).most_common(1)[0][0]
        alike = [record for record, kind in zip(found, kinds, strict=True) if kind == most]
        if unlike := len(found) - len(alike):
            notes.append(f"Left out, {what}: {unlike} of {len(records):,} rows.")
        found = alike
    return found, notes


def _is_ranked(records: Sequence[Record]) -> list[bool]:
    """Which rows a table would rank with the others if their predictions are right."""
    every = [facts(record) for record in records]
    common = usual(every)
    return [not why_not_comparable(its, common) for its in every]


def _is_hollow(record: Record) -> bool:
    return is_hollow(record, "images/s", "top-1")


def _points(records: list[Record], marks: Sequence[str], every: Sequence[Record]) -> _Points:
    """The points of these rows; a colour stands for the same among `every` row."""
    x = [record.throughput.images_per_s for record in records]
    y = [100 * record.accuracy.top1 for record in records if record.accuracy]
    is_ranked = _is_ranked(records)
    passing = [i for i, r in enumerate(records) if is_ranked[i] and not _is_hollow(r)]
    front = [passing[i] for i in pareto_front([x[i] for i in passing], [y[i] for i in passing])]
    telling = naming.varying(records)
    # What colour and marker say need not be said at each point, if it leaves something to be said.
    by = _first(COLOURED, telling, every) if len(telling) > 1 else None
    marked = _first(_MARKED, {*telling} - {by}, every) if by else None
    said = [name for name in (by, marked) if name]
    always = () if telling else ("model", "loader")
    names = naming.names(records, always=always, without=said)
    # Who looks at the front wants to know all of what makes a point.
    for i, whole in enumerate(naming.names(records, always=always)):
        if i in front:
            names[i] = whole
    size = _usual_size(records)
    names = [[text for text in name if text != size] for name in names]
    colours = _series(records, every, by)
    return _Points(
        records=records,
        x=x,
        y=y,
        labels=[
            (", ".join(name) or ("" if said else record.model)) + mark
            for name, record, mark in zip(names, records, marks, strict=True)
        ],
        colours=colours,
        markers=_series(records, every, marked) if marked else colours,
        front=front,
    )


def _usual_size(records: Sequence[Record]) -> str:
    """The image size of most rows, in words, where others have another; labels leave it out."""
    if _SIZE_FACT not in naming.varying(records):
        return ""
    words = Counter(FACTS[_SIZE_FACT].text(record) for record in records)
    usual, num = words.most_common(1)[0]
    return usual if 2 * num > len(records) else ""


def _first(names: Sequence[str], telling: Collection[str], every: Sequence[Record]) -> str | None:
    """The first of these facts that tells rows apart, by no more values than there are markers."""
    return next(
        (
            name
            for name in names
            if name in telling and len(places_of(every, name)) <= len(style.MARKERS)
        ),
        None,
    )


def _series(records: Sequence[Record], every: Sequence[Record], name: str | None) -> _Series:
    """A fact of these rows; a number stands for the same among `every` row."""
    if name is None:
        return _Series(None, [""] * len(records), [0] * len(records))
    fact, places = FACTS[name], places_of(every, name)
    values = [fact.of(record) for record in records]
    words = [fact.words(value) or f"{fact.heading} {fact.show(value)}" for value in values]
    return _Series(name, words, [places[value] for value in values])


def _draw(points: _Points, caption: Sequence[str]) -> tuple[Figure, int]:
    made = style.new_figure(*_SIZE)
    axes = made.add_subplot()
    intervals, front = _draw_intervals(axes, points), _draw_front(axes, points)
    _draw_points(axes, points)
    _scale(axes, intervals)
    axes.set_xlabel(COLUMNS["images/s"].title)
    axes.set_ylabel(COLUMNS["top-1"].title)
    axes.grid()
    style.finish(made, "Accuracy against throughput", caption)
    lines = [(line, _COVERS_INTERVAL) for line in intervals]
    lines += [(line, _COVERS_FRONT) for line in front]
    return made, _draw_labels(axes, points, lines)


# A line from one corner to the other, in data coordinates: x0, y0, x1, y1.
_Line = tuple[float, float, float, float]
_COVERS_FRONT: Final = 5.0  # what a label pays that covers it (see `place_labels`)
_COVERS_INTERVAL: Final = 2.0


def _draw_intervals(axes: Axes, points: _Points) -> list[_Line]:
    from matplotlib.collections import LineCollection

    found: list[_Line] = []
    for x, y, record in zip(points.x, points.y, points.records, strict=True):
        assert record.accuracy is not None
        low, high = (100 * bound for bound in record.accuracy.top1_interval)
        rates = record.throughput.rates
        found += [(x, low, x, high), (min(rates), y, max(rates), y)]
    ends = [((x0, y0), (x1, y1)) for x0, y0, x1, y1 in found]
    axes.add_collection(LineCollection(ends, colors="#a6a6a6", linewidths=0.9, zorder=1.5))
    return found


def _draw_front(axes: Axes, points: _Points) -> list[_Line]:
    """Stairs: what is reached at each throughput or above."""
    x, y = ([values[i] for i in points.front] for values in (points.x, points.y))
    if len(x) < 2:
        return []
    axes.step(x, y, where="pre", zorder=1.8, label=_FRONT_NAME, **_FRONT)
    pairs = list(zip(x, y, strict=True))
    found: list[_Line] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(pairs):
        found += [(x0, y1, x0, y0), (x0, y1, x1, y1)]
    return found


def _draw_points(axes: Axes, points: _Points) -> None:
    colours, markers = points.colours, points.markers
    alike: dict[tuple[int, int, bool], list[int]] = {}
    for i, place in enumerate(zip(colours.places, markers.places, strict=True)):
        alike.setdefault((*place, _is_hollow(points.records[i])), []).append(i)
    for (colour, marker, is_empty), its in alike.items():
        look = _POINT | {"marker": style.MARKERS[marker], "markeredgewidth": 0.8}
        if is_empty:
            look |= {"markeredgecolor": style.colour(colour), "markeredgewidth": 1.4}
        face = "white" if is_empty else style.colour(colour)
        x, y = [points.x[i] for i in its], [points.y[i] for i in its]
        axes.plot(x, y, zorder=3, markerfacecolor=face, **look)
    is_one = markers.name == colours.name
    entries: dict[str, Artist] = {}
    for number, name in sorted(set(zip(colours.places, colours.words, strict=True))):
        look = _POINT | {"marker": style.MARKERS[number if is_one else 0]}
        if name:
            entries[name] = style.line_handle(markerfacecolor=style.colour(number), **look)
    for number, name in sorted(set(zip(markers.places, markers.words, strict=True))):
        look = _POINT | {"marker": style.MARKERS[number]}
        if not is_one:
            entries[name] = style.line_handle(markerfacecolor=style.MUTED, **look)
    if len(points.front) > 1:
        entries[_FRONT_NAME] = style.line_handle(**_FRONT)
    if why := why_hollow(points.records, "images/s", "top-1"):
        hollow = _POINT | {"marker": "o", "markerfacecolor": "white"}
        entries[f"hollow: {why}"] = style.line_handle(**hollow)
    if entries:
        style.add_legend(axes, entries, _SIZE[0] - 1)


def _scale(axes: Axes, lines: Sequence[_Line]) -> None:
    """Limits that hold all intervals; top-1 with no tick above 100."""
    xs = [x for line in lines for x in (line[0], line[2])]
    ys = [y for line in lines for y in (line[1], line[3])]
    style.scale_axis(axes, "x", min(xs), max(xs), from_zero=False)
    room = max(0.07 * (max(ys) - min(ys)), 0.5)
    low, high = min(ys) - room, max(ys) + room
    axes.set_ylim(max(low, -2), min(high, 102))
    axes.set_yticks([tick for tick in axes.get_yticks() if max(low, 0) <= tick <= min(high, 100)])


def _draw_labels(axes: Axes, points: _Points, lines: Sequence[tuple[_Line, float]]) -> int:
    """Write the labels where they hide nothing, those of the front first; how many had no room."""
    import numpy as np
    from matplotlib.patheffects import withStroke

    from fastbench.report.plots.label_placement import place_labels

    figure = axes.figure
    pixel = figure.dpi / 72  # pixels in a point
    order = sorted(range(len(points.x)), key=lambda i: (i not in points.front, -points.y[i]))
    # In a crowd only those of the front can be told apart.
    num = len(order) if len(order) <= _MOST_LABELS else min(len(points.front), _MOST_LABELS)
    labelled = [i for i in order[:num] if points.labels[i]]
    others = [i for i in order if i not in labelled]
    texts = [_text(axes, points, i) for i in labelled]
    boxes = [text.get_window_extent() for text in texts]
    at = axes.transData.transform(list(zip(points.x, points.y, strict=True)))
    ends = axes.transData.transform([end for (a, b, c, d), _ in lines for end in ((a, b), (c, d))])
    thin = [
        ((*np.minimum(a, b) - 1, *np.maximum(a, b) + 1), cost)
        for a, b, (_, cost) in zip(ends[::2], ends[1::2], lines, strict=True)
        if abs(a - b).max() > 1
    ]
    inner = axes.get_window_extent().padded(-2 * pixel)
    places = place_labels(
        [tuple(at[i]) for i in labelled],
        [(box.width + 3 * pixel, box.height + 2 * pixel) for box in boxes],
        (inner.x0, inner.y0, inner.x1, inner.y1),
        line_height=1.25 * _LABEL_SIZE * pixel,
        radius=(_MARKER / 2 + 0.8) * pixel,
        others=[tuple(at[i]) for i in others],
        lines=thin,
        # Long leaders from everywhere make a web.
        num_far=len(points.front) if len(labelled) > _FEW_LABELS else None,
    )
    for text, i, place in zip(texts, labelled, places, strict=True):
        if place is None:
            text.remove()
            continue
        # Where the text itself lies within its place, which has a margin.
        corner = (place.x + 1.5 * pixel - at[i][0], place.y + pixel - at[i][1])
        text.set_path_effects([withStroke(linewidth=2.2, foreground="white")])
        text.set_position((corner[0] / pixel, corner[1] / pixel))
        if place.leader:
            start = [a - b for a, b in zip(place.leader, at[i], strict=True)]
            axes.annotate(
                "",
                (points.x[i], points.y[i]),
                xytext=(start[0] / pixel, start[1] / pixel),
                textcoords="offset points",
                arrowprops={
                    "arrowstyle": "-",
                    "color": "black",
                    "linewidth": 0.6,
                    "shrinkA": 0,
                    "shrinkB": _MARKER / 2,
                },
                zorder=2.5,
            )
    return len(order) - num + places.count(None)


def _text(axes: Axes, points: _Points, i: int) -> Annotation:
    """A label, at its point for the time being; those on the front are bold."""
    return axes.annotate(
        "\n".join(style.fold(points.labels[i], _LABEL_CHARS)),
        (points.x[i], points.y[i]),
        xytext=(0, 0),
        textcoords="offset points",
        ha="left",
        va="bottom",
        fontsize=_LABEL_SIZE,
        weight="bold" if i in points.front and len(points.x) > 1 else "normal",
        zorder=4,
    )
