"""Records of runs at given throughputs, and what a report or a comparison needs besides."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
from rich.console import Console

from builders.records import make
from fastbench.records.record import ParityRecord, Record
from fastbench.records.speed import Ceiling, GpuTelemetry, Telemetry, Throughput, Window
from fastbench.records.store import write_record
from fastbench.report.compare.pair_comparison import PairComparison, compare_runs
from fastbench.report.compare.pair_screen import render

DATA = {"num_samples": 1000, "num_bytes": 110_000_000, "digest": "a" * 64, "page_cache": "warm"}
MOVED = {
    "device": ("NVIDIA H100", "NVIDIA H200"),
    "driver": ("580.1", "590.1"),
    "CPU": ("A CPU", "B CPU"),
    "cores": (2, 4),
    "CUDA": ("13.2", "13.3"),
    "torch": ("2.15.0", "2.16.0"),
    "torchvision": ("0.29.2", "0.30.0"),
    "DALI": ("2.4.0", "2.5.0"),
    "fastbench commit": ("0000000000+changes", "1111111111"),
}
"""An upgrade of everything, as a comparison shows it: before and after."""


def compare_records(a: Record, b: Record) -> PairComparison:
    """One run a side."""
    return compare_runs([a], [b])


def timed(*rates: float, images: int = 1000, wait: float = 0.25) -> Throughput:
    """Windows of 32 steps each, at these images/s."""
    windows = [
        Window(num_images=images, num_steps=32, wall_s=images / x, wait_s=wait * images / x)
        for x in rates
    ]
    return Throughput(
        num_images=images * len(rates),
        num_epochs=len(rates),
        batch_size=32,
        wall_s=sum(window.wall_s for window in windows),
        step_times_s=[window.wall_s / 32 for window in windows for _ in range(32)],
        windows=windows,
    )


def run(*rates: float, **changes: object) -> Record:
    """Windows at these images/s, which are at most what loader and model reach alone."""
    alone_s = min(2.0, 500 / max(rates))
    ceilings = {
        "loader_ceiling": Ceiling(num_images=1000, wall_s=alone_s),
        "model_ceiling": Ceiling(num_images=512, wall_s=alone_s),
    }
    return make(**{"throughput": timed(*rates), "data": DATA, **ceilings, **changes})


def written(folder: Path, record: Record, name: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    path = write_record(record, folder)
    return path.rename(folder / name) if name else path


def parity_record() -> ParityRecord:
    record = make()
    names = {field.name for field in msgspec.structs.fields(ParityRecord)}
    return ParityRecord(**{name: getattr(record, name) for name in names})


def environment(side: int) -> dict[str, object]:
    """`MOVED` as a record has it; 0 is before, 1 after."""
    of = {name: values[side] for name, values in MOVED.items()}
    packages = {"torch": "torch", "torchvision": "torchvision", "nvidia-dali-cuda120": "DALI"}
    return {
        "cpu": of["CPU"],
        "num_cores": of["cores"],
        "gpus": [{"name": of["device"]}],
        "driver": of["driver"],
        "cuda": of["CUDA"],
        "packages": {name: of[fact] for name, fact in packages.items()},
        "git": ("0" * 40 + "+changes", "1" * 40)[side],
    }


def broken(record: Record) -> Record:
    """A record whose steps take twice as long as its windows."""
    throughput = record.throughput
    steps_s = [2 * seconds for seconds in throughput.step_times_s]
    return msgspec.structs.replace(
        record, throughput=msgspec.structs.replace(throughput, step_times_s=steps_s)
    )


def on_gpu(name: str, watts: float | None = None, wall_s: float = 10.0) -> dict[str, object]:
    """Changes that put a record on a GPU, with or without telemetry."""
    changes: dict[str, object] = {
        "device": "cuda:0",
        "environment": {"cpu": "A CPU", "num_cores": 16, "gpus": [{"name": name}]},
    }
    if watts is not None:
        changes["telemetry"] = telemetry(
            wall_s,
            num_cores=16,
            cpu_s=2.0,
            gpu=GpuTelemetry(
                energy_j=watts * wall_s,
                power_w=[watts],
                power_limit_w=700.0,
                sm_utilization_pct=[],
                memory_utilization_pct=[],
                jpeg_utilization_pct=[],
                sm_clock_mhz=[],
                temperature_c=[],
                memory_used_bytes=[3_000_000_000, 5_000_000_000],
                throttle_reasons=[],
                num_foreign_processes=0,
            ),
        )
    return changes


def telemetry(
    wall_s: float = 10.0,
    *,
    num_cores: int = 2,
    cpu_s: float = 0.1,
    foreign: float = 0.0,
    gpu: GpuTelemetry | None = None,
) -> Telemetry:
    """`foreign` is the share of the cores' time that other processes took."""
    return Telemetry(
        wall_s=wall_s,
        interval_s=0.1,
        num_readings=2,
        num_images=1000,
        num_cores=num_cores,
        cpu_s=cpu_s,
        foreign_cpu_s=foreign * wall_s * num_cores,
        rss_bytes=[1_000_000_000, 2_000_000_000],
        gpu=gpu,
    )


def text_of(comparison: PairComparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(comparison, "a.json", "b.json"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def folder_of(folder: Path, **records: Record) -> Path:
    """A folder with these records, by the names of their files."""
    for name, record in records.items():
        written(folder, record, f"{name}.json")
    return folder
