"""What a dry run finds, all at once and without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fastbench.core.config import RunConfig
from fastbench.core.errors import DeviceError, WeightsError
from fastbench.engines import registry as engines
from fastbench.loaders import registry
from fastbench.loaders.registry import Listed
from fastbench.models import catalogue
from fastbench.models.catalogue import Named
from fastbench.runner import auto_values, check_plan
from fastbench.runner.plan import Plan
from fastbench.runner.planned_rows import expand


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "named", lambda: [Named(name="resnet18"), Named(name="vgg16")])
    monkeypatch.setattr(check_plan, "num_usable", lambda: 1)
    monkeypatch.setattr(auto_values, "num_usable", lambda: 1)
    monkeypatch.setattr(
        registry,
        "glance",
        lambda name: Listed(
            name=name, summary="", why_not="it is not installed" if name == "opencv" else None
        ),
    )


def plan_of(**options: Any) -> Plan:
    return Plan(options=options, rows=expand(options), output=None, finished={}, resumed=False)


def test_all_is_found_at_once(tmp_path: Path) -> None:
    plan = plan_of(
        model=("resnet19", "nets/a.pt2"),
        weights=("resnet19=gone.pth",),
        data=str(tmp_path / "gone"),
        loader=("opencv", "dali"),
        device="cuda:1",
    )
    found = check_plan.problems(plan)
    said = "\n".join(map(str, found))
    for text in (
        "There is no model 'resnet19'. Did you mean 'resnet18'?",
        f"There is no model file nets{os.sep}a.pt2.",
        "There is no file gone.pth with the weights of resnet19.",
        "There is nothing at",
        "The loader 'opencv' cannot run here: it is not installed.",
        "There is no CUDA device for --device cuda:1: NVIDIA's driver shows 1.",
    ):
        assert text in said
    assert len(found) == 6  # each once, of four rows
    assert check_plan.exit_code(found) == 2


def test_exit_codes() -> None:
    assert check_plan.exit_code([]) == 0
    assert check_plan.exit_code([WeightsError("x"), DeviceError("y")]) == 1


def test_nothing_is_wrong_with_what_can_be_run() -> None:
    assert check_plan.problems(plan_of(model=("resnet18", "sample"), device="cuda")) == []
    # A loader that was not asked for by name is left out, and the run goes on.
    assert check_plan.problems(plan_of(loader=("all",))) == []


def test_auto_is_what_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu = auto_values.resolved(RunConfig())
    assert (on_gpu.dtype, on_gpu.batch_size) == ("float16", 256)
    on_cpu = auto_values.resolved(RunConfig(device="cpu", batch_size=7))
    assert (on_cpu.dtype, on_cpu.batch_size) == ("float32", 7)
    monkeypatch.setattr(auto_values, "num_usable", lambda: 0)
    assert auto_values.resolved(RunConfig()).dtype == "float32"
    assert auto_values.resolved(RunConfig(dtype="bfloat16")).dtype == "bfloat16"


def test_more_windows_rows_and_repeats_take_longer() -> None:
    few = check_plan.estimate_s(plan_of(windows=3))
    assert check_plan.estimate_s(plan_of(windows=30)) > few + 2 * 27 * 5
    assert check_plan.estimate_s(plan_of(windows=3, repeat=2)) > 1.5 * few
    assert check_plan.estimate_s(plan_of(quick=True)) < few


def test_an_engine_and_images_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, modules: Sequence[str]) -> str | None:
        return "it is not installed" if name == "openvino" and modules else None

    monkeypatch.setattr(engines, "missing", missing)
    plan = plan_of(
        engine=("eager", "openvino", "onnxruntime"),
        quantize=("none", "int8"),
        calibration="gone",
        device="cpu",
    )
    assert sorted(map(str, check_plan.problems(plan))) == [
        "The engine 'openvino' cannot run here: it is not installed.",
        "There is nothing at --calibration gone. Give a folder of images, or how many of the data "
        "to set aside.",
    ]
    for calibration in ("20", "auto", None):
        assert check_plan.problems(plan_of(engine=("eager",), calibration=calibration)) == []
