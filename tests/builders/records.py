"""Records of every kind that a test may need, made up; a field is changed by its name."""

from __future__ import annotations

import msgspec

from fastbench.records.accuracy import Accuracy, Parity, Pixels, Published
from fastbench.records.record import Record
from fastbench.records.speed import Ceiling, Compilation, Latency, Throughput, Trial, WarmUp
from fastbench.records.store import SCHEMA_VERSION


def pixels(mean: float = 0.1, most: float = 1.0, agreeing: int = 128) -> Pixels:
    return Pixels(
        num_samples=128,
        max_levels=most,
        mean_levels=mean,
        share_above_one=0.0,
        worst_sample="a/b.jpg",
        worst_mean_levels=0.3,
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
        num_agreeing=998,
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
        compilation=Compilation(num_graphs=1, num_graph_breaks=0, num_recompiles=0),
        loader_ceiling=Ceiling(num_images=1000, wall_s=2.0),
        model_ceiling=Ceiling(num_images=512, wall_s=2.0),
        throughput=Throughput(
            num_images=2000,
            num_epochs=2,
            batch_size=32,
            wall_s=8.0,
            step_times_s=[0.125 + 0.001 * i for i in range(64)],
        ),
        latency=Latency(batch_size=32, samples_s=[0.3, 0.1, 0.2]),
        accuracy=Accuracy(num_samples=1000, top1_correct=923, top5_correct=990),
        parity=parity(only_row_correct=0, pixels=None),
        published=Published(top1=0.69758, top5=0.89078),
        notes=[],
    )
    return msgspec.structs.replace(record, **changes)
