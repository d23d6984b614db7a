"""Records that nobody measured: a real one of `benchmarks/records`, edited. Names say so.

Every figure that is edited stays consistent with the others: steps add up to windows, images to
epochs. `invalid()` is where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from builders.paths import RECORDS
from builders.records import consistent
from fastbench.records.accuracy import Accuracy, Parity
from fastbench.records.record import Record
from fastbench.records.speed import (
    Ceiling,
    GpuTelemetry,
    Latency,
    Telemetry,
    Throughput,
    Window,
)
from fastbench.records.store import read_record

NUM_IMAGES = 1000


def real(loader: str = "dali") -> Record:
    return read_record(RECORDS / "cpu-2-cores" / f"sample-{loader}-float32.json")


def throughput(
    rate: float, *, batch_size: int = 32, windows: Sequence[float] = (0.98, 1.0, 1.03)
) -> Throughput:
    """Windows of one epoch each, at these multiples of `rate` images/s."""
    num_steps = math.ceil(NUM_IMAGES / batch_size)
    shape = [1 + 0.2 * math.sin(7 * i) + 0.1 * math.cos(3 * i) for i in range(num_steps)]
    found, steps_s = [], []
    for factor in windows:
        wall_s = NUM_IMAGES / (factor * rate)
        steps_s += [wall_s * part / sum(shape) for part in shape]
        found.append(
            Window(num_images=NUM_IMAGES, num_steps=num_steps, wall_s=wall_s, wait_s=wall_s / 4)
        )
    return Throughput(
        num_images=NUM_IMAGES * len(found),
        num_epochs=len(found),
        batch_size=batch_size,
        wall_s=sum(window.wall_s for window in found),
        step_times_s=steps_s,
        windows=found,
        is_settled=True,
    )


def row(
    rate: float = 150.0,
    *,
    top1: int = 925,
    batch_size: int = 32,
    loader_alone: float | None = None,
    model_alone: float | None = None,
    gpu: str | None = None,
    watts: float | None = None,
    cpu_s: float | None = None,
    **changes: Any,
) -> Record:
    """A row at `rate` images/s; on a made-up GPU where one is named."""
    base = real()
    measured = throughput(rate, batch_size=batch_size)
    gpu_telemetry = (
        GpuTelemetry(
            energy_j=watts * measured.wall_s,
            power_w=[watts],
            power_limit_w=None,
            sm_utilization_pct=[],
            memory_utilization_pct=[],
            jpeg_utilization_pct=[],
            sm_clock_mhz=[],
            temperature_c=[],
            memory_used_bytes=[],
            throttle_reasons=[],
            num_foreign_processes=None,
        )
        if watts
        else None
    )
    num_cores = 16 if gpu else 2
    environment = {**base.environment}
    if gpu:
        environment |= {"gpus": [{"name": gpu}], "driver": "580.1 (made up)", "num_cores": 16}
    made = msgspec.structs.replace(
        base,
        **{
            "batch_size": batch_size,
            "environment": environment,
            "device": "cuda:0" if gpu else "cpu",
            "throughput": measured,
            "loader_ceiling": _alone(loader_alone or 1.6 * rate),
            "model_ceiling": _alone(model_alone or 1.2 * rate),
            "rounds": [],
            "latency": latency(batch_size, 1.4 * batch_size / rate),
            "accuracy": Accuracy(
                num_samples=NUM_IMAGES,
                top1_correct=top1,
                top5_correct=(top1 + NUM_IMAGES) // 2,
            ),
            "telemetry": Telemetry(
                wall_s=measured.wall_s,
                interval_s=0.1,
                num_readings=1,
                num_images=measured.num_images,
                num_cores=num_cores,
                cpu_s=(cpu_s or min(12.5, 800 * num_cores / rate)) * measured.num_images / 1000,
                foreign_cpu_s=0.0,
                rss_bytes=[1_000_000_000],
                gpu=gpu_telemetry,
            ),
            "parity": None,
            **changes,
        },
    )
    return consistent(made, {"data": made.data, "batch_size": made.batch_size})


def _alone(rate: float) -> Ceiling:
    return Ceiling(num_images=NUM_IMAGES, wall_s=NUM_IMAGES / rate)


def latency(batch_size: int, median_s: float, num: int = 11) -> Latency:
    """`num` samples around a median, the slowest twice as slow."""
    spread = [1 + 0.9 * (i / num - 0.5) ** 3 * 8 if num > 1 else 1.0 for i in range(num)]
    return Latency(batch_size=batch_size, samples_s=[median_s * x for x in spread])


def failing(rate: float = 150.0, **changes: Any) -> Record:
    """A row that loses thirty images against the reference, and so fails McNemar's gate."""
    parity = Parity(
        reference="torchvision",
        is_reference=False,
        num_samples=NUM_IMAGES,
        num_agreeing=950,
        only_reference_correct=30,
        only_row_correct=2,
        pixels=None,
    )
    return row(rate, **{"parity": parity, **changes})


def invalid(rate: float = 150.0, **changes: Any) -> Record:
    """A row whose steps take twice as long as its windows."""
    base = row(rate, **changes)
    steps_s = [2 * step_s for step_s in base.throughput.step_times_s]
    return msgspec.structs.replace(
        base, throughput=msgspec.structs.replace(base.throughput, step_times_s=steps_s)
    )
