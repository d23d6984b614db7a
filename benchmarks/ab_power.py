"""Can `--ab` be trusted? The same pipeline against itself, and against itself slowed by 5 %.

Three sides run in turn, each exactly as `fastbench run --ab` runs its two: A' A B, then B A A'. A
and A' are the same configuration, B is a third with a model that sleeps for 5 % of each step. Every
60 turns are a repetition, which is what one `--ab` measures. Wanted: of 20 repetitions the interval
of A'/A holds 1 in at least 19, and that of B/A lies below 1 in at least 18.

    uv run python benchmarks/ab_power.py [--repetitions N] [--batch-size N] [--output FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

from fastbench import environment
from fastbench.clock import make_clock
from fastbench.data.manifest import scan
from fastbench.data.sample import ensure_sample
from fastbench.device import choose_device
from fastbench.interleave import MIN_BATCHES, NUM_PAIRS, WINDOW_SECONDS, Side
from fastbench.loaders import resolve
from fastbench.loaders.base import LoaderSpec
from fastbench.models.classifier import Classifier
from fastbench.models.zoo import load_model
from fastbench.results import ratio_of_pairs

if TYPE_CHECKING:
    import torch

SLOWDOWN = 0.05


class Slowed:
    """A model that sleeps for a share of the time from one call's end to the next one's."""

    def __init__(self, model: Classifier, share: float) -> None:
        self.model, self.share, self.batch_size = model, share, model.batch_size
        self.last = time.perf_counter()

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        before = time.perf_counter()
        logits = self.model(images_NCHW)
        # The first call of a window comes after the other sides' windows: its own time counts.
        step_s = time.perf_counter() - max(self.last, before - WINDOW_SECONDS)
        time.sleep(self.share * step_s)
        self.last = time.perf_counter()
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--output", type=Path, help="JSON file to write, after each repetition")
    arguments = parser.parse_args()

    device = choose_device("auto")
    model = load_model("sample")
    manifest = scan(ensure_sample(1000))
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=arguments.batch_size,
        preprocess=model.preprocess,
        device=str(device),
        dtype="float32",
        num_threads=environment.num_cores(),
        largest=manifest.largest,
    )
    classifier = Classifier(
        model.module, device=str(device), dtype="float32", batch_size=arguments.batch_size
    )
    classifier.warm_up(model.preprocess.crop)
    clock = make_clock(device)
    num_queued = spec.prefetch * spec.num_threads
    sides = {
        name: Side(resolve("dali")(dataclasses.replace(spec)), used, num_queued)
        for name, used in (
            ("same", classifier),
            ("base", classifier),
            ("slowed", Slowed(classifier, SLOWDOWN)),
        )
    }
    rate = max(sides["base"].window(clock, MIN_BATCHES) for _ in range(3))
    num_batches = max(MIN_BATCHES, round(WINDOW_SECONDS * rate / arguments.batch_size))
    repetitions: list[dict[str, list[float]]] = []
    for _ in range(arguments.repetitions):
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(NUM_PAIRS):
            for name in list(sides) if turn % 2 == 0 else reversed(list(sides)):
                rates[name].append(sides[name].window(clock, num_batches))
        repetitions.append(rates)
        report(repetitions, arguments, num_batches)
    for side in sides.values():
        side.loader.close()


def report(
    repetitions: list[dict[str, list[float]]], arguments: argparse.Namespace, num_batches: int
) -> None:
    """Print the counts so far, and write them with the raw throughputs."""
    found = {}
    for name in ("same", "slowed"):
        found[name] = [ratio_of_pairs(rates["base"], rates[name]) for rates in repetitions]
    equal = sum(i is not None and i[0] <= 1 <= i[1] for _, i in found["same"])
    slower = sum(i is not None and i[1] < 1 for _, i in found["slowed"])
    num = len(repetitions)
    print(
        f"equal found equal in {equal} of {num}, {100 * SLOWDOWN:g} % slower found slower in "
        f"{slower} of {num}; last: {found['same'][-1]}, {found['slowed'][-1]}",
        flush=True,
    )
    if arguments.output:
        record = {
            "benchmark": "ab_power",
            "command": "uv run python benchmarks/ab_power.py",
            "environment": environment.describe(),
            "batch_size": arguments.batch_size,
            "num_batches_a_window": num_batches,
            "slowdown": SLOWDOWN,
            "num_repetitions": num,
            "num_equal": equal,
            "num_slower": slower,
            "ratios": found,
            "images_per_s": repetitions,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
