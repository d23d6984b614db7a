"""What does `--on-error skip` cost on clean data? Listing the files, and the loader's throughput.

Three ways to list the same clean files are timed, interleaved, in seconds for each 1,000 files:

    fail     header and end of every file (the default)
    first    `skip` for the first time: every file is decoded once, on all cores
    again    `skip` from then on: what was found is remembered

Then the `dali` loader alone is run over both lists, A B B A; the figure is the ratio of
throughputs, skip / fail: its median over the pairs, and the 95 % interval of that median. The two
lists have the same digest, so that nothing but noise can be found there, and that is the claim.

    uv run python benchmarks/on_error_cost.py [--data DIR] [--pairs N] [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from harness_overhead import interleave

from fastbench.core.atomic_files import write_text
from fastbench.core.cores import num_cores
from fastbench.core.device import choose_device
from fastbench.data.dataset import Manifest, scan
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.loaders.base import LoaderSpec
from fastbench.loaders.registry import resolve
from fastbench.measure import machine
from fastbench.models.torchvision import load_model

NUM_SCANS = 5
WARM_UP_BATCHES = 4
NUM_PER_BATCH = {"cuda": 256, "cpu": 32}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of JPEGs (default: the sample data)")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    data = arguments.data or ensure_sample(1000)

    seconds: dict[str, list[float]] = {"fail": [], "first": [], "again": []}
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(NUM_SCANS):
            os.environ["XDG_CACHE_HOME"] = f"{cache}/{turn}"  # nothing is remembered there
            for name in seconds:
                manifest, wall_s = timed_scan(data, skip=name != "fail")
                seconds[name].append(1000 * wall_s / len(manifest))
        failing, skipping = scan(data), scan(data, skip=True)
    if failing.digest != skipping.digest:
        raise SystemExit(f"{data} is not clean: {skipping.skipped[0]}")

    compared = interleave(lambda: rate(skipping), lambda: rate(failing), arguments.pairs)

    for name, values in seconds.items():
        print(f"{name:<6} {statistics.median(values):.3f} s for 1,000 files")
    low, high = compared["interval"]
    print(
        f"dali alone, skip / fail: median {compared['median_ratio']:.3f} "
        f"(95 % {low:.3f} to {high:.3f}, {len(compared['ratios'])} pairs)"
    )
    if arguments.output:
        record = {
            "benchmark": "on_error_cost",
            "command": "uv run python benchmarks/on_error_cost.py",
            "environment": machine.describe(machine.describe_gpus(choose_device("auto"))),
            "num_files": len(failing),
            "num_bytes": sum(failing.num_bytes),
            "scan_s_per_1000_files": seconds,
            "loader_alone": {
                "median_ratio": compared["median_ratio"],
                "interval": compared["interval"],
                "ratios": compared["ratios"],
            },
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")


def timed_scan(data: Path, *, skip: bool) -> tuple[Manifest, float]:
    start = time.perf_counter()
    manifest = scan(data, skip=skip)
    return manifest, time.perf_counter() - start


def rate(manifest: Manifest) -> float:
    """Images/s over an epoch of a new loader: an old one would keep its luck with memory."""
    device = choose_device("auto")
    loader = resolve("dali")(
        LoaderSpec(
            paths=manifest.paths,
            batch_size=NUM_PER_BATCH[device.type],
            preprocess=load_model("sample").preprocess,
            device=str(device),
            dtype="float32",
            num_threads=num_cores(),
            largest=manifest.largest,
            sizes=manifest.sizes,
        )
    )
    stream = itertools.chain.from_iterable(itertools.repeat(loader))
    for _ in itertools.islice(stream, WARM_UP_BATCHES):
        pass
    start = time.perf_counter()
    num_batches = -(-len(manifest) // NUM_PER_BATCH[device.type])
    num_images = sum(batch.num_valid for batch in itertools.islice(stream, num_batches))
    wall_s = time.perf_counter() - start
    loader.close()
    return num_images / wall_s


if __name__ == "__main__":
    main()
