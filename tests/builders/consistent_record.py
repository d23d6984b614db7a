"""A record whose raw numbers agree with each other, small enough to be checked by hand."""

from __future__ import annotations

import msgspec

from builders.records import make
from fastbench.records.accuracy import Accuracy, PerClass
from fastbench.records.record import Record
from fastbench.records.speed import Ceiling, Throughput, Window

STEPS_S = [0.018, 0.019, 0.020, 0.021, 0.022] * 6
WINDOW = Window(num_images=100, num_steps=10, wall_s=0.2, wait_s=0.01)
THROUGHPUT = Throughput(
    num_images=300,
    num_epochs=3,
    batch_size=10,
    wall_s=0.6,
    step_times_s=STEPS_S,
    windows=[WINDOW] * 3,
    is_settled=True,
)
CLASSES = PerClass(
    outputs=[0, 1],
    wnids=None,
    names=["a", "b"],
    num_samples=[50, 50],
    top1_correct=[44, 46],
    top5_correct=[47, 48],
)
ACCURACY = Accuracy(num_samples=100, top1_correct=90, top5_correct=95, per_class=CLASSES)


def sound(**changes: object) -> Record:
    record = make(
        batch_size=10,
        data={"num_samples": 100},
        throughput=THROUGHPUT,
        loader_ceiling=Ceiling(num_images=100, wall_s=0.19),
        model_ceiling=Ceiling(num_images=100, wall_s=0.195),
        accuracy=ACCURACY,
    )
    return msgspec.structs.replace(record, **changes)
