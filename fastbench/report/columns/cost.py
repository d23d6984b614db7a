"""Columns of what a run took: energy, money, CPU time, memory, and the model's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import format_bytes, format_quantity, format_rate, format_seconds
from fastbench.records import fact_values
from fastbench.report.columns.column import COST, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.report.columns.column import Row


def _of_telemetry(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.record.telemetry, name) if row.record.telemetry else None


def _loader_cpu(row: Row) -> float | None:
    ceiling = row.record.loader_ceiling
    if ceiling is None or ceiling.cpu_s is None:
        return None
    return 1000 * ceiling.cpu_s / ceiling.num_images


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


def _taken(**given: Any) -> Column:
    """What a run took; the less the better, unless it is said otherwise."""
    return Column(**{"topic": COST, "heading": given["name"], "best": "min", **given})


TAKEN: Final = (
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
        name="setup-s",
        is_of_windows=False,
        heading="setup",
        meaning="seconds to make the model ready: an engine's export, quantisation and "
        "compilation; of torch.compile the first run beyond a later one",
        unit="s",
        read=lambda row: fact_values.setup_s(row.record),
        words=lambda value: f"model ready in {format_seconds(value)}",
        aliases=("compile-s",),
    ),
    _taken(
        name="weights-size",
        is_of_windows=False,
        heading="weights size",
        meaning="the size of the weights that are run, as the engine has them",
        unit="bytes",
        shown_unit="MB",
        read=lambda row: fact_values.weights_bytes(row.record) or None,
        words=lambda value: f"{format_bytes(value)} of weights",
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
