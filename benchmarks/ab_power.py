"""Can `--ab` be trusted? The same pipeline against itself, and against itself made slower.

Two sides of one configuration are interleaved as `fastbench run --ab` does, with its number of
pairs and its windows, again and again. Wanted: of 20 repetitions the interval of B/A holds 1 in at
least 19; and where each window of B is taken to have lasted longer than it did, the interval lies
below 1 in at least nine of ten, for 5 % longer or for as little as this machine allows. The
slowdown is planted in the numbers because it must be exact: a sleep of 5 % gives the other threads
room, and came out as 13 %.

    uv run python benchmarks/ab_power.py [--repetitions N] [--batch-size N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

from fastbench.core import allocator
from fastbench.core.atomic_files import write_text
from fastbench.core.cores import num_cores
from fastbench.core.device import choose_device
from fastbench.data.dataset import scan
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.engines.base import EngineSpec
from fastbench.engines.classifier import Classifier
from fastbench.loaders.base import LoaderSpec, LoaderTraits
from fastbench.loaders.registry import resolve
from fastbench.measure import machine
from fastbench.measure.clock import make_clock
from fastbench.measure.interleave import NUM_PAIRS, Side, interleave
from fastbench.models.torchvision import load_model
from fastbench.records.record import ratio_of_pairs

SLOWDOWNS_PCT = (3, 5, 6, 7, 8, 9, 10, 12, 15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--output", type=Path, help="JSON file to write, after each repetition")
    arguments = parser.parse_args()

    allocator.set_up("keep")  # as the process of a row does
    device = choose_device("auto")
    model = load_model("sample")
    manifest = scan(ensure_sample(1000))
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=arguments.batch_size,
        preprocess=model.preprocess,
        device=str(device),
        dtype="float32",
        num_threads=num_cores(),
        largest=manifest.largest,
        sizes=manifest.sizes,
    )
    engine = EngineSpec(
        model=model,
        batch_size=arguments.batch_size,
        crop=model.preprocess.crop,
        device=device,
        dtype="float32",
        num_threads=num_cores(),
    )
    classifier = Classifier(engine)
    classifier.warm_up()
    loaders = [resolve("dali")(spec) for _ in range(2)]
    a, b = (
        Side(
            loader,
            classifier,
            LoaderTraits.of(loader).num_queued(spec.prefetch),
            make_clock(device),
        )
        for loader in loaders
    )
    repetitions = []
    for _ in range(arguments.repetitions):
        pairs = zip(*interleave(a, b, NUM_PAIRS), strict=True)
        rates, other_rates = map(list, pairs)
        repetitions.append((rates, other_rates))
        report(repetitions, arguments)
    for side in (a, b):
        side.loader.close()


def report(
    repetitions: list[tuple[list[float], list[float]]], arguments: argparse.Namespace
) -> None:
    """Print the counts so far, and write them with the raw throughputs."""
    same = [ratio_of_pairs(a, b) for a, b in repetitions]
    num = len(repetitions)
    equal = sum(i is not None and i[0] <= 1 <= i[1] for _, i in same)
    found = {pct: num_slower(repetitions, pct / 100) for pct in SLOWDOWNS_PCT}
    ratio, interval = same[-1]
    low, high = interval or (0.0, 0.0)
    slower = ", ".join(f"{pct} % in {times}" for pct, times in found.items())
    print(
        f"of {num}: equal found equal in {equal}, slower found slower: {slower}; "
        f"last B/A {ratio:.3f} ({low:.3f} to {high:.3f})",
        flush=True,
    )
    if arguments.output:
        record = {
            "benchmark": "ab_power",
            "command": shlex.join(["uv", "run", "python", *sys.argv]),
            "environment": machine.describe(machine.describe_gpus(choose_device("auto"))),
            "batch_size": arguments.batch_size,
            "num_pairs": NUM_PAIRS,
            "num_repetitions": num,
            "num_equal": equal,
            "num_slower_by_pct": found,
            "scatter": [scatter(a, b) for a, b in repetitions],
            "ratios": same,
            "images_per_s": repetitions,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text("The figures", arguments.output, json.dumps(record) + "\n")


def num_slower(repetitions: list[tuple[list[float], list[float]]], slowdown: float) -> int:
    """In how many repetitions B is found slower, had its windows lasted longer by `slowdown`."""
    intervals = (
        ratio_of_pairs(a, [rate / (1 + slowdown) for rate in b])[1] for a, b in repetitions
    )
    return sum(interval is not None and interval[1] < 1 for interval in intervals)


def scatter(a: list[float], b: list[float]) -> float:
    """Standard deviation of the pairs' log ratios."""
    return statistics.stdev(math.log(y / x) for x, y in zip(a, b, strict=True))


if __name__ == "__main__":
    main()
