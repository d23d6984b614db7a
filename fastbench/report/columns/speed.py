"""Columns of what was measured: how fast it was, and what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import (
    MIN_SAMPLES,
    geometric_mean_interval,
    percentile,
    supported_percentile,
)
from fastbench.core.units import format_bytes, format_milliseconds, format_quantity, format_rate
from fastbench.records.scaling import slowest_rank
from fastbench.records.verdict import bound_in_words
from fastbench.report.columns.column import COST, SPEED, Bounds, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.report.columns.column import Row


def _of_telemetry(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.record.telemetry, name) if row.record.telemetry else None


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


def _loader_cpu(row: Row) -> float | None:
    ceiling = row.record.loader_ceiling
    if ceiling is None or ceiling.cpu_s is None:
        return None
    return 1000 * ceiling.cpu_s / ceiling.num_images


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


def _jpeg_bytes(row: Row) -> float | None:
    record = row.record
    num_bytes = record.data.get("num_bytes")
    if num_bytes is None or not record.decodes:
        return None
    return num_bytes / record.data["num_samples"] * record.throughput.images_per_s


def _gpu_memory(row: Row) -> int | None:
    gpu = row.record.telemetry.gpu if row.record.telemetry else None
    return max(gpu.memory_used_bytes, default=None) if gpu else None


def _rss(row: Row) -> int | None:
    return max(_of_telemetry("rss_bytes")(row) or [], default=None)


def _cost(row: Row) -> float | None:
    images_per_s = row.record.throughput.images_per_s
    if row.price_per_h is None or not images_per_s:
        return None
    return row.price_per_h / 3600 * 1e6 / images_per_s


def _speed(**given: Any) -> Column:
    return Column(**{"topic": SPEED, "heading": given["name"], **given})


def _rate(**given: Any) -> Column:
    return _speed(**given, unit="images/s", show=format_rate, best="max")


def _time(**given: Any) -> Column:
    return _speed(**given, unit="s", shown_unit="ms", show=format_milliseconds, best="min")


def _taken(**given: Any) -> Column:
    """What a run took; the less the better, unless it is said otherwise."""
    return Column(**{"topic": COST, "heading": given["name"], "best": "min", **given})


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
    _taken(
        name="images/J",
        meaning="images for each joule that the GPU took",
        unit="images/J",
        read=_of_telemetry("images_per_joule"),
        show=format_rate,
        best="max",
        aliases=("images/joule",),
        words=lambda value: f"{format_rate(value)} images/J",
    ),
    _taken(
        name="cost",
        heading="$ per million",
        meaning="dollars for a million images at the --price of an hour of the device",
        unit="$/1,000,000 images",
        read=_cost,
    ),
    _taken(
        name="watts",
        heading="power",
        meaning="mean power of the GPU while the windows ran",
        unit="W",
        read=_of_telemetry("watts"),
        show=lambda value: f"{value:.0f}",
        words="{:.0f} W".format,
        best="",
    ),
    _taken(
        name="cpu-s",
        heading="CPU s / 1,000",
        meaning="CPU seconds for 1,000 images end to end, all processes of the run together",
        unit="s/1,000 images",
        read=_of_telemetry("cpu_s_per_1000_images"),
        words=lambda value: f"{format_quantity(value)} CPU seconds for 1,000 images",
    ),
    _taken(
        name="kernel",
        meaning="share of that CPU time that the kernel took: system calls, memory, page faults",
        unit="share",
        read=_of_telemetry("kernel_share"),
        show=lambda value: f"{100 * value:.0f}",
        words=lambda value: f"{100 * value:.0f} % of it in the kernel",
    ),
    _taken(
        name="faults",
        heading="page faults",
        meaning="page faults an image, of all processes of the run together",
        unit="faults/image",
        read=_of_telemetry("faults_per_image"),
        show=lambda value: f"{value:,.0f}",
        words=lambda value: f"{value:,.0f} page faults an image",
    ),
    _taken(
        name="loader-cpu-s",
        is_of_windows=False,
        heading="loader CPU s / 1,000",
        meaning="CPU seconds for 1,000 images of the loader alone",
        unit="s/1,000 images",
        read=_loader_cpu,
    ),
    _taken(
        name="gpu-memory",
        heading="GPU memory",
        meaning="the most memory in use on the GPU, by all its processes",
        unit="bytes",
        read=_gpu_memory,
    ),
    _taken(
        name="rss",
        heading="resident memory",
        meaning="the most resident memory of all processes of the run together",
        unit="bytes",
        read=_rss,
    ),
    _taken(
        name="jpeg",
        heading="JPEG",
        meaning="compressed bytes that were read and decoded a second",
        unit="bytes/s",
        read=_jpeg_bytes,
        words=lambda value: f"{format_bytes(value)}/s of JPEG",
        best="",
    ),
    _taken(
        name="compile-s",
        is_of_windows=False,
        heading="compile time",
        meaning="the compiled model's first run beyond a later one",
        unit="s",
        read=lambda row: row.record.warm_up.compile_s if row.record.compile_mode else None,
    ),
    _taken(
        name="parameters",
        is_of_windows=False,
        meaning="the model's parameters",
        unit="parameters",
        read=lambda row: row.record.num_parameters or None,
        words=lambda value: f"{format_quantity(value / 1e6)} M parameters",
        best="",
    ),
    _taken(
        name="macs",
        is_of_windows=False,
        heading="GMACs",
        meaning="multiply-accumulates of the model for one image, in thousands of millions",
        unit="MACs",
        read=lambda row: row.record.num_macs,
        words=lambda value: f"{format_quantity(value / 1e9)} GMACs an image",
        best="",
    ),
)
