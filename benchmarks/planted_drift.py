"""Does `of ceiling` stay true while the machine drifts?

A neighbour takes half the cores for 10 s of every 30. The pipeline is known to reach 100 % of its
model: its loader has batches ready and costs nothing. Rounds of both, as `fastbench run` takes
them, are held against what a harness says that measures the model once, before the windows.

    uv run python benchmarks/planted_drift.py --repetitions 6 --output FILE
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

import torch

from fastbench.core.atomic_files import write_text
from fastbench.core.cores import num_cores
from fastbench.core.stats import hodges_lehmann_interval
from fastbench.loaders.base import Batch, Setting
from fastbench.measure import machine
from fastbench.measure.clock import Clock
from fastbench.measure.durations import Durations
from fastbench.measure.passes import end_to_end
from fastbench.measure.rounds import Rounds
from fastbench.measure.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BATCH_SIZE: Final = 8
NUM_BATCHES: Final = 40
ON_S: Final = 10.0
PERIOD_S: Final = 30.0


class ReadyLoader:
    """The same images again and again, at no cost."""

    reads_images = True
    settings: Mapping[str, Setting] = {}

    def __init__(self) -> None:
        ids_N = torch.arange(BATCH_SIZE * NUM_BATCHES)
        # Of the same images, which the caches hold as they do the model's own batch.
        images_NCHW = torch.rand(BATCH_SIZE, 1, 256, 256)
        self._batches = [Batch(images_NCHW, ids, BATCH_SIZE) for ids in ids_N.split(BATCH_SIZE)]

    def __iter__(self) -> Iterator[Batch]:
        yield from self._batches

    def close(self) -> None:
        """Nothing is open."""


class Matmuls:
    """Some tens of milliseconds of all cores a batch, beside which scoring takes no time."""

    batch_size = BATCH_SIZE

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        product_NCHW = images_NCHW
        for _ in range(40):
            product_NCHW = torch.matmul(product_NCHW, images_NCHW).mul_(0.01)
        return product_NCHW[:, 0, 0, :10]


def neighbour(until: float) -> None:
    """Half of the cores, one process each, for `ON_S` of every `PERIOD_S`."""
    while time.time() < until:
        if time.time() % PERIOD_S < ON_S:
            end = time.time() + 0.05
            while time.time() < end:
                pass
        else:
            time.sleep(0.05)


def measure() -> dict[str, Any]:
    model, clock, loader = Matmuls(), Clock(), ReadyLoader()
    batch = next(iter(loader))
    durations = Durations.make(min_seconds=5.0, num_windows=3, quick=False)
    tally = Tally(BATCH_SIZE * NUM_BATCHES, None, "cpu")
    resident = batch.images_NCHW.clone()
    # As a harness does that measures the model once.
    start, num = time.perf_counter(), 0
    while time.perf_counter() < start + 2:
        model(resident)
        num += BATCH_SIZE
    once = num / (time.perf_counter() - start)
    rounds = Rounds(
        model, Tally(BATCH_SIZE * NUM_BATCHES, None, "cpu"), resident, clock,
        durations.round_seconds, durations.rounds_seconds,
        num_queued=0, num_workers=1, loader_counts=False,
    )  # fmt: skip
    _, throughput, _ = end_to_end(
        loader, model, tally, clock, durations, NUM_BATCHES, rounds=rounds
    )
    logs = [
        math.log(each.end_to_end.images_per_s / each.model.images_per_s) for each in rounds.rounds
    ]
    centre, bounds = hodges_lehmann_interval(logs)
    return {
        "of_ceiling": math.exp(centre),
        "interval": [math.exp(x) for x in bounds] if bounds else None,
        "rounds": [math.exp(x) for x in logs],
        "of_ceiling_measured_once": throughput.images_per_s / once,
        "spread_of_windows": throughput.spread,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    cores = num_cores()
    quiet = measure()
    print(f"without the neighbour {100 * quiet['of_ceiling']:.1f} %", flush=True)
    until = time.time() + 3600
    neighbours = [
        multiprocessing.get_context("spawn").Process(target=neighbour, args=(until,), daemon=True)
        for _ in range(max(1, cores // 2))
    ]
    for each in neighbours:
        each.start()
    found = []
    for _ in range(arguments.repetitions):
        found.append(measure())
        print(
            f"in rounds {100 * found[-1]['of_ceiling']:.1f} %, measured once "
            f"{100 * found[-1]['of_ceiling_measured_once']:.1f} %",
            flush=True,
        )
    for each in neighbours:
        each.kill()
    if arguments.output:
        result = {
            "benchmark": "planted_drift",
            "command": shlex.join(
                ["uv", "run", "python", "benchmarks/planted_drift.py", *sys.argv[1:]]
            ),
            "environment": machine.describe(),
            "on_s": ON_S,
            "period_s": PERIOD_S,
            "without_neighbour": quiet,
            "repetitions": found,
        }
        text = json.dumps(result, indent=1, allow_nan=False)
        write_text("The figures", arguments.output, text + "\n")


if __name__ == "__main__":
    main()
