"""What made-up ranks tell the first one, small enough to be checked by hand.

Ten samples in batches of two, two windows of two epochs. A rank's steps take 0.1 s; it begins
`LATER_S` after the one before it in the first window, and as much before it in the second.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from builders.consistent_record import sound
from fastbench.measure.ranks import Place, share_of
from fastbench.measure.tally import Scores
from fastbench.records.accuracy import Accuracy
from fastbench.records.record import Record
from fastbench.records.speed import (
    Ceiling,
    GpuTelemetry,
    Latency,
    Round,
    Telemetry,
    Throughput,
    WarmUp,
    Window,
)
from fastbench.runner.build_record import Passes
from fastbench.runner.merge_ranks import Report, merge

NUM_SAMPLES, BATCH_SIZE, NUM_EPOCHS, STEP_S, LATER_S = 10, 2, 2, 0.1, 0.05
NAMES = [f"{i}.jpg" for i in range(NUM_SAMPLES)]
GPU = GpuTelemetry(
    energy_j=100.0,
    power_w=[90.0, 110.0],
    power_limit_w=700.0,
    sm_utilization_pct=[40.0, 60.0],
    memory_utilization_pct=[20.0, 30.0],
    jpeg_utilization_pct=[],
    sm_clock_mhz=[1900.0, 1980.0],
    temperature_c=[40.0, 45.0],
    memory_used_bytes=[3_000_000_000, 4_000_000_000],
    throttle_reasons=["power cap"],
    num_foreign_processes=1,
)


def telemetry(wall_s: float, num_images: int, num_cores: int, **changes: Any) -> Telemetry:
    made = Telemetry(
        wall_s=wall_s,
        interval_s=0.1,
        num_readings=2,
        num_images=num_images,
        num_cores=num_cores,
        cpu_s=0.5,
        foreign_cpu_s=0.75,
        rss_bytes=[1_000, 2_000],
        gpu=None,
        kernel_cpu_s=0.1,
        num_faults=50,
    )
    return msgspec.structs.replace(made, **changes)


def reports(clocks: str = "aa", cores: tuple[list[int], ...] | None = None) -> list[Report]:
    """Of ranks with these clocks; each may use these cores, 0 and 1 unless it is said."""
    size = len(clocks)
    steps = [
        NUM_EPOCHS * -(-len(share_of(NUM_SAMPLES, r, size)) // BATCH_SIZE) for r in range(size)
    ]
    starts = [[LATER_S * rank, LATER_S * (size - rank)] for rank in range(size)]
    walls_s = [
        max(starts[r][w] + STEP_S * steps[r] for r in range(size)) - min(x[w] for x in starts)
        for w in range(2)
    ]
    return [
        _report(rank, clocks, steps[rank], walls_s, (cores or ([0, 1],) * size)[rank])
        for rank in range(size)
    ]


def _report(
    rank: int, clocks: str, num_steps: int, walls_s: list[float], cores: list[int]
) -> Report:
    share = share_of(NUM_SAMPLES, rank, len(clocks))
    num_images, clock = NUM_EPOCHS * len(share), clocks[rank]
    local_rank = clocks[:rank].count(clock)
    window = Window(
        num_images=num_images,
        num_steps=num_steps,
        wall_s=STEP_S * num_steps,
        wait_s=0.01 * (rank + 1),
    )
    # So that each step is known by its length.
    steps_s = [
        [STEP_S + (0.001 * rank + 0.0001 * w) * (-1) ** i for i in range(num_steps)]
        for w in range(2)
    ]
    part = Window(num_images=20, num_steps=10, wall_s=0.5 * (rank + 1), wait_s=0.1)
    loader = Window(num_images=40, num_steps=20, wall_s=0.5 * (rank + 1), wait_s=0.5)
    return Report(
        place=Place(rank, local_rank, f"host {clock}", clock),
        device=f"cuda:{local_rank}",
        device_name="A GPU",
        cores=cores,
        num_threads=len(cores),
        samples=share,
        passes=Passes(
            timed={
                "warm_up": WarmUp(
                    model_load_s=1.0 + rank,
                    loader_start_s=9.0 - rank,
                    compile_s=0.0,
                    first_batch_s=0.1,
                    num_batches=10 + rank,
                    wall_s=2.0,
                ),
                "throughput": Throughput(
                    num_images=2 * num_images,
                    num_epochs=2 * NUM_EPOCHS,
                    batch_size=BATCH_SIZE,
                    wall_s=2 * window.wall_s,
                    step_times_s=[*steps_s[0], *steps_s[1]],
                    windows=[window, window],
                    is_settled=True,
                    kernel_s=round(2 * window.wall_s, 2),
                ),
                "telemetry": telemetry(
                    # No rank is the first in both windows.
                    sum(walls_s) - LATER_S * (len(clocks) - 1),
                    2 * num_images,
                    len(cores),
                    cpu_s=1.0 / len(clocks),
                    kernel_cpu_s=0.0,
                ),
                "rounds": [Round(end_to_end=part, loader=loader, model=part)] * 2,
                "loader_ceiling": Ceiling(
                    num_images=80, wall_s=2 * loader.wall_s, cpu_s=0.1 * (rank + 1)
                ),
                "model_ceiling": Ceiling(num_images=40, wall_s=2 * part.wall_s),
                "latency": Latency(batch_size=BATCH_SIZE, samples_s=[0.1 * (rank + 1)] * 3),
                "other_latencies": [Latency(batch_size=1, samples_s=[0.05 * (rank + 1)])],
            },
            scores=Scores(
                best=[[i, i + 1] for i in share],
                probabilities=[[0.75, 0.25] for _ in share],
                times_seen=[2 * NUM_EPOCHS] * len(share),
                # An epoch may begin within one of the loader's.
                places=[(i + 1) % len(share) for i in range(len(share))],
                hits=[(len(share) - 1, len(share)), (max(0, len(share) - 2), len(share))] * 2,
                num_broken=0,
                is_constant=False,
            ),
            settings={"num_threads": len(cores)},
            reads_images=True,
            repeatable=True,
            num_recompiles=rank,
        ),
        walls_s=walls_s,
        environment={"num_cores": 2, "host": clock} if local_rank == 0 else None,
    )


def changed(report: Report, **timed: Any) -> Report:
    """The report with other fields of `Record`."""
    passes = replace(report.passes, timed={**report.passes.timed, **timed})
    return replace(report, passes=passes)


def merged(found: list[Report]) -> Passes:
    return merge(found, NAMES, "dali")


def record_of(found: list[Report]) -> Record:
    """The record of a row with these ranks."""
    passes = merged(found)
    assert passes.scores.hits is not None
    top1, top5 = passes.scores.hits[-1]
    return msgspec.structs.replace(
        sound(),
        **passes.timed,
        batch_size=BATCH_SIZE,
        data={"num_samples": NUM_SAMPLES},
        config={"ranks": len(found)},
        accuracy=Accuracy(num_samples=NUM_SAMPLES, top1_correct=top1, top5_correct=top5),
        parity=None,
    )
