"""The GPU suite says in one line that there is no GPU; its plan and its answers hold."""

import importlib.util
import json
import math
import shlex
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
import torch
from builders.paths import REPOSITORY
from builders.records import make

from fastbench.cli.main import make_parser
from fastbench.cli.parser import given_options
from fastbench.core.config import RunConfig
from fastbench.core.load_options import LoadOptions
from fastbench.measure.agreement import compare_predictions
from fastbench.records.record import Record
from fastbench.records.speed import Ceiling, Compilation, Throughput, Trial
from fastbench.records.store import write_record
from fastbench.runner.planned_rows import expand
from fastbench.scenarios.plan import plan


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    path = REPOSITORY / "benchmarks/gpu_suite.py"
    spec = importlib.util.spec_from_file_location("gpu_suite", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_suite"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="this one is for machines without a GPU")
def test_without_a_gpu_it_says_so(
    suite: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite.main(["--output", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("There is no CUDA device for --device cuda:0: ")


class Noted:
    """A suite whose commands are noted in place of run."""

    def __init__(self, suite: ModuleType, folder: Path) -> None:
        self.commands: list[list[str]] = []
        self.suite = suite.Suite(folder, "cuda:0", "sample", suite.ON_GPU, math.inf, [])
        self.suite.run = lambda *argv, **_: self.commands.append(list(argv))


def test_the_commands_are_ones_that_fastbench_takes(suite: ModuleType, tmp_path: Path) -> None:
    noted = Noted(suite, tmp_path)
    for name in ("settings", "loaders", "options", "matrix", "load", "page"):
        getattr(suite, f"slice_{name}")(noted.suite)
    rows = loads = 0
    for program, command, *argv in noted.commands:
        assert program == "fastbench"
        arguments = make_parser().parse_args([command, *argv])
        if command == "run":
            given = given_options(RunConfig, arguments)
            rows += 0 if given.get("ab") else len(expand(given))
        if command == "loadtest":
            loads += len(
                plan(
                    {**given_options(RunConfig, arguments), **given_options(LoadOptions, arguments)}
                )
            )
    assert loads == 2 * 3
    assert rows == 1 + 5 + 2 * 4 + len(suite.OF_A_PROCESS) + 7 * 2 * 2 * 2
    compared = [word for words in noted.commands for word in words if "loader_option=" in word]
    assert compared == [f"loader_option=dali.{option}" for option in suite.OPTIONS]


def test_options_are_compared_with_the_settings_that_were_found(
    suite: ModuleType, tmp_path: Path
) -> None:
    trials = [
        Trial(settings={"hw_decoder_load": load, "num_threads": 8}, images_per_s=rate)
        for load, rate in ((0.0, 900.0), (0.35, 1200.0), (1.0, None))
    ]
    noted = Noted(suite, tmp_path)
    noted.suite.rows.mkdir()
    write_record(make(tuning=trials), noted.suite.rows)
    suite.slice_options(noted.suite)
    for words in noted.commands:
        assert {"dali.hw_decoder_load=0.35", "dali.num_threads=8"} <= {*words}


def test_a_command_that_takes_too_long_is_interrupted(suite: ModuleType, tmp_path: Path) -> None:
    made = suite.Suite(tmp_path, "cpu", "sample", suite.REHEARSED, time.monotonic(), [])
    made.run("http.server", "0")  # which waits until it is interrupted
    assert not made.is_sound
    (outcome,) = json.loads((tmp_path / "commands.json").read_text()).values()
    assert outcome["cut_off"]


def test_started_in_the_background_it_still_interrupts(
    suite: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's shell has what it starts with `&` ignore SIGINT."""
    monkeypatch.setattr(suite, "slice_page", lambda made: made.run("http.server", "0"))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        argv = ["--output", str(tmp_path), "--device", "cpu", "--slice", "page"]
        assert suite.main([*argv, "--max-seconds", "0"]) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    (outcome,) = json.loads((tmp_path / "commands.json").read_text()).values()
    assert outcome["cut_off"]


def test_tests_that_passed_on_this_device_are_not_run_again(
    suite: ModuleType, tmp_path: Path
) -> None:
    noted = Noted(suite, tmp_path)
    suite.slice_tests(noted.suite)
    parts = noted.commands.copy()
    passed = {"device": "cuda:0", "exit_code": 0}
    outcomes = (passed, passed | {"exit_code": 1}, passed | {"device": "cpu"})
    known = {shlex.join(part): outcome for part, outcome in zip(parts, outcomes, strict=False)}
    (tmp_path / "commands.json").write_text(json.dumps(known))
    noted.commands.clear()
    suite.slice_tests(noted.suite)
    assert noted.commands == parts[1:]


def row(model: str, loader: str, rate: float, **changes: object) -> Record:
    record = make(
        model=model,
        loader=loader,
        dtype="float16",
        compile_mode="default",
        compilation=Compilation(num_graphs=1, num_graph_breaks=0, num_recompiles=0),
        throughput=Throughput(
            num_images=1000, num_epochs=1, batch_size=32, wall_s=1000 / rate, step_times_s=[1.0]
        ),
        loader_ceiling=Ceiling(num_images=10_000, wall_s=1.0),
        model_ceiling=Ceiling(num_images=8_000, wall_s=1.0),
    )
    return msgspec.structs.replace(record, **changes)


def test_the_answers(suite: ModuleType) -> None:
    parity = compare_predictions(
        [1] * 200, [1] * 199 + [2], None, reference="torchvision", is_reference=False
    )
    slow = Ceiling(num_images=5_000, wall_s=1.0)
    answers = suite.answer(
        [
            row("resnet18", "dali", 1_000),  # an earlier try
            row("resnet18", "dali", 7_800),
            row("resnet18", "torchvision", 1_950),
            row("resnet50", "dali", 7_200),
            row("resnet50", "dali", 4_000, compile_mode=None, model_ceiling=slow),
            row("sample", "dali", 100, compile_mode=None, parity=parity),
        ],
        suite.ON_GPU,
    )
    found = {name: answer["value"] for name, answer in answers.items()}
    assert found == {
        "end to end over the lower ceiling, resnet18": pytest.approx(0.975 * 1024 / 1000),
        "end to end over the lower ceiling, resnet50": pytest.approx(0.9 * 1024 / 1000),
        "dali over torchvision, resnet18": pytest.approx(4.0),
        "compiled over eager, resnet50": pytest.approx(1.6),
        "agreement, float32": None,
        "agreement, float16": pytest.approx(0.995),
    }


def test_a_row_without_its_base_says_so(suite: ModuleType, tmp_path: Path) -> None:
    made = suite.Suite(tmp_path, "cuda:0", "sample", suite.ON_GPU, math.inf, [])
    folder = tmp_path / "options/side-stream"
    folder.mkdir(parents=True)
    write_record(row("resnet18", "dali", 7_800), folder)
    (alone,) = suite.compared(made, [])
    (beside,) = suite.compared(made, [row("resnet18", "dali", 7_500)])
    assert alone == "side-stream: 7,800 images/s, not measured without."
    assert beside == "side-stream: 7,800 images/s, 7,500 without."
