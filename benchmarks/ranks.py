"""What ranks cost, and whether a slow one is found: rows of `fastbench run`, in turn.

Two ranks with one thread each are held against one process with two threads, A B B A. The wanted
ratio is 0.9 at least: a rank more brings a process, and a window that ends with the slower rank.

With `--straggler` rank 1 is slowed by known shares. Wanted: the record names it and says how much
slower it is, and the row lacks as much of one without a straggler; either within a tenth.

    uv run python benchmarks/ranks.py --output FILE
    uv run python benchmarks/ranks.py --straggler --output FILE
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from fastbench.core.atomic_files import write_text
from fastbench.measure import machine
from fastbench.records.record import Record, ratio_of_pairs
from fastbench.records.scaling import Slowest, slowest_rank
from fastbench.records.store import read_record

HERE: Final = Path(__file__).parent
WANTED: Final = 0.9
SHARES: Final = (0.2, 0.5, 1.0)
NEAR: Final = 0.1


def fastbench(*options: str, **environment: str) -> Record:
    """The record of one row."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "fastbench", "run", "--device", "cpu", "--reference", "none"),
            *("--passes", "end-to-end", *options, "--output", f"{folder}/out"),
        ]
        # Models of the current folder are found there.
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, cwd=HERE, env=os.environ | environment
        )
        (path,) = Path(folder, "out").glob("*.json")
        return read_record(path)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    usual = (
        *("--data", arguments.data, "--model", arguments.model, "--weights", arguments.weights),
        *("--loader", arguments.loader, "--limit", str(arguments.limit)),
        *("--batch-size", str(arguments.batch_size), "--windows", "1"),
        *("--min-seconds", str(arguments.seconds)),
    )
    threads = [("--num-threads", str(n), "--model-threads", str(n)) for n in (2, 1)]
    sides = [(*threads[0], "--ranks", "1"), (*threads[1], "--ranks", "2")]
    rates: tuple[list[float], list[float]] = [], []
    apart: list[float] = []
    for pair in range(arguments.pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            record = fastbench(*usual, *sides[side])
            rates[side].append(record.throughput.images_per_s)
            if record.ranks:
                apart.append(waiting(record))
        ratio, interval = ratio_of_pairs(*rates) if pair else (rates[1][0] / rates[0][0], None)
        shown = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
        print(f"{pair + 1} pairs: two ranks / two threads {ratio:.3f}{shown}", flush=True)
    return {
        "two_ranks_over_two_threads": ratio,
        "interval": interval,
        "wanted": WANTED,
        "passes": ratio >= WANTED,
        "two_threads_images_per_s": rates[0],
        "two_ranks_images_per_s": rates[1],
        "share_of_windows_that_a_rank_did_not_run": apart,
    }


def waiting(record: Record) -> float:
    """The share of the row's windows in which a rank was not yet at work, or not any more."""
    return 1 - statistics.fmean(part.wall_s for part in record.ranks) / record.throughput.wall_s


def plant(arguments: argparse.Namespace) -> dict[str, Any]:
    found = []
    for share in SHARES:
        rates: dict[float, list[float]] = {0.0: [], share: []}
        told: list[Slowest] = []
        for slower in (0.0, share, share, 0.0):
            record = fastbench(
                *("--model", "straggler_model:make", "--loader", "synthetic", "--ranks", "2"),
                *("--data", arguments.data, "--limit", "64", "--batch-size", "8"),
                *("--num-threads", "1", "--model-threads", "1", "--windows", "3"),
                *("--min-seconds", str(arguments.seconds)),
                STRAGGLER_SHARE=str(slower),
            )
            rates[slower].append(record.throughput.images_per_s)
            if slower and (slowest := slowest_rank(record)) is not None:
                told.append(slowest)
        loss = 1 - statistics.fmean(rates[share]) / statistics.fmean(rates[0.0])
        slower_by = statistics.fmean(each.slower for each in told)
        planted = {"slower_by": share, "loss": share / (1 + share)}
        reported = {"slower_by": slower_by, "loss": loss}
        is_near = all(abs(reported[name] / planted[name] - 1) <= NEAR for name in planted)
        found.append(
            {
                "planted": planted,
                "reported": reported,
                "slowest_ranks": [each.rank for each in told],
                "passes": is_near and {each.rank for each in told} == {1},
                "images_per_s": rates[0.0],
                "images_per_s_with_straggler": rates[share],
            }
        )
        print(
            f"planted {100 * share:.0f} % slower: {'; '.join(map(str, told))}; "
            f"lost {100 * loss:.1f} % of {100 * planted['loss']:.1f} %",
            flush=True,
        )
    return {"bound": NEAR, "passes": all(each["passes"] for each in found), "stragglers": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--straggler", action="store_true", help="plant one, by known shares")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--model", default="sample")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--loader", default="torchvision-tensor")
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=12, help="an even number")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a window")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    load_before = os.getloadavg()
    found = plant(arguments) if arguments.straggler else compare(arguments)
    if arguments.output:
        result = {
            "benchmark": "ranks",
            "command": shlex.join(["uv", "run", "python", "benchmarks/ranks.py", *sys.argv[1:]]),
            "environment": machine.describe(),
            "load_average": {"before": load_before, "after": os.getloadavg()},
            **found,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text("The figures", arguments.output, json.dumps(result, indent=1) + "\n")
    sys.exit(0 if found["passes"] else 1)


if __name__ == "__main__":
    main()
