"""Can `--ab` be trusted? The same pipeline against itself, and against itself slowed by 5 %.

Two sides of one configuration are interleaved as `fastbench run --ab` does, with its number of
pairs and its windows, again and again. Wanted: of 20 repetitions the interval of B/A holds 1 in at
least 19; and where each window of B is taken to have lasted 5 % longer than it did, the interval
lies below 1 in at least 18. The slowdown is planted in the numbers because it must be exact: a
sleep of 5 % gives the other threads room, and came out as 13 %.

    uv run python benchmarks/ab_power.py [--repetitions N] [--batch-size N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

from fastbench import environment
from fastbench.ab import num_queued
from fastbench.clock import make_clock
from fastbench.data.manifest import scan
from fastbench.data.sample import ensure_sample
from fastbench.device import choose_device
from fastbench.interleave import NUM_PAIRS, Side, interleave
from fastbench.loaders import resolve
from fastbench.loaders.base import LoaderSpec
from fastbench.models.classifier import Classifier
from fastbench.models.zoo import load_model
from fastbench.results import ratio_of_pairs

SLOWDOWN = 0.05


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
    loaders = [resolve("dali")(spec) for _ in range(2)]
    a, b = (Side(loader, classifier, num_queued(loader, spec)) for loader in loaders)
    repetitions = []
    for _ in range(arguments.repetitions):
        repetitions.append(interleave(a, b, clock, NUM_PAIRS))
        report(repetitions, arguments)
    for side in (a, b):
        side.loader.close()


def report(
    repetitions: list[tuple[list[float], list[float]]], arguments: argparse.Namespace
) -> None:
    """Print the counts so far, and write them with the raw throughputs."""
    same = [ratio_of_pairs(a, b) for a, b in repetitions]
    slowed = [ratio_of_pairs(a, [rate / (1 + SLOWDOWN) for rate in b]) for a, b in repetitions]
    equal = sum(i is not None and i[0] <= 1 <= i[1] for _, i in same)
    slower = sum(i is not None and i[1] < 1 for _, i in slowed)
    num = len(repetitions)
    ratio, interval = same[-1]
    low, high = interval or (0.0, 0.0)
    print(
        f"equal found equal in {equal} of {num}, {100 * SLOWDOWN:g} % slower found slower in "
        f"{slower} of {num}; last B/A {ratio:.3f} ({low:.3f} to {high:.3f})",
        flush=True,
    )
    if arguments.output:
        record = {
            "benchmark": "ab_power",
            "command": shlex.join(["uv", "run", "python", *sys.argv]),
            "environment": environment.describe(),
            "batch_size": arguments.batch_size,
            "slowdown": SLOWDOWN,
            "num_repetitions": num,
            "num_equal": equal,
            "num_slower": slower,
            "ratios": same,
            "images_per_s": repetitions,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
