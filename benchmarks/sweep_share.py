"""Which share of the wall time of a sweep's rows measures, and where the rest goes.

Each FOLDER is of `fastbench run`, all of the same options: one a version of fastbench, say. The
rows' stages are summed up; what is timed (windows, ceilings, latencies) is taken out of the passes,
and their rest is warm-ups and the starts of loaders. Compare shares rather than seconds: on a
machine with other work the seconds are not the sweep's own.

    uv run python benchmarks/sweep_share.py FOLDER... [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fastbench.core.atomic_files import write_text
from fastbench.records.store import read_record

if TYPE_CHECKING:
    from fastbench.records.record import Record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    sweeps = {folder.name: read_sweep(folder) for folder in arguments.folders}
    for name, records in sweeps.items():
        seconds = by_stage(records)
        total_s = sum(seconds.values())
        print(f"{name}: {len(records)} rows, {total_s:.1f} s")
        for stage, its_s in seconds.items():
            print(f"  {stage:<12} {its_s:8.1f} s  {100 * its_s / total_s:5.1f} %")
    if arguments.output:
        record = {
            "benchmark": "sweep_share",
            "environment": next(iter(sweeps.values()))[0].environment,
            "sweeps": {name: summary(records) for name, records in sweeps.items()},
        }
        write_text("The figures", arguments.output, json.dumps(record, indent=1) + "\n")


def read_sweep(folder: Path) -> list[Record]:
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


def by_stage(records: list[Record]) -> dict[str, float]:
    """Seconds of all rows: what was timed, the rest of the passes, and the other stages."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for record in records:
        if record.stages is None:
            raise SystemExit(f"A record of {record.command} has no stages: measure again.")
        stages = msgspec.structs.asdict(record.stages)
        seconds["measured"] += record.measured_s
        seconds["warm-ups"] += stages.pop("passes_s") - record.measured_s
        for name, its_s in stages.items():
            seconds[name.removesuffix("_s")] += its_s
    return dict(seconds)


def summary(records: list[Record]) -> dict[str, Any]:
    seconds = by_stage(records)
    foreign = [x.telemetry.foreign_cpu_share for x in records if x.telemetry]
    return {
        "command": re.sub(r"(--output) \S+", r"\1 FOLDER", records[0].command),
        "num_rows": len(records),
        "seconds": seconds,
        "measured_share": seconds["measured"] / sum(seconds.values()),
        "measured_share_of_rows": [
            record.measured_s / record.stages.total_s for record in records if record.stages
        ],
        "median_foreign_cpu_share": statistics.median(x for x in foreign if x is not None),
    }


if __name__ == "__main__":
    main()
