"""What does this GPU do? One command, no network, under nine minutes: records, a table, a verdict.

    uv run python benchmarks/gpu_suite.py [--output DIR] [--slice NAME] [--max-seconds S]

It draws 20,000 JPEGs like ImageNet's into a scratch folder, says which JPEG engines the chip has
and whether DALI works them, checks the predictions of the sample model, and then measures models
behind loaders, the most telling first, until its time is up: each row that no longer fits is named
as left out. Weights are random: they change nothing about time. A record is written as soon as its
row is measured, `suite.json` is written anew after every group of rows, and the table comes last.
Four questions are answered:

    overlap     end to end / min(loader ceiling, model ceiling), resnet18 and resnet50, float16
                compiled, behind dali                                         wanted: 0.95
    loader      dali / torchvision (CPU) end to end, resnet18 float16 compiled   wanted: 3
    compile     compiled / eager, resnet50 float16, model alone               wanted: 1.4
    agreement   the sample model's top-1 predictions, dali against the reference in float32
                                                                              wanted: 0.995

Slices, to spread the work over several commands: `core` answers the questions, `models` goes
through the other models, `float32` through the other dtype, `all` (default) does all of it in that
order. Exit code: 0 done, 1 without a CUDA device or where no row could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

from rich.console import Console

from fastbench.core.atomic_files import write_text
from fastbench.core.config import RunConfig
from fastbench.core.cores import num_cores
from fastbench.core.device import choose_device
from fastbench.core.errors import DeviceError, FastbenchError
from fastbench.core.nvidia import jpeg_engines
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.measure import machine
from fastbench.measure.telemetry import Watch
from fastbench.records.store import write_record
from fastbench.report.columns.column import Row
from fastbench.report.formats.run_screen import print_run
from fastbench.runner.measure_row import measure_prepared
from fastbench.runner.prepare import Workbench, prepare_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from fastbench.records.record import Record

MODELS = (
    "resnet18",
    "resnet50",
    "vit_b_16",
    "vgg16",
    "alexnet",
    "googlenet",
    "mobilenet_v3_large",
)
SLICES = ("core", "models", "float32")


@dataclass(frozen=True)
class Group:
    """Rows that share a model, and so its compilation."""

    slice: str
    model: str
    dtype: str
    compiled: bool
    loaders: tuple[str, ...]

    def __str__(self) -> str:
        how = "compiled" if self.compiled else "eager"
        return f"{self.model} {self.dtype} {how} x {', '.join(self.loaders)}"


def plan(slice_: str) -> list[Group]:
    """All rows, the most telling first."""
    everything = ("dali", "torchvision-gpu", "torchvision", "synthetic")
    pair = ("dali", "synthetic")
    groups = [
        Group("core", "resnet18", "float16", True, everything),
        Group("core", "resnet50", "float16", False, pair),
        Group("core", "resnet50", "float16", True, everything),
        Group("core", "resnet18", "float16", False, pair),
    ]
    groups += [Group("models", m, "float16", c, pair) for c in (True, False) for m in MODELS[2:]]
    groups += [Group("float32", m, "float32", c, pair) for c in (True, False) for m in MODELS]
    cpu_and_gpu = ("torchvision-gpu", "torchvision")
    groups += [Group("models", m, "float16", True, cpu_and_gpu) for m in MODELS[2:]]
    return [group for group in groups if slice_ in ("all", group.slice)]


@dataclass
class Suite:
    """What has been measured so far, and the time there is."""

    device: str
    output: Path
    deadline: float
    records: list[Record] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    gpus: list[dict[str, Any]] = field(default_factory=list)
    dali_options: tuple[str, ...] = ()
    longest_s: float = 30.0

    def run(self, config: RunConfig) -> Iterator[Record]:
        """The rows of one model, which is compiled once; failures are kept and said."""
        name = config.models[0]
        try:
            workbench = Workbench(config, self.output, Said())
            bench = prepare_model(workbench, name)
            for loader in config.loaders:
                try:
                    record, _ = measure_prepared(workbench, bench, loader)
                except FastbenchError as error:
                    self._fail(f"{name} · {loader}: {error}")
                    continue
                write_record(record, self.output)
                self.records.append(record)
                say(f"{name} · {loader}: {record.throughput.images_per_s:,.0f} images/s")
                yield record
        except FastbenchError as error:
            self._fail(f"{name}: {error}")
        # A fault of fastbench's own costs its model's rows, not what is left of the GPU's time.
        except Exception as error:  # noqa: BLE001
            self.failed.append(f"{type(error).__name__}: {error}")
            traceback.print_exc()

    def _fail(self, text: str) -> None:
        self.failed.append(text)
        say(text)

    def measure(self, group: Group, data: Path, min_seconds: float) -> None:
        """One group, if the time is likely to suffice for it."""
        if time.monotonic() + self.longest_s > self.deadline:
            self.left_out.append(str(group))
            return
        start = time.monotonic()
        say(str(group))
        config = RunConfig(
            data=str(data),
            model=(group.model,),
            weights="none",
            loader=group.loaders,
            loader_option=self.dali_options if "dali" in group.loaders else (),
            reference="none",
            device=self.device,
            dtype=group.dtype,  # type: ignore[arg-type]
            compile=group.compiled,
            min_seconds=min_seconds,
        )
        for record in self.run(config):
            if record.tuning and not self.dali_options:
                # The search of the first row serves all: the images and the chip are the same.
                self.dali_options = tuple(
                    f"dali.{name}={record.loader_settings[name]}"
                    for name in ("hw_decoder_load", "num_threads")
                )
        # Half of the dearest group so far: compilation and the slow loaders differ a lot.
        self.longest_s = max(self.longest_s, (time.monotonic() - start) / 2)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="folder for the records")
    parser.add_argument("--scratch", type=Path, help="folder for the images (default: /tmp)")
    parser.add_argument("--num-images", type=int, default=20_000)
    parser.add_argument("--slice", choices=("all", *SLICES), default="all")
    parser.add_argument("--max-seconds", type=float, default=500)
    parser.add_argument("--min-seconds", type=float, default=4.0, help="of each timed window")
    parser.add_argument("--device", default="cuda:0", help="cpu rehearses it; its figures are none")
    arguments = parser.parse_args(argv)

    try:
        device = choose_device(arguments.device)
        gpus = machine.describe_gpus(device)
    except DeviceError as error:
        print(error)
        return 1
    began = time.monotonic()
    name = gpus[0]["name"].replace(" ", "-") if gpus else "cpu"
    output = arguments.output or Path(f"gpu-suite-{name}-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}")
    output.mkdir(parents=True, exist_ok=True)
    scratch = arguments.scratch or Path(tempfile.gettempdir()) / "fastbench-gpu-suite"

    suite = Suite(str(device), output, began + arguments.max_seconds, gpus=gpus)
    say(f"drawing {arguments.num_images:,} images in {scratch}")
    data = ensure_sample(arguments.num_images, root=scratch / f"val-{arguments.num_images}")
    small = ensure_sample(1000, root=scratch / "val-1000")
    say(f"drawn after {time.monotonic() - began:.0f} s")
    jpeg = engine_report(small, device) if gpus else {}

    if arguments.slice in ("all", "core"):
        for dtype in ("float16", "float32"):
            check = RunConfig(
                data=str(small),
                model=("sample",),
                loader=("dali", "torchvision-gpu"),
                dtype=dtype,
                device=suite.device,
                quick=True,
            )
            deque(suite.run(check), maxlen=0)
    write_summary(suite, jpeg, began)
    for group in plan(arguments.slice):
        suite.measure(group, data, arguments.min_seconds)
        write_summary(suite, jpeg, began)

    answers = answer(suite.records)
    print_run([Row(record=record) for record in suite.records], Console(width=120))
    for question, found in answers.items():
        value = "not measured" if found["value"] is None else f"{found['value']:.3f}"
        print(f"{question:<24} {value:<14} wanted: {found['wanted']}")
    for text in suite.left_out:
        print(f"left out, no time: {text}")
    for text in suite.failed:
        print(f"failed: {text}")
    print(f"{len(suite.records)} records in {output}, {time.monotonic() - began:.0f} s")
    return 0 if suite.records else 1


def write_summary(suite: Suite, jpeg: dict[str, Any], began: float) -> None:
    """What the suite found so far, as `suite.json`."""
    summary = {
        "benchmark": "gpu_suite",
        "command": " ".join(["python", *sys.argv]),
        "environment": machine.describe(suite.gpus),
        "jpeg": jpeg,
        "answers": answer(suite.records),
        "failed": suite.failed,
        "left_out": suite.left_out,
        "seconds": time.monotonic() - began,
    }
    write_text("The summary", suite.output / "suite.json", json.dumps(summary, indent=1) + "\n")


def engine_report(data: Path, device: torch.device) -> dict[str, Any]:
    """Which JPEG engines there are, and how busy DALI keeps them when it may use them alone."""
    found = jpeg_engines(device.index)
    if found is None:
        say("JPEG engines: nvJPEG could not be asked")
    else:
        say(f"JPEG engines: {found.num_engines} x {found.num_cores_per_engine} cores")
    rates = {}
    with Watch(device.index) as watch:
        watch.begin()
        try:
            for load in (1.0, 0.0):
                rates[load] = decode_rate(data, load, device)
        except Exception as error:  # noqa: BLE001 - the rows will meet it again, and say more
            say(f"{type(error).__name__}: {error}")
        watch.end(0)
        gpu = watch.read().gpu
    busiest = max(gpu.jpeg_utilization_pct, default=None) if gpu else None
    told = "the driver does not tell" if busiest is None else f"up to {busiest:g} % busy"
    speeds = ", ".join(f"load {load:g}: {rate:,.0f} images/s" for load, rate in rates.items())
    say(f"DALI on the JPEG engines: {told}; {speeds}")
    return {
        "num_engines": found.num_engines if found else None,
        "num_cores_per_engine": found.num_cores_per_engine if found else None,
        "busiest_pct": busiest,
        "images_per_s_by_load": rates,
    }


def decode_rate(data: Path, load: float, device: torch.device) -> float:
    """The dali loader alone for two seconds."""
    from fastbench.data.dataset import scan
    from fastbench.loaders.base import LoaderSpec
    from fastbench.loaders.registry import resolve
    from fastbench.measure.clock import make_clock
    from fastbench.measure.passes import sample_loader
    from fastbench.models.torchvision import load_model

    manifest = scan(data)
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=256,
        preprocess=load_model("sample").preprocess,
        device=str(device),
        dtype="float16",
        num_threads=num_cores(),
        largest=manifest.largest,
        options={"hw_decoder_load": load},
    )
    loader = resolve("dali")(spec)
    try:
        return sample_loader(loader, make_clock(device), 2.0)
    finally:
        loader.close()


def answer(records: list[Record]) -> dict[str, dict[str, Any]]:
    """The questions of the module's head, from the records alone."""

    def find(model: str, loader: str, dtype: str, compiled: bool) -> Record | None:
        for record in records:
            how = (record.model, record.loader, record.dtype, record.compile_mode is not None)
            if how == (model, loader, dtype, compiled):
                return record
        return None

    def rate(record: Record | None) -> float | None:
        return None if record is None else record.throughput.images_per_s

    def alone(record: Record | None) -> float | None:
        if record is None or record.model_ceiling is None:
            return None
        return record.model_ceiling.images_per_s

    def ratio(above: float | None, below: float | None) -> float | None:
        return None if above is None or below is None else above / below

    answers = {}
    for model in ("resnet18", "resnet50"):
        row = find(model, "dali", "float16", True)
        answers[f"overlap {model}"] = (row.overlap_efficiency if row else None, 0.95)
    answers["loader dali/torchvision"] = (
        ratio(
            rate(find("resnet18", "dali", "float16", True)),
            rate(find("resnet18", "torchvision", "float16", True)),
        ),
        3.0,
    )
    answers["compile resnet50"] = (
        ratio(
            alone(find("resnet50", "dali", "float16", True)),
            alone(find("resnet50", "dali", "float16", False)),
        ),
        1.4,
    )
    for dtype in ("float32", "float16"):
        row = find("sample", "dali", dtype, False)
        agreement = row.parity.agreement if row and row.parity else None
        answers[f"agreement {dtype}"] = (agreement, 0.995)
    return {name: {"value": value, "wanted": wanted} for name, (value, wanted) in answers.items()}


class Said:
    """A `core.progress.Progress` of lines with the time."""

    def say(self, text: str) -> None:
        say(text)

    note = say

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        return lambda *_: None


def say(text: str) -> None:
    print(f"[{datetime.now(UTC):%H:%M:%S}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
