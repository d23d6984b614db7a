"""Made-up rows of several ranks, and of one, on the same 800 images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from builders.records import make
from fastbench.records.ranks import RankPart
from fastbench.records.record import Record
from fastbench.records.speed import Ceiling, Latency, Telemetry, Throughput, WarmUp, Window

NUM_IMAGES = 800
BATCH_SIZE = 10
NUM_CORES = 8
DATA = {"num_samples": NUM_IMAGES, "num_bytes": 80_000_000, "digest": "a" * 64}
DATA |= {"page_cache": "warm"}
_WARM_UP = WarmUp(
    model_load_s=0.1,
    loader_start_s=0.1,
    compile_s=0.1,
    first_batch_s=0.1,
    num_batches=10,
    wall_s=1.0,
)


def of_ranks(
    *rates: float,
    loader_alone: float | Sequence[float] | None = None,
    model_alone: float | None = None,
    used: float | Sequence[float] = 0.5,
    hosts: Sequence[str] = ("node0",),
    factors: Sequence[Sequence[float]] | None = None,
    **changes: Any,
) -> Record:
    """Ranks that are each as fast as this in all three windows, images/s.

    `loader_alone` and `model_alone` are what each reaches alone, by default a little more, `used`
    is the share of the cores' time that is used, of all or each. `factors` has windows: how much
    longer each rank takes in it. One rate is a row of one rank.
    """
    num = len(rates)
    shares = [NUM_IMAGES * (r + 1) // num - NUM_IMAGES * r // num for r in range(num)]
    factors = factors or [[1.0] * num] * 3
    of_loader = _each(loader_alone or 1.2 * max(rates), num)
    of_model = [model_alone or 1.1 * max(rates)] * num
    of_rank = [
        [_window(share, factor[r] * share / rates[r]) for factor in factors]
        for r, share in enumerate(shares)
    ]
    windows = [
        Window(
            num_images=NUM_IMAGES,
            num_steps=sum(each.num_steps for each in its),
            wall_s=max(each.wall_s for each in its),
            wait_s=0.0,
        )
        for its in zip(*of_rank, strict=True)
    ]
    throughput = Throughput(
        num_images=NUM_IMAGES * len(windows),
        num_epochs=len(windows),
        batch_size=BATCH_SIZE,
        wall_s=math.fsum(window.wall_s for window in windows),
        step_times_s=[
            each.wall_s / each.num_steps
            for its in zip(*of_rank, strict=True)
            for each in its
            for _ in range(each.num_steps)
        ],
        windows=windows,
        is_settled=True,
    )
    parts = [
        RankPart(
            rank=r,
            local_rank=r,
            machine=r * len(hosts) // num,
            host=hosts[r * len(hosts) // num],
            device="cpu",
            device_name=None,
            cores=list(range(NUM_CORES * r, NUM_CORES * (r + 1))),
            num_threads=2,
            num_samples=share,
            warm_up=_WARM_UP,
            windows=of_rank[r],
            loader_ceiling=_alone([of_loader[r]]),
            model_ceiling=_alone([of_model[r]]),
            telemetry=_telemetry(throughput, [_each(used, num)[r]], share * len(windows)),
        )
        for r, share in enumerate(shares)
    ]
    record = make(
        batch_size=BATCH_SIZE,
        data=DATA,
        accuracy=None,
        parity=None,
        throughput=throughput,
        loader_ceiling=_alone(of_loader),
        model_ceiling=_alone(of_model),
        latency=Latency(batch_size=BATCH_SIZE, samples_s=[0.1, 0.1]),
        config={"ranks": num, "quick": False},
        environment={"cpu": "A CPU", "num_cores": NUM_CORES, "gpus": []},
    )
    used_by_all = _telemetry(throughput, _each(used, num), throughput.num_images)
    given = {
        "throughput": throughput,
        "telemetry": used_by_all,
        "ranks": parts if num > 1 else [],
        **changes,
    }
    return msgspec.structs.replace(record, **given)


def _each(value: float | Sequence[float], num: int) -> list[float]:
    return list(value) if isinstance(value, Sequence) else [value] * num


def _window(num_images: int, wall_s: float) -> Window:
    num_steps = -(-num_images // BATCH_SIZE)
    return Window(num_images=num_images, num_steps=num_steps, wall_s=wall_s, wait_s=0.0)


def _alone(rates: Sequence[float]) -> Ceiling:
    num_images = NUM_IMAGES * len(rates)
    return Ceiling(num_images=num_images, wall_s=num_images / sum(rates))


def _telemetry(timed: Throughput, used: Sequence[float], num_images: int) -> Telemetry:
    return Telemetry(
        wall_s=timed.wall_s,
        interval_s=0.1,
        num_readings=1,
        num_images=num_images,
        num_cores=NUM_CORES * len(used),
        cpu_s=sum(used) * NUM_CORES * timed.wall_s,
        foreign_cpu_s=0.0,
        rss_bytes=[1_000_000_000],
        gpu=None,
    )


def scaled(counts: Sequence[int] = (1, 2, 4, 8)) -> list[Record]:
    """Two loaders before so many ranks: one waits for a straggler, the other's ranks get slower."""
    found = []
    for num in counts:
        found.append(of_ranks(*[100] * (num - 1), 100 if num == 1 else 85, loader="dali"))
        rate = 60 / (1 + 0.004 * num) - 0.3 * min(num, 16)
        alone = 1.05 * rate if num > 2 else 62.0
        found.append(
            of_ranks(
                *[rate] * num,
                loader_alone=alone,
                model_alone=150,
                used=0.95 if num > 1 else 0.5,
                loader="torchvision",
            )
        )
    return found
