"""Columns of what was measured: how fast it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import (
    MIN_SAMPLES,
    geometric_mean_interval,
    percentile,
    supported_percentile,
)
from fastbench.core.units import format_milliseconds, format_quantity, format_rate
from fastbench.records.scaling import slowest_rank
from fastbench.records.verdict import bound_in_words
from fastbench.report.columns.column import SPEED, Bounds, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.report.columns.column import Row


def _throughput(row: Row) -> float:
    return (
        geometric_mean_interval(row.rates)[0] if row.repeats else row.record.throughput.images_per_s
    )


def _windows(row: Row) -> Bounds:
    """The interval of repeats, the range of windows."""
    if row.repeats:
        return geometric_mean_interval(row.rates)[1]
    return (min(row.rates), max(row.rates)) if len(row.rates) > 1 else None


def _step(pct: float) -> Callable[[Row], float | None]:
    def read(row: Row) -> float | None:
        return supported_percentile(row.steps_s, pct) if row.steps_s else None

    return read


def _latency(pct: float) -> Callable[[Row], float | None]:
    return lambda row: row.record.latency.percentile_s(pct)


def _higher_steps(row: Row) -> str:
    return " / ".join(format_milliseconds(_step(pct)(row)) for pct in (90, 99))


def _overlap_interval(row: Row) -> Bounds:
    return row.record.overlap[1] if row.record.overlap and not row.repeats else None


def _ceiling(row: Row) -> str:
    """Which ceiling it is, and the interval of the share."""
    interval = _overlap_interval(row)
    share = f"{100 * interval[0]:.0f}–{100 * interval[1]:.0f}" if interval else None
    return ", ".join(filter(None, (row.record.bound, share)))


def _losses(row: Row) -> str | None:
    """What is lost of the ideal, in percent: `waiting 3, loader 10`."""
    return row.scaling.brief if row.scaling else None


def _rank_rates(row: Row) -> list[float]:
    return [part.images_per_s for part in row.record.ranks if part.windows]


def _speed(**given: Any) -> Column:
    return Column(**{"topic": SPEED, "heading": given["name"], **given})


def _rate(**given: Any) -> Column:
    return _speed(**given, unit="images/s", show=format_rate, best="max")


def _time(**given: Any) -> Column:
    return _speed(**given, unit="s", shown_unit="ms", show=format_milliseconds, best="min")


FIGURES: Final = (
    _rate(
        name="images/s",
        meaning="throughput from files to predictions, median of the windows and their range; of n "
        "repeats geometric mean and 95 % interval",
        read=_throughput,
        bounds=_windows,
        show_bounds=lambda low, high: f"{format_rate(low)}–{format_rate(high)}",
        aliases=("throughput",),
    ),
    _speed(
        name="ratio",
        meaning="images/s over that of the same configuration in the baseline, with 95 % interval",
        read=lambda row: row.ratio,
        show="{:.2f}x".format,
        best="max",
        bounds=lambda row: row.ratio_interval,
        show_bounds="{:.2f}–{:.2f}".format,
    ),
    _speed(
        name="scaling",
        meaning="images/s over as many times those of one rank of the same configuration; below it "
        "what is lost, by cause",
        unit="share",
        read=lambda row: row.scaling.efficiency if row.scaling else None,
        show=lambda value: f"{100 * value:.0f}",
        best="max",
        detail=_losses,
        words=lambda value: f"scaling efficiency {100 * value:.0f} %",
    ),
    _rate(
        name="rank-rate",
        heading="images/s a rank",
        meaning="throughput of a rank over its own windows: median of the ranks, and their range",
        read=lambda row: percentile(rates, 50) if (rates := _rank_rates(row)) else None,
        bounds=lambda row: (min(_rank_rates(row)), max(_rank_rates(row))),
        show_bounds=lambda low, high: f"{format_rate(low)}–{format_rate(high)}",
        words=lambda value: f"{format_rate(value)} images/s a rank",
    ),
    _speed(
        name="slowest-rank",
        heading="slowest rank",
        meaning="the rank whose windows take longest, against the median rank's, and what bound it",
        read=lambda row: slowest.brief if (slowest := slowest_rank(row.record)) else None,
        align="left",
    ),
    _speed(
        name="spread",
        meaning="the largest of the windows' throughputs less the smallest, of their median",
        unit="share",
        read=lambda row: (
            row.record.throughput.spread if len(row.record.throughput.rates) > 1 else None
        ),
        best="min",
    ),
    _speed(
        name="padding",
        meaning="share of the batches' places that held no image, which the model computes too",
        unit="share",
        read=lambda row: row.record.throughput.padded_share,
        best="min",
        words=lambda value: f"{format_quantity(100 * value)} % of the batches' places empty",
    ),
    _rate(
        name="loader-ceiling",
        is_of_windows=False,
        heading="loader alone",
        meaning="throughput of the loader alone",
        read=lambda row: row.record.ceilings.get("loader"),
    ),
    _rate(
        name="model-ceiling",
        is_of_windows=False,
        heading="model alone",
        meaning="throughput of the model alone on a resident batch, less the last batch's padding",
        read=lambda row: row.record.ceilings.get("model"),
    ),
    _speed(
        name="of-ceiling",
        heading="of ceiling",
        meaning="end to end over the loader alone or the model alone, whichever is slower, in "
        "turn: median of the rounds, and its 95 % interval",
        unit="share",
        read=lambda row: row.record.overlap_efficiency,
        show=lambda value: f"{100 * value:.0f}",
        best="max",
        bounds=_overlap_interval,
        detail=_ceiling,
    ),
    _speed(
        name="of-sharing",
        heading="of sharing",
        meaning="end to end over what a loader and a model reach who share the cores: "
        "1 / (1/loader + 1/model)",
        unit="share",
        read=lambda row: row.record.sharing_efficiency,
        show=lambda value: f"{100 * value:.0f}",
        best="max",
        words=lambda value: f"{100 * value:.0f} % of what the two reach who share the cores",
    ),
    _speed(
        name="bound",
        meaning="what is slower alone: loader or model",
        read=lambda row: row.record.bound,
        align="left",
    ),
    _speed(
        name="verdict",
        meaning="what limits the pipeline, in words",
        read=lambda row: bound_in_words(row.record),
        align="left",
    ),
    _speed(
        name="stall",
        heading="stalled",
        meaning="share of the time in which the host waited for the loader",
        unit="share",
        read=lambda row: row.record.throughput.stall_share,
        show=lambda value: f"{100 * value:.0f}",
        best="min",
        words=lambda value: f"{100 * value:.0f} % of the time waiting for the loader",
    ),
    _time(
        name="step",
        meaning="from one completed batch to the next, pipeline full: median; below it p90 / p99, "
        "from 64 and 662 steps on (--min-seconds)",
        read=_step(50),
        detail=_higher_steps,
    ),
    *(
        _time(
            name=f"step-p{pct}",
            heading=f"step p{pct}",
            meaning=f"from one completed batch to the next, pipeline full: {said}",
            read=_step(pct),
        )
        for pct, said in (
            (50, "median"),
            (90, "90 % are shorter; from 64 steps on"),
            (99, "99 % are shorter; from 662 steps on"),
        )
    ),
    _time(
        name="batch-latency",
        is_of_windows=False,
        heading="latency",
        meaning="from asking for a batch to its predictions, nothing else in flight: median",
        read=lambda row: row.record.latency.median_s,
        aliases=("latency",),
    ),
    *(
        _time(
            name=f"latency-p{pct}",
            is_of_windows=False,
            heading=f"latency p{pct}",
            meaning=f"batch latency: {pct} % are shorter; from {least} samples on "
            f"(--latency-samples {least})",
            read=_latency(pct),
        )
        for pct, least in MIN_SAMPLES.items()
        if pct in (90, 99)
    ),
)
