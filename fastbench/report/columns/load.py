"""Rows under load, and the columns of their own table: latencies of queries, rates, batches.

Percentiles that a run has too few queries for are not shown (`stats.MIN_SAMPLES`), and none of
`offline`, whose queries come all at once: they say when a query's turn was.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import MIN_SAMPLES, percentile_interval, wilson_interval
from fastbench.core.units import format_percent, format_rate
from fastbench.records.load import OFFLINE, SHOWN
from fastbench.records.load_validity import find_contradictions_under_load
from fastbench.report.columns.column import Column, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.records.advice import Advice
    from fastbench.records.load import LoadRecord
    from fastbench.report.columns.column import Bounds, Value

UNDER_LOAD: Final = "under load"
"""The topic of these columns."""
NOT_VALID: Final = "not valid"


@dataclass(frozen=True, kw_only=True)
class LoadRow(Row):
    """A record of `fastbench loadtest` as a row of a table of such rows.

    What formats and footnotes read of a row it has; ratios, scaling and repeats it has not.
    """

    record: LoadRecord  # type: ignore[assignment]  # of another table, which no `Row` stands in

    @functools.cached_property
    def invalid(self) -> list[str]:
        """Why the record is INVALID, in words."""
        return find_contradictions_under_load(self.record)

    @functools.cached_property
    def advice(self) -> list[Advice]:
        """None: the load generator judges the run."""
        return []

    @property
    def reasons(self) -> list[str]:
        """Why the row does not count: contradictions, gates, and the load generator's judgement."""
        return [*super().reasons, *(f"{NOT_VALID}: {why}" for why in self.record.result.why_not)]

    @functools.cached_property
    def latencies_s(self) -> list[float]:
        """The latencies in order."""
        return sorted(self.record.latencies_s)


def _column(
    name: str,
    heading: str,
    meaning: str,
    read: Callable[[LoadRow], Value],
    bounds: Callable[[LoadRow], Bounds] | None = None,
    **more: Any,
) -> Column:
    given = {"name": name, "heading": heading, "meaning": meaning, "topic": UNDER_LOAD}
    return Column(**{**given, "read": read, "bounds": bounds, **more})


def _of(part: str, name: str) -> Callable[[LoadRow], Any]:
    """A figure of a part of the record; None where it has no such part."""
    return lambda row: getattr(found, name) if (found := getattr(row.record, part)) else None


_SHARE: Final[dict[str, Any]] = {
    "unit": "share",
    "show": format_percent,
    "best": "max",
}


def _percentile(pct: float) -> Column:
    def read(row: LoadRow) -> Value:
        says = row.record.scenario != OFFLINE and len(row.latencies_s) >= MIN_SAMPLES[pct]
        return row.record.result.percentile_s(pct) if says else None

    return _column(
        f"query-p{pct:g}",
        f"p{pct:g}",
        f"query latency, p{pct:g}: from the scheduled arrival to the answer",
        read,
        lambda row: percentile_interval(row.latencies_s, pct),
        unit="s",
        shown_unit="ms",
        best="min",
    )


def _sizes(row: LoadRow) -> str:
    """`1–16`: the smallest and the largest batch that was formed."""
    sizes = sorted(int(size) for size, count in row.record.batches.items() if count)
    return "–".join(map(str, dict.fromkeys((sizes[0], sizes[-1])))) if sizes else ""


def _changed(row: LoadRow) -> tuple[int, int] | None:
    served = row.record.served
    return (served.num_images - served.num_changed, served.num_images) if served else None


def _unchanged_share(row: LoadRow) -> float | None:
    counts = _changed(row)
    return counts and counts[0] / counts[1]


def _unchanged_bounds(row: LoadRow) -> Bounds:
    counts = _changed(row)
    return counts and wilson_interval(*counts)


LOAD_FIGURES: Final = (
    _column(
        "bounded",
        "in limit",
        "latency-bounded throughput: queries/s that arrived while the latency limit held; of a "
        "search the rate that a long run confirmed",
        lambda row: row.record.latency_bounded_per_s,
        unit="queries/s",
        show=format_rate,
        best="max",
    ),
    _column(
        "answered",
        "images/s",
        "images that were answered in the last run, over the time to its last answer",
        lambda row: row.record.result.completed_per_s,
        unit="images/s",
        show=format_rate,
        best="max",
    ),
    *map(_percentile, SHOWN),
    _column(
        "mean-batch",
        "mean batch",
        "images in the mean batch that was formed; below, the smallest and the largest",
        lambda row: row.record.mean_batch,
        detail=_sizes,
        unit="images",
        shown_unit="",
    ),
    _column(
        "served-top-1",
        "top-1 served",
        "top-1 of the very queries that were timed, an image as often as it was asked for",
        _of("served", "top1"),
        _of("served", "top1_interval"),
        **_SHARE,
    ),
    _column(
        "served-agreement",
        "agree served",
        "predictions of the queries that are those of a pass over all images",
        _unchanged_share,
        _unchanged_bounds,
        **_SHARE,
    ),
    _column(
        "valid",
        "valid",
        "whether LoadGen, MLPerf's load generator, calls the run VALID; why not is said below",
        lambda row: "yes" if row.record.result.is_valid else "no",
        align="left",
    ),
    _column(
        "offered",
        "offered",
        "queries/s that were to arrive in the last run",
        lambda row: row.record.result.offered_per_s,
        unit="queries/s",
        show=format_rate,
        best="max",
    ),
    _column(
        "estimate",
        "estimate",
        "the highest rate that holds the limit as the short runs of a search say",
        lambda row: row.record.estimate_per_s,
        unit="queries/s",
        show=format_rate,
        best="max",
    ),
    _column(
        "queries",
        "queries",
        "queries of the last run",
        lambda row: row.record.result.num_queries,
        show=lambda value: f"{value:,}",
    ),
    _column(
        "over",
        "over the limit",
        "queries of the last run that took longer than the limit",
        lambda row: row.record.result.num_over,
        show=lambda value: f"{value:,}",
    ),
    _column(
        "lost",
        "lost",
        "queries of the last run that were turned away, for too many waited, or that failed",
        lambda row: row.record.result.num_turned_away + row.record.result.num_failed,
        show=lambda value: f"{value:,}",
    ),
    _column(
        "scored-top-1",
        "top-1",
        "top-1 of a pass over all images, each once",
        lambda row: row.record.top1,
        _of("accuracy", "top1_interval"),
        **_SHARE,
    ),
    _column(
        "scored-agreement",
        "agree",
        "predictions of that pass that are the reference's in float32",
        _of("parity", "agreement"),
        **_SHARE,
    ),
)
"""The columns of rows under load, in the order of `all`."""
LOAD_DEFAULT: Final = tuple(
    column.name for column in LOAD_FIGURES[: [x.name for x in LOAD_FIGURES].index("offered")]
)
"""Those that a table has if nothing else is asked for."""
