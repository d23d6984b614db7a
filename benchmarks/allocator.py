"""What keeping freed memory is worth: `--allocator keep` over `system`, end to end, in turn.

For each model and loader `fastbench run --ab allocator=system` lets windows of both take turns,
each in a process of its own, and its ratio is turned round. One row of each model behind the first
loader, with either, then says which share of the CPU time the kernel took, how many page faults an
image there were, and how much memory was resident. The weights are random: no time depends on them.

    uv run python benchmarks/allocator.py --data imagenet-250 --output FILE
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from fastbench.core.atomic_files import write_text
from fastbench.core.stats import geometric_mean_interval
from fastbench.measure import machine
from fastbench.records.store import build_ab_record, read_json, read_record

MODELS: Final = ("squeezenet1_0", "resnet18", "resnet50", "mobilenet_v3_large", "efficientnet_b0")
LOADERS: Final = ("dali", "torchvision-tensor", "torchvision")


def fastbench(arguments: argparse.Namespace, model: str, loader: str, *more: str) -> list[Path]:
    """The records of one command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "fastbench", "run", "--device", "cpu", "--weights", "none"),
            *("--data", arguments.data, "--limit", str(arguments.limit), "--reference", "none"),
            *("--batch-size", str(arguments.batch_size), "--model", model, "--loader", loader),
            *(*more, "--output", f"{folder}/out"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        kept = Path(tempfile.mkdtemp())
        return [path.replace(kept / path.name) for path in Path(folder, "out").glob("*.json")]


def compare(arguments: argparse.Namespace, model: str, loader: str) -> dict[str, Any]:
    more = ["--ab", "allocator=system", *(() if arguments.full else ("--quick",))]
    (path,) = fastbench(arguments, model, loader, *more)
    record = build_ab_record(read_json(path), path)
    assert record is not None
    low, high = record.interval or (record.ratio, record.ratio)
    return {
        "model": model,
        "loader": loader,
        "keep_over_system": 1 / record.ratio,
        "interval": [1 / high, 1 / low],
        "keep_images_per_s": record.a_images_per_s,
        "system_images_per_s": record.b_images_per_s,
    }


def take(arguments: argparse.Namespace, model: str) -> list[dict[str, Any]]:
    """What a row of either took."""
    paths = fastbench(
        arguments, model, LOADERS[0], "--allocator", "keep", "--allocator", "system",
        "--passes", "end-to-end", "--windows", "1", "--min-seconds", "3",
    )  # fmt: skip
    rows = []
    for record in map(read_record, paths):
        used = record.telemetry
        assert used is not None
        rows.append(
            {
                "model": model,
                "allocator": record.environment["freed_memory"],
                "kernel_share": used.kernel_share,
                "faults_per_image": used.faults_per_image,
                "cpu_s_per_1000_images": used.cpu_s_per_1000_images,
                "most_rss_bytes": max(used.rss_bytes),
                "images_per_s": record.throughput.images_per_s,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample")
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--loader", nargs="+", default=LOADERS)
    parser.add_argument("--limit", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--full", action="store_true", help="120 pairs each, not 12")
    parser.add_argument("--output", type=Path, help="JSON file to write, after each comparison")
    arguments = parser.parse_args()
    compared: list[dict[str, Any]] = []
    took: list[dict[str, Any]] = []
    for model in arguments.model:
        took += take(arguments, model)
        for loader in arguments.loader:
            compared.append(compare(arguments, model, loader))
            save(arguments, compared, took)
    show(compared, took)


def save(
    arguments: argparse.Namespace, compared: list[dict[str, Any]], took: list[dict[str, Any]]
) -> None:
    mean, interval = geometric_mean_interval([each["keep_over_system"] for each in compared])
    result = {
        "benchmark": "allocator",
        "command": shlex.join(["uv", "run", "python", "benchmarks/allocator.py", *sys.argv[1:]]),
        "environment": machine.describe(),
        "geometric_mean": mean,
        "interval_of_the_mean": interval,
        "in_turn": compared,
        "rows": took,
    }
    if arguments.output:
        text = json.dumps(result, indent=1, allow_nan=False)
        write_text("The figures", arguments.output, text + "\n")


def show(compared: list[dict[str, Any]], took: list[dict[str, Any]]) -> None:
    mean, _ = geometric_mean_interval([each["keep_over_system"] for each in compared])
    console = Console(width=110)
    table = Table("model", "loader", "keep / system", "95 %", title="End to end, in turn")
    for each in compared:
        low, high = each["interval"]
        ratio = f"{each['keep_over_system']:.2f}x"
        table.add_row(each["model"], each["loader"], ratio, f"{low:.2f}-{high:.2f}")
    console.print(table)
    console.print(f"Geometric mean: {mean:.2f}x")
    table = Table("model", "allocator", "kernel %", "faults/image", "CPU s/1,000", "RSS MB")
    for each in took:
        table.add_row(
            each["model"],
            each["allocator"],
            f"{100 * (each['kernel_share'] or 0):.0f}",
            f"{each['faults_per_image']:,.0f}",
            f"{each['cpu_s_per_1000_images']:.1f}",
            f"{each['most_rss_bytes'] / 1e6:,.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
