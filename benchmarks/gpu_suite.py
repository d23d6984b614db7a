"""What does this GPU do? The first hour on a GPU machine, in slices; no network is needed.

    uv run python benchmarks/gpu_suite.py --output DIR --slice NAME [--max-seconds S]

The slices in their order: what invalidates the others comes first. Each is one command. It ends
itself after `--max-seconds`; given again, it goes on with what is not finished.

    tests     the GPU tests, races and parity first
    engines   the chip's JPEG engines: the rate by the share of a batch that they decode, how busy
              they are, and whether two epochs at half a share have the same pixels
    settings  the search for DALI's settings, which all later rows use
    loaders   loaders alone and with resnet18, and the predictions against the reference's
    options   DALI's other options, each in turn with its default (`--ab`)
    matrix    more models, compiled and eager, float16 and float32
    load      the highest rate that holds 15 ms at p99, behind DALI and the CPU's threads; where
              LoadGen is installed
    page      the answers (`answers.json`) and all rows (`report.html`), from what is there

Images like ImageNet's are drawn into fastbench's cache, or taken from `--data`. Weights are random
but for the `sample` model's: they change nothing about time. `--device cpu` rehearses the slices at
a small size, and its figures are none. Exit code: 1 if a command failed or was cut off.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fastbench.core.atomic_files import json_or_none, write_text
from fastbench.core.config import RunConfig
from fastbench.core.device import choose_device
from fastbench.core.errors import FastbenchError
from fastbench.core.nvidia import jpeg_engines
from fastbench.loaders.registry import resolve
from fastbench.measure import machine
from fastbench.measure.clock import make_clock
from fastbench.measure.passes import sample_loader
from fastbench.measure.telemetry import Watch
from fastbench.report.read import read_rows
from fastbench.runner.open_loader import open_loader
from fastbench.runner.prepare import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastbench.loaders.base import LoaderSpec
    from fastbench.records.record import Record

SLICES = ("tests", "engines", "settings", "loaders", "options", "matrix", "load", "page")
FIRST_TESTS = "busy or slow or parity or contract or synchron"
OPTIONS = (
    "fancy_upsampling=false",
    "hybrid_huffman_threshold=100000",
    "resize_minibatch_size=256",
)
"""DALI's options that are compared with their defaults, in turn (`--ab`)."""
OF_A_PROCESS = {
    "side-stream": (["--cuda-stream", "side"], {}),
    "blocking-waits": (["--cuda-wait", "block"], {}),
    "four-decoder-streams": ([], {"NVIMGCODEC_DEFAULT_NUM_CUDA_STREAMS": "4"}),
}
"""What holds for a whole process, as options and as variables: each is a row of its own."""


@dataclass(frozen=True)
class Size:
    """What is run. `models` begins with the two of which the questions are."""

    models: tuple[str, ...]
    loaders: tuple[str, ...]
    dtypes: tuple[str, ...]
    batch_size: int
    num_images: int
    min_seconds: float


ON_GPU = Size(
    models=(
        "resnet18",
        "resnet50",
        "vit_b_16",
        "vgg16",
        "alexnet",
        "googlenet",
        "mobilenet_v3_large",
    ),
    loaders=("dali", "torchvision-gpu", "torchvision", "torchvision-tensor", "synthetic"),
    dtypes=("float16", "float32"),
    batch_size=256,
    num_images=80 * 256,  # whole batches: DALI decodes a partial one as if it were whole
    min_seconds=4.0,
)
REHEARSED = Size(
    models=("squeezenet1_1", "shufflenet_v2_x0_5"),
    loaders=("dali", "torchvision-tensor", "synthetic"),
    dtypes=("float32",),
    batch_size=16,
    num_images=64,
    min_seconds=0.2,
)


@dataclass
class Suite:
    """The folder of a suite, and the time there is."""

    output: Path
    device: str
    data: str
    size: Size
    deadline: float
    gpus: list[dict[str, Any]]
    is_sound: bool = True

    @property
    def rows(self) -> Path:
        """The records of all `fastbench run`s: one folder, so that they share settings."""
        return self.output / "rows"

    def run(self, *argv: str, **variables: str) -> None:
        """A command in the time that is left, and its outcome in `commands.json`."""
        say(shlex.join(argv))
        start = time.monotonic()
        cut_off = False
        command = [sys.executable, "-m", *argv]
        with subprocess.Popen(command, env=os.environ | variables) as process:
            try:
                code = process.wait(max(1.0, self.deadline - start))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # what is measured is kept
                code, cut_off = process.wait(), True
        outcomes = self.outcomes()
        outcomes[shlex.join(argv)] = {
            "device": self.device,
            "exit_code": code,
            "cut_off": cut_off,
            "seconds": time.monotonic() - start,
        }
        write_json(self.output / "commands.json", outcomes)
        self.is_sound &= code == 0 and not cut_off

    def outcomes(self) -> dict[str, dict[str, Any]]:
        """The outcome of each command so far, its last one."""
        return json_or_none(self.output / "commands.json") or {}

    def has_passed(self, *argv: str) -> bool:
        """Whether the command ended well on this device: that of a rehearsal says nothing."""
        outcome = self.outcomes().get(shlex.join(argv), {})
        return outcome.get("exit_code") == 0 and outcome.get("device") == self.device

    def run_rows(self, models: Iterable[str], loaders: Iterable[str], *argv: str) -> None:
        """Rows of `fastbench run`, those that are not finished."""
        self.run(
            *("fastbench", "run", "--resume", str(self.rows), *self.common()),
            *("--reference", "none", "--min-seconds", str(self.size.min_seconds)),
            *named("--model", models),
            *named("--loader", loaders),
            *argv,
        )

    def common(self) -> list[str]:
        """The options of all that is measured of drawn images and random weights."""
        return [
            *("--data", self.data, "--limit", str(self.size.num_images), "--weights", "none"),
            *("--device", self.device, "--batch-size", str(self.size.batch_size)),
        ]

    def compiled(self) -> list[str]:
        """The options of the rows of which the questions are."""
        return ["--dtype", self.size.dtypes[0], "--compile"]

    def records(self) -> list[Record]:
        """All rows so far, the newest last."""
        found = read_rows([self.rows]) if self.rows.is_dir() else None
        return [row.record for row in found.rows] if found else []


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the suite")
    parser.add_argument("--slice", choices=("all", *SLICES), default="all")
    parser.add_argument("--max-seconds", type=float, default=540)
    parser.add_argument("--data", default="sample", help="a folder of JPEGs")
    parser.add_argument("--device", default="cuda:0", help="cpu rehearses it")
    given = parser.parse_args(argv)
    # A script's `&` has it ignored, by the commands too, which then could not be cut off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        gpus = machine.describe_gpus(choose_device(given.device))
    except FastbenchError as error:
        print(error)
        return 1
    size = REHEARSED if given.device == "cpu" else ON_GPU
    deadline = time.monotonic() + given.max_seconds
    suite = Suite(given.output, given.device, given.data, size, deadline, gpus)
    suite.output.mkdir(parents=True, exist_ok=True)
    for name in SLICES if given.slice == "all" else [given.slice]:
        globals()[f"slice_{name}"](suite)
    return 0 if suite.is_sound else 1


def slice_tests(suite: Suite) -> None:
    """Each part by itself, if it has not passed: a crash loses that one."""
    folder = Path(__file__).parents[1] / "tests/gpu"
    for file, names in (
        ("test_gpu_loaders.py", FIRST_TESTS),
        ("test_gpu_loaders.py", f"not ({FIRST_TESTS})"),
        ("test_gpu_run.py", "not compile"),
        ("test_gpu_run.py", "compile"),  # max-autotune is slow
    ):
        part = ("pytest", str(folder / file), "-k", names)
        if not suite.has_passed(*part):
            suite.run(*part)


def slice_engines(suite: Suite) -> None:
    """What the JPEG engines give to the loader `dali`."""
    config = RunConfig(
        data=suite.data,
        limit=suite.size.num_images,
        model=("sample",),
        loader=("dali",),
        device=suite.device,
        batch_size=suite.size.batch_size,
        reference="none",
    )
    workbench = Workbench(config, suite.output, Said())
    model, _ = workbench.load("sample")
    spec = workbench.spec(model, "dali")
    found = jpeg_engines(workbench.device.index or 0) if spec.on_gpu else None
    rates: dict[str, float] = {}
    with Watch(workbench.device.index) as watch:
        watch.begin()
        for load in (1.0, 0.5, 0.0) if spec.on_gpu else (None,):
            options = {} if load is None else {"hw_decoder_load": load}
            with open_loader("dali", resolve("dali"), spec.with_settings(options)) as loader:
                rates[str(load)] = sample_loader(loader, make_clock(workbench.device), 2.0)
            say(f"share of the engines {load}: {rates[str(load)]:,.0f} images/s")
        watch.end(0)
        gpu = watch.read().gpu
    half = spec.with_settings({"hw_decoder_load": 0.5} if spec.on_gpu else {})
    told = {
        "num_engines": found.num_engines if found else None,
        "num_cores_per_engine": found.num_cores_per_engine if found else None,
        "busiest_pct": max(gpu.jpeg_utilization_pct, default=None) if gpu else None,
        "images_per_s_by_share": rates,
        "two_epochs_at_half_are_equal": epochs_are_equal(half),
    }
    write_json(suite.output / "engines.json", told)


def epochs_are_equal(spec: LoaderSpec) -> bool:
    """Whether two epochs of `dali` have the same pixels, batch by batch."""
    with open_loader("dali", resolve("dali"), spec) as loader:
        first = [batch.images_NCHW.clone() for batch in loader]
        return all(
            torch.equal(a, batch.images_NCHW) for a, batch in zip(first, loader, strict=True)
        )


def slice_settings(suite: Suite) -> None:
    """One row; the search's result is kept in the folder of the rows."""
    suite.run_rows(suite.size.models[:1], ["dali"], *suite.compiled())


def slice_loaders(suite: Suite) -> None:
    """Loaders with the first model; and what the sample model predicts."""
    size = suite.size
    suite.run_rows(size.models[:1], size.loaders, *suite.compiled())
    suite.run(
        *("fastbench", "run", "--resume", str(suite.rows), "--model", "sample"),
        *("--device", suite.device, "--passes", "end-to-end", "--min-seconds", "1"),
        *named("--loader", [name for name in size.loaders if name != "synthetic"]),
        *named("--dtype", size.dtypes),
    )


def slice_options(suite: Suite) -> None:
    """With the settings that were found: `--ab` does not search."""
    settings = best_settings(suite.records()).items()
    on_gpu = suite.device != "cpu"
    asked: list[tuple[str, list[str], dict[str, str]]] = [
        (option.partition("=")[0], ["--ab", f"loader_option=dali.{option}", "--quick"], {})
        for option in (OPTIONS if on_gpu else ("prefetch=3",))
    ]
    plain = ["--reference", "none", "--min-seconds", str(suite.size.min_seconds)]
    asked += [
        (name, [*options, *plain], variables)
        for name, (options, variables) in OF_A_PROCESS.items()
        if on_gpu or not options
    ]
    for name, options, variables in asked:
        folder = suite.output / "options" / name
        if folder.is_dir() and any(folder.glob("*.json")):
            continue
        suite.run(
            *("fastbench", "run", *suite.common(), "--output", str(folder)),
            *("--model", suite.size.models[0], "--loader", "dali"),
            *suite.compiled(),
            *named("--loader-option", [f"dali.{key}={value}" for key, value in settings]),
            *options,
            **variables,
        )


def slice_matrix(suite: Suite) -> None:
    """The models of the questions first."""
    size = suite.size
    for dtype in size.dtypes:
        for models in (size.models[:2], size.models[2:]):
            if models:
                how = ("--dtype", dtype, "--compile", "--no-compile")
                suite.run_rows(models, ["dali", "synthetic"], *how)


def slice_load(suite: Suite) -> None:
    """Under load, in short runs: what the batcher does with requests on this device."""
    if importlib.util.find_spec("mlperf_loadgen") is None:
        say("LoadGen is not installed, so nothing is run under load.")
        return
    for loader in ("dali", "torchvision-tensor"):
        folder = suite.output / "load" / loader
        if not folder.is_dir() or not any(folder.glob("*.json")):
            suite.run(
                *("fastbench", "loadtest", *suite.common(), "--output", str(folder)),
                *("--model", suite.size.models[1], "--loader", loader, "--reference", "none"),
                *named("--scenario", ("single-stream", "offline", "server")),
                *suite.compiled(),
                "--quick",
            )


def slice_page(suite: Suite) -> None:
    """The answers, and a page of all rows."""
    records = suite.records()
    answers = {
        "answers": answer(records, suite.size),
        "settings": best_settings(records),
        "engines": json_or_none(suite.output / "engines.json"),
        "options": compared(suite, records),
        "commands": suite.outcomes(),
        "environment": machine.describe(suite.gpus),
    }
    write_json(suite.output / "answers.json", answers)
    for question, found in answers["answers"].items():
        value = "not measured" if found["value"] is None else f"{found['value']:.3f}"
        print(f"{question:<44} {value:<14} wanted: {found['wanted']}")
    print(*answers["options"], sep="\n")
    page = str(suite.output / "report.html")
    suite.run("fastbench", "report", str(suite.rows), "--html", page)


def compared(suite: Suite, records: Sequence[Record]) -> list[str]:
    """What the slice `options` found, in sentences."""
    found = read_rows([suite.output / "options"])
    same = (suite.size.models[0], "dali", suite.size.dtypes[0])
    rates = [
        record.throughput.images_per_s
        for record in records
        if (record.model, record.loader, record.dtype) == same and record.compile_mode
    ]
    base = f"{rates[-1]:,.0f}" if rates else "not measured"
    return found.comparisons + [
        f"{row.path.parent.name}: {row.record.throughput.images_per_s:,.0f} images/s, "
        f"{base} without."
        for row in found.rows
        if row.path
    ]


def answer(records: Sequence[Record], size: Size) -> dict[str, dict[str, Any]]:
    """The questions, from the records alone; where a row was run twice, the later one counts."""
    dtype = size.dtypes[0]
    first, second = size.models[:2]

    def find(model: str, loader: str, compiled: bool, dtype: str = dtype) -> Record | None:
        wanted = (model, loader, dtype, compiled)
        rows = [
            record
            for record in records
            if (record.model, record.loader, record.dtype, record.compile_mode is not None)
            == wanted
        ]
        return rows[-1] if rows else None

    def rate(record: Record | None) -> float | None:
        return record.throughput.images_per_s if record else None

    def alone(record: Record | None) -> float | None:
        return record.model_ceiling.images_per_s if record and record.model_ceiling else None

    def ratio(above: float | None, below: float | None) -> float | None:
        return above / below if above and below else None

    answers: dict[str, tuple[float | None, float]] = {}
    for model in (first, second):
        row = find(model, "dali", compiled=True)
        answers[f"end to end over the lower ceiling, {model}"] = (
            row.overlap_efficiency if row else None,
            0.95,
        )
    answers[f"dali over torchvision, {first}"] = (
        ratio(rate(find(first, "dali", True)), rate(find(first, "torchvision", True))),
        3.0,
    )
    answers[f"compiled over eager, {second}"] = (
        ratio(alone(find(second, "dali", True)), alone(find(second, "dali", False))),
        1.4,
    )
    for dtype in size.dtypes:
        row = find("sample", "dali", False, dtype)
        answers[f"agreement, {dtype}"] = (
            row.parity.agreement if row and row.parity else None,
            0.995,
        )
    return {name: {"value": value, "wanted": wanted} for name, (value, wanted) in answers.items()}


def best_settings(records: Sequence[Record]) -> dict[str, Any]:
    """What the last search found; nothing without one."""
    trials = [record.tuning for record in records if record.tuning]
    return max(trials[-1], key=lambda x: x.images_per_s or 0).settings if trials else {}


def named(flag: str, values: Iterable[object]) -> list[str]:
    return [word for value in values for word in (flag, str(value))]


def write_json(path: Path, content: object) -> None:
    write_text(path.name, path, json.dumps(content, indent=1) + "\n")


class Said:
    """A `core.progress.Progress` of lines with the time."""

    def say(self, text: str) -> None:
        say(text)

    note = say

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        return lambda *_: None


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
