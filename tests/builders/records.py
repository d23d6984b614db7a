"""Records of every kind that a test may need, made up; a field is changed by its name.

What a test does not name is made to agree with what it does: other counts and times follow.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fastbench.records.accuracy import Accuracy, Parity, Pixels, Published
from fastbench.records.record import Record
from fastbench.records.speed import (
    Ceiling,
    Compilation,
    Latency,
    Telemetry,
    Throughput,
    Trial,
    WarmUp,
    Window,
)
from fastbench.records.store import SCHEMA_VERSION


def pixels(mean: float = 0.1, most: float = 1.0, agreeing: int = 128) -> Pixels:
    return Pixels(
        num_samples=128,
        max_levels=most,
        mean_levels=mean,
        share_above_one=0.0 if most <= 1.01 else min(1.0, mean / most),
        worst_sample="a/b.jpg",
        worst_mean_levels=max(0.3, mean),
        max_logits=0.1,
        mean_logits=0.01,
        num_agreeing=agreeing,
        cause=None,
    )


def parity(of_pixels: Pixels | None = None, **changes: object) -> Parity:
    made = Parity(
        reference="torchvision",
        is_reference=False,
        num_samples=1000,
        num_agreeing=997,
        only_reference_correct=1,
        only_row_correct=2,
        pixels=of_pixels or pixels(),
    )
    return msgspec.structs.replace(made, **changes)


def make(**changes: object) -> Record:
    record = Record(
        schema_version=SCHEMA_VERSION,
        created="2026-01-02T03:04:05+00:00",
        command="fastbench run",
        loader="dali",
        model="sample",
        weights="embedded",
        device="cpu",
        dtype="float32",
        compile_mode=None,
        batch_size=32,
        num_threads=2,
        config={"quick": False},
        environment={"cpu": "A CPU", "num_cores": 2, "gpus": []},
        data={"num_samples": 1000, "num_bytes": 110_000_000},
        preprocess={},
        loader_settings={},
        labels="mapped by class name",
        tuning=[Trial(settings={"num_threads": 2}, images_per_s=900.0)],
        warm_up=WarmUp(
            model_load_s=0.1,
            loader_start_s=0.2,
            compile_s=0.3,
            first_batch_s=0.4,
            num_batches=10,
            wall_s=1.5,
        ),
        compilation=None,
        loader_ceiling=Ceiling(num_images=1000, wall_s=2.0),
        model_ceiling=Ceiling(num_images=512, wall_s=2.0),
        throughput=Throughput(
            num_images=2000,
            num_epochs=2,
            batch_size=32,
            wall_s=8.0,
            step_times_s=[0.0935 + 0.001 * i for i in range(64)],
        ),
        latency=Latency(batch_size=32, samples_s=[0.3, 0.1, 0.2]),
        accuracy=Accuracy(num_samples=1000, top1_correct=923, top5_correct=990),
        parity=parity(only_row_correct=0, pixels=None),
        published=Published(top1=0.69758, top5=0.89078),
        notes=[],
    )
    return consistent(msgspec.structs.replace(record, **changes), changes)


def consistent(record: Record, given: dict[str, Any]) -> Record:
    """The record with its counts and times made to agree; rates, shares and watts stay.

    `given` are fields that are meant. Images, batches and epochs follow from them: `data` before
    `accuracy`, `batch_size` before `throughput`.
    """
    accuracy, timed = record.accuracy, record.throughput
    data, batch_size = dict(record.data), record.batch_size
    if accuracy and "data" not in given:
        data["num_samples"] = accuracy.num_samples
    num = data["num_samples"]
    if "batch_size" not in given:
        batch_size = timed.batch_size
    if accuracy and accuracy.num_samples != num:
        hits = (accuracy.top1_correct, accuracy.top5_correct)
        top1, top5 = (count * num // accuracy.num_samples for count in hits)
        accuracy = Accuracy(num_samples=num, top1_correct=top1, top5_correct=top5)
    timed = _whole_epochs(timed, num, batch_size)
    compilation = record.compilation or Compilation(
        num_graphs=1, num_graph_breaks=0, num_recompiles=0
    )
    return msgspec.structs.replace(
        record,
        data=data,
        batch_size=batch_size,
        accuracy=accuracy,
        throughput=timed,
        compilation=compilation if record.compile_mode else None,
        loader_ceiling=_whole(record.loader_ceiling, num),
        model_ceiling=_whole(record.model_ceiling, batch_size),
        latency=msgspec.structs.replace(record.latency, batch_size=batch_size),
        parity=_of_images(record.parity, num),
        telemetry=_meanwhile(record.telemetry, timed, record.environment.get("num_cores")),
    )


def _whole_epochs(timed: Throughput, num: int, batch_size: int) -> Throughput:
    """Windows of whole epochs at the same rates, with as many steps as they take."""
    windows = [
        Window(
            num_images=images,
            num_steps=images // num * -(-num // batch_size),
            wall_s=window.wall_s * images / window.num_images,
            wait_s=window.wait_s * images / window.num_images,
        )
        for window in timed.windows
        for images in (max(1, round(window.num_images / num)) * num,)
    ]
    whole = windows or [
        Window(
            num_images=images,
            num_steps=images // num * -(-num // batch_size),
            wall_s=timed.wall_s * images / timed.num_images,
            wait_s=0,
        )
        for images in (max(1, round(timed.num_images / num)) * num,)
    ]
    steps_s, wall_s = timed.step_times_s, sum(window.wall_s for window in whole)
    is_whole = len(steps_s) == sum(window.num_steps for window in whole)
    if not is_whole or wall_s != timed.wall_s:
        steps_s = [each.wall_s / each.num_steps for each in whole for _ in range(each.num_steps)]
    return msgspec.structs.replace(
        timed,
        num_images=sum(window.num_images for window in whole),
        num_epochs=sum(window.num_images for window in whole) // num,
        batch_size=batch_size,
        wall_s=wall_s,
        step_times_s=steps_s,
        windows=windows,
    )


def _whole(ceiling: Ceiling | None, size: int) -> Ceiling | None:
    """A whole number of epochs or batches at the same rate."""
    if ceiling is None or ceiling.num_images % size == 0:
        return ceiling
    factor = size / ceiling.num_images
    cpu_s = None if ceiling.cpu_s is None else ceiling.cpu_s * factor
    return Ceiling(num_images=size, wall_s=ceiling.wall_s * factor, cpu_s=cpu_s)


def _of_images(parity: Parity | None, num: int) -> Parity | None:
    if parity is None or parity.num_samples == num:
        return parity
    num_agreeing = max(0, num - parity.num_samples + parity.num_agreeing)
    return msgspec.structs.replace(parity, num_samples=num, num_agreeing=num_agreeing)


def _meanwhile(
    telemetry: Telemetry | None, timed: Throughput, num_cores: int | None
) -> Telemetry | None:
    """Telemetry of these windows, its CPU seconds an image, watts and shares kept."""
    if telemetry is None:
        return None
    gpu, factor = telemetry.gpu, timed.num_images / telemetry.num_images
    foreign = telemetry.foreign_cpu_s and (
        telemetry.foreign_cpu_s * timed.wall_s / telemetry.wall_s
    )
    if gpu and gpu.energy_j is not None:
        energy_j = gpu.energy_j * timed.wall_s / telemetry.wall_s
        gpu = msgspec.structs.replace(gpu, energy_j=energy_j)
    return msgspec.structs.replace(
        telemetry,
        wall_s=timed.wall_s,
        num_readings=len(telemetry.rss_bytes),
        num_images=timed.num_images,
        num_cores=num_cores or telemetry.num_cores,
        cpu_s=telemetry.cpu_s * factor,
        foreign_cpu_s=foreign,
        gpu=gpu,
    )
