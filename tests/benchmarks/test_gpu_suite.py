"""The GPU suite says in one line that there is no GPU; its plan and its answers hold."""

import importlib.util
import sys
from types import ModuleType

import msgspec
import pytest
import torch
from builders.paths import REPOSITORY
from builders.records import make

from fastbench.measure.agreement import compare_predictions
from fastbench.records.record import Record
from fastbench.records.speed import Ceiling, Compilation, Throughput


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
def test_without_a_gpu_it_says_so(suite: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert suite.main([]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("There is no CUDA device for --device cuda:0: torch ")


def test_the_plan_covers_the_product_once(suite: ModuleType) -> None:
    rows = [
        (group.model, loader, group.dtype, group.compiled)
        for group in suite.plan("all")
        for loader in group.loaders
    ]
    assert len(rows) == len(set(rows))
    for model in suite.MODELS:
        for dtype in ("float16", "float32"):
            for compiled in (True, False):
                assert (model, "dali", dtype, compiled) in rows
    slices = [group for name in suite.SLICES for group in suite.plan(name)]
    assert sorted(map(str, slices)) == sorted(map(str, suite.plan("all")))


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
            row("resnet18", "dali", 7_800),
            row("resnet18", "torchvision", 1_950),
            row("resnet50", "dali", 7_200),
            row("resnet50", "dali", 4_000, compile_mode=None, model_ceiling=slow),
            row("sample", "dali", 100, compile_mode=None, parity=parity),
        ]
    )
    found = {name: answer["value"] for name, answer in answers.items()}
    assert found == {
        "overlap resnet18": pytest.approx(0.975 * 1024 / 1000),
        "overlap resnet50": pytest.approx(0.9 * 1024 / 1000),
        "loader dali/torchvision": pytest.approx(4.0),
        "compile resnet50": pytest.approx(1.6),
        "agreement float32": None,
        "agreement float16": pytest.approx(0.995),
    }
