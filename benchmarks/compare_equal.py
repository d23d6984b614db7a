"""Do two runs of the same configuration compare as equal? `fastbench run` twice, `compare`, again.

Every run is a process of its own, as a user's is. Wanted: of 20 pairs the interval of B/A, which
`fastbench compare` draws from the windows of both, holds 1 in at least 19.

    uv run python benchmarks/compare_equal.py [--pairs N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fastbench.core.atomic_files import write_text
from fastbench.records.store import read_record
from fastbench.report.compare.pair_comparison import compare_runs

RUN = (
    *("run", "--loader", "dali", "--reference", "none", "--passes", "end-to-end"),
    *("--min-seconds", "1", "--limit", "160"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--output", type=Path, help="JSON file to write, after each pair")
    arguments = parser.parse_args()

    pairs: list[dict[str, Any]] = []
    for number in range(1, arguments.pairs + 1):
        with tempfile.TemporaryDirectory() as folder:
            a, b = (read_record(run(Path(folder) / side)) for side in "ab")
        found = compare_runs([a], [b])
        pairs.append(
            {
                "a_images_per_s": a.throughput.rates,
                "b_images_per_s": b.throughput.rates,
                "ratio": found.ratio,
                "interval": found.interval,
            }
        )
        low, high = found.interval or (0.0, 0.0)
        equal = sum(
            p["interval"] is not None and p["interval"][0] <= 1 <= p["interval"][1] for p in pairs
        )
        print(
            f"of {number}: equal {equal}; last B/A {found.ratio:.3f} ({low:.3f} to {high:.3f})",
            flush=True,
        )
        if arguments.output:
            record = {
                "benchmark": "compare_equal",
                "command": shlex.join(["uv", "run", "python", *sys.argv]),
                "run": shlex.join(["fastbench", *RUN]),
                "environment": b.environment,
                "num_pairs": number,
                "num_equal": equal,
                "pairs": pairs,
            }
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")


def run(folder: Path) -> Path:
    """One `fastbench run`; its record."""
    command = [sys.executable, "-m", "fastbench", *RUN, "--output", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.json")
    return path


if __name__ == "__main__":
    main()
