"""Throughput and latency against batch size: a line for each configuration.

Throughput is of records of several batch sizes; batch latency also of one record that probed other
sizes (`--latency-batch-size`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastbench.core.stats import percentile
from fastbench.records import naming
from fastbench.records.facts import FACTS
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import lines, style
from fastbench.report.plots.caption import caption_of, in_doubt, valid_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Record

    Samples = dict[int, list[float]]

_MOST_SERIES: Final = 14
_BESIDE: Final = 0.12  # of a doubling: how far the outermost line is from the batch size
_ROOM: Final = 1.25  # times: from the outermost batch sizes to the axis's ends


@dataclass
class _Series:
    """One configuration: by batch size, its windows' throughputs and its latencies in ms."""

    name: str
    records: list[Record] = field(default_factory=list)
    rates: Samples = field(default_factory=dict)
    latencies_ms: Samples = field(default_factory=dict)


@dataclass(frozen=True)
class _Panel:
    name: str
    label: str
    meaning: str
    samples: list[Samples]
    """Of each series."""
    doubted: list[set[int]]
    """Of each series, the batch sizes at which the figure is in doubt."""
    places: list[int]
    """Of each series, the number of its colour."""


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """Two panels, or the one that has several batch sizes. Raises `NothingToShowError`."""
    valid, invalid = valid_records(records)
    series, num_earlier = _series(valid)
    several = [s for s in series if max(len(s.rates), len(s.latencies_ms)) > 1]
    shown = several[:_MOST_SERIES]
    panels = _panels(shown, lines.looks([s.records[0] for s in shown], records))
    panels = [panel for panel in panels if any(len(x) > 1 for x in panel.samples)]
    if not panels:
        raise style.NothingToShowError(
            "No configuration has several batch sizes. Run with several --batch-size, or with "
            "--latency-batch-size."
        )
    own_threads = ("threads",) if _have_own_threads(valid) else ()
    drawn = [r for s in shown for r in s.records]
    said = caption_of(drawn, without=("batch", *own_threads))
    every = iter(said.every)
    marks = [[mark for _ in s.records for mark in next(every)] for s in shown]
    names = [s.name + "".join(dict.fromkeys(its)) for s, its in zip(shown, marks, strict=True)]
    made = _draw(panels, names)
    left_out = [
        (len(series) - len(several), "configurations of one batch size"),
        (len(several) - len(shown), "further configurations"),
        (num_earlier, "earlier rows of the same configuration and batch size"),
    ]
    notes = [f"Left out: {what} ({num})." for num, what in left_out if num]
    style.finish(
        made,
        f"{' and '.join(panel.name for panel in panels).capitalize()} against batch size",
        [
            *said.paragraphs,
            " ".join([*(panel.meaning for panel in panels), *invalid, *notes]),
        ],
    )
    return made


def _have_own_threads(records: Sequence[Record]) -> bool:
    """Whether each number of threads has a line of its own."""
    return len({record.num_threads for record in records}) > 1


def _series(records: Sequence[Record]) -> tuple[list[_Series], int]:
    """The configurations, and how many records a later one of the same batch size replaces."""
    found: dict[tuple[object, ...], _Series] = {}
    telling = [name for name in naming.varying(records) if name != "batch"]
    names = [naming.parts(record, telling) for record in records]
    if _have_own_threads(records):
        for record, name in zip(records, names, strict=True):
            name.append(FACTS["threads"].text(record))
    latest: dict[tuple[object, ...], Record] = {}
    for record in sorted(records, key=lambda record: record.created):
        latest[*naming.configuration_key(record), record.num_threads] = record
    kept = {id(record) for record in latest.values()}
    for record, name in zip(records, names, strict=True):
        if id(record) not in kept:
            continue
        key = (*naming.configuration_key(record, ("batch",)), record.num_threads)
        series = found.setdefault(key, _Series(" · ".join(name) or record.model))
        series.records.append(record)
        series.rates[record.batch_size] = record.throughput.rates
        for latency in (record.latency, *record.other_latencies):
            # A row of that batch size knows better than one that probed it.
            is_own = latency is record.latency
            if latency.samples_s and (is_own or latency.batch_size not in series.latencies_ms):
                series.latencies_ms[latency.batch_size] = [1e3 * s for s in latency.samples_s]
    return list(found.values()), len(records) - len(kept)


def _panels(shown: Sequence[_Series], places: list[int]) -> list[_Panel]:
    spread = "Throughput: the median of the windows, and their spread."
    ends = "Latency: the median, and the smallest and the largest sample."

    def doubted(column: str) -> list[set[int]]:
        return [{r.batch_size for r in s.records if in_doubt(r, column)} for s in shown]

    return [
        _Panel(name, COLUMNS[column].title, meaning, samples, doubted(column), places)
        for name, column, meaning, samples in (
            ("throughput", "images/s", spread, [s.rates for s in shown]),
            ("batch latency", "batch-latency", ends, [s.latencies_ms for s in shown]),
        )
    ]


def _draw(panels: Sequence[_Panel], names: Sequence[str]) -> Figure:
    """The panels side by side; below them, the names of the lines, where there are several."""
    width = lines.PANEL[0] * max(len(panels), 1.4)
    handles = [style.line_handle(**lines.look(place)) for place in panels[0].places]
    entries = list(zip(handles, names, strict=True))
    if any(sizes for panel in panels for sizes in panel.doubted):
        entries.append((style.line_handle(**lines.RING), lines.IN_DOUBT))
    made, every = lines.panels_over_names(width, len(panels), entries if len(entries) > 1 else ())
    for axes, panel in zip(every, panels, strict=True):
        _draw_panel(axes, panel, width / len(panels) - lines.BESIDE_AXES)
    return made


def _draw_panel(axes: Axes, panel: _Panel, inches: float) -> None:
    middle = (len(panel.samples) - 1) / 2
    for i, of_batch in enumerate(panel.samples):
        sizes = sorted(of_batch)
        # A little beside each other: else one's whiskers would hide another's.
        aside = 2 ** (_BESIDE * (i - middle) / max(1, middle))
        middles = [percentile(of_batch[size], 50) for size in sizes]
        below = [m - min(of_batch[size]) for m, size in zip(middles, sizes, strict=True)]
        above = [max(of_batch[size]) - m for m, size in zip(middles, sizes, strict=True)]
        axes.errorbar(
            [aside * x for x in sizes],
            middles,
            [below, above],
            capsize=2.5,
            elinewidth=0.9,
            **lines.look(panel.places[i]),
        )
        ringed = [
            (aside * x, y) for x, y in zip(sizes, middles, strict=True) if x in panel.doubted[i]
        ]
        axes.plot([x for x, _ in ringed], [y for _, y in ringed], **lines.RING)
    values = [x for of_batch in panel.samples for found in of_batch.values() for x in found]
    style.scale_axis(axes, "y", min(values), max(values), from_zero=True)
    batches = sorted({size for of_batch in panel.samples for size in of_batch})
    axes.set_xscale("log", base=2)
    axes.set_xlim(batches[0] / _ROOM, batches[-1] * _ROOM)
    doubling = inches / math.log2(_ROOM**2 * batches[-1] / batches[0])
    lines.number_ticks(axes, batches, lambda a, b: doubling * abs(math.log2(b / a)))
    axes.set_ylabel(panel.label)
    axes.set_xlabel("batch size")
    axes.grid(axis="y")
