"""Engines that are not here, and mixes that cannot be: left out of a sweep, refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders.command_line import main_here, sentence
from builders.not_installed import hide

from fastbench.cli.parser import Parser, add_options, given_options
from fastbench.core.command_options import PlanOptions
from fastbench.core.config import SWEPT, RunConfig
from fastbench.core.errors import EngineMissingError, UsageError
from fastbench.models import catalogue
from fastbench.models.catalogue import Named
from fastbench.runner import auto_values, check_plan, prepare
from fastbench.runner.plan import Plan, make_plan
from fastbench.runner.possible_rows import refuse_impossible

Row = tuple[str, str, str]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is installed, and there is no GPU."""
    hide(monkeypatch)
    monkeypatch.setattr(auto_values, "num_usable", lambda: 0)
    monkeypatch.setattr(catalogue, "named", lambda: [Named(name="resnet18")])


def uncounted(*_: str) -> Callable[[int, int], None]:
    return lambda *_: None


def plan_of(*argv: str, **how: Any) -> Plan:
    parser = Parser(prog="fastbench run")
    add_options(parser, RunConfig, several=(*SWEPT, "weights"))
    given = given_options(RunConfig, parser.parse_args(["--loader", "dali", *argv]))
    return make_plan(given, PlanOptions(**how), uncounted)


def rows_of(plan: Plan) -> list[Row]:
    return [(x.config.engine_name, x.config.dtype, x.config.quantize) for x in plan.rows]


def swept(**values: str) -> list[str]:
    return [word for name, texts in values.items() for x in texts.split() for word in
            (f"--{name}", x)]  # fmt: skip


def test_a_preset_leaves_out_what_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime", "nncf", "torch_tensorrt")
    plan = plan_of(preset="engines")
    assert [engine for engine, _, _ in rows_of(plan)] == ["eager", "compile", "aot", "openvino"]
    assert all(row.only_if_engine for row in plan.rows)
    assert plan.notes == (
        "1 row is left out. The engine 'onnxruntime' cannot run here: onnxruntime is not "
        'installed; pip install "fastbench[onnxruntime]".',
        "1 row is left out. The engine tensorrt does not run on the CPU: it is for a GPU. Use "
        "--device cuda, or another --engine.",
    )
    quantized = plan_of(preset="quantization")
    assert rows_of(quantized) == [
        ("eager", "float32", "none"),
        ("compile", "float32", "none"),
        ("compile", "float32", "int8"),
        ("openvino", "float32", "none"),
    ]
    assert any("cannot quantise here: nncf is not installed" in note for note in quantized.notes)


def test_an_engine_that_is_named_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime")
    plan = plan_of(*swept(engine="eager onnxruntime"), preset="engines")
    assert [engine for engine, _, _ in rows_of(plan)] == ["eager", "onnxruntime"]
    assert not any(row.only_if_engine for row in plan.rows)
    (found,) = check_plan.problems(plan)
    assert isinstance(found, EngineMissingError)
    refuse_impossible(plan.todo)  # the other rows are measured
    assert "The engine 'onnxruntime' cannot run here" in str(found)


def test_in_a_sweep_mixes_that_cannot_be_are_left_out() -> None:
    plan = plan_of(*swept(engine="eager onnxruntime", dtype="bfloat16 float32"))
    assert sorted(rows_of(plan)) == [
        ("eager", "bfloat16", "none"),
        ("eager", "float32", "none"),
        ("onnxruntime", "float32", "none"),
    ]
    assert plan.notes == (
        "1 row is left out. The engine onnxruntime does not compute in bfloat16 on cpu. "
        "Use --dtype float32, or another --engine.",
    )
    plan = plan_of(*swept(engine="compile openvino", dtype="bfloat16 float32", quantize="int8"))
    assert ("compile", "bfloat16", "int8") not in rows_of(plan)
    assert len(plan.rows) == 3


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (swept(engine="eager onnxruntime", dtype="bfloat16"), "onnxruntime does not compute in"),
        (swept(engine="onnxruntime", dtype="bfloat16 float32"), "onnxruntime does not compute in"),
        (swept(engine="eager aot", quantize="int8"), "The engine eager does not quantise to int8"),
        (
            swept(quantize="int8"),
            "The engine eager does not quantise to int8. Use --engine compile",
        ),
        (["--compile", "--quantize", "fp8"], "compile does not quantise to fp8 on cpu"),
    ],
)
def test_a_value_that_is_in_no_other_row_is_an_error(argv: list[str], said: str) -> None:
    plan = plan_of(*argv)
    assert said in "\n".join(map(str, check_plan.problems(plan)))
    with pytest.raises(UsageError, match=said):
        refuse_impossible(plan.todo)


def test_the_order_of_the_values_does_not_matter() -> None:
    rows = rows_of(plan_of(*swept(engine="eager compile", quantize="int8 none")))
    assert sorted(rows) == [
        ("compile", "auto", "int8"),
        ("compile", "auto", "none"),
        ("eager", "auto", "none"),
    ]


def test_files_that_not_every_engine_runs(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"")
    plan = plan_of(*swept(engine="eager openvino"), "--model", "resnet18", "--model", str(file))
    assert [(row.model, row.config.engine) for row in plan.rows] == [
        ("resnet18", "eager"), ("resnet18", "openvino"), (str(file), "openvino"),
    ]  # fmt: skip
    (found,) = check_plan.problems(plan_of("--engine", "eager", "--model", str(file)))
    assert "net.onnx is a file of ONNX, which the engine eager does not run" in str(found)


def test_a_dry_run_looks_at_calibration_and_reference_model(tmp_path: Path) -> None:
    plan = plan_of(
        *swept(engine="openvino", quantize="int8"), "--calibration", str(tmp_path / "gone"),
        "--reference-model", "resnet19",
    )  # fmt: skip
    said = "\n".join(map(str, check_plan.problems(plan)))
    assert f"There is nothing at --calibration {tmp_path / 'gone'}." in said
    assert "There is no model 'resnet19'. Did you mean 'resnet18'?" in said


def test_options_are_for_engines_that_are_run() -> None:
    options = ("--engine-option", "openvino.hint=throughput")
    with pytest.raises(UsageError, match=r"'openvino', which is not run\. Run: eager\."):
        plan_of(*options)
    with pytest.raises(UsageError, match=r"no engine 'opnvino'\. Did you mean 'openvino'"):
        plan_of("--engine-option", "opnvino.hint=throughput")
    rows = plan_of(*options, *swept(engine="eager openvino")).rows
    assert {row.config.engine: row.config.engine_option for row in rows} == {
        "eager": (),
        "openvino": ("openvino.hint=throughput",),
    }


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--engine", "onnxruntime"), "The engine 'onnxruntime' cannot run here: onnxruntime is"),
        (("--engine", "openvino", "--quantize", "int8"), "'openvino' cannot quantise here: nncf"),
        (("--engine", "openvino", "--calibration", "gone", "--quantize", "int8"),
         "'openvino' cannot quantise here: nncf is"),
        (("--engine", "compile", "--calibration", "gone", "--quantize", "int8"),
         "There is nothing at --calibration gone."),
        (("--engine", "aot", "--quantize", "int8"), "aot does not quantise to int8"),
        (("--engine", "openvino", "--reference-model", "no-such.pt2"), "no-such.pt2"),
    ],
)  # fmt: skip
def test_a_real_run_fails_before_the_data_is_read(
    argv: tuple[str, ...],
    said: str,
    small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hide(monkeypatch, "onnxruntime", "nncf")
    monkeypatch.setattr(prepare, "_find_images", lambda *_: pytest.fail("the data were read"))
    code = main_here(
        ["run", "--data", str(small), "--model", "sample", "--device", "cpu", "--quick",
         "--loader", "torchvision-tensor", "--reference", "none", *argv,
         "--output", str(tmp_path / "out")]
    )  # fmt: skip
    assert code == (1 if "cannot" in said else 2)
    assert said in sentence(capsys.readouterr().err)
