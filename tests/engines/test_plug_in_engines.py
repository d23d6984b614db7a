"""Engines of other packages: a row by one that is right, and what is said of one that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders.command_line import main_here, sentence
from builders.images import draw
from builders.paths import TESTS
from builders.plug_ins import ENGINES, PlugIn

import fastbench
from fastbench.engines.base import EngineSpec, Run
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.runner import plan

Fault = Callable[[torch.nn.Module, torch.Tensor], Any]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    for i in range(6):
        draw(tmp_path / "images" / "a" / f"{i}.jpg", (120 + 7 * i, 90))
    return tmp_path / "images"


def run(data: Path, output: Path, *argv: str) -> tuple[int, list[Record]]:
    code = main_here(
        ["run", "--data", str(data), "--model", "sample", "--device", "cpu", "--quick",
         "--batch-size", "4", "--model-threads", "1", "--passes", "end-to-end", "--loader",
         "torchvision-tensor", "--output", str(output), *argv]
    )  # fmt: skip
    return code, [read_record(path) for path in sorted(output.glob("*.json"))]


def faulty(fault: Fault) -> Callable[[EngineSpec], Run]:
    """An engine that gives what `fault` makes of the model and the images."""

    def factory(spec: EngineSpec) -> Run:
        module = spec.model.copy_module().eval()
        return lambda images_NCHW: fault(module, images_NCHW)

    return factory


def raises_when_made(spec: EngineSpec) -> Run:
    raise ZeroDivisionError("division by zero")


def lacks_a_library(spec: EngineSpec) -> Run:
    raise ImportError("libmine.so: cannot open shared object file")


def test_the_example_runs_a_row(
    few: Path, tmp_path: Path, plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(TESTS / "example_plugin"))
    from fastbench_example.engine import Exported

    plug_in("exported", Exported, ENGINES)
    code, (record,) = run(
        few, tmp_path / "out", "--engine", "exported", "--engine-option", "exported.decompose=true"
    )
    assert code == 0
    assert record.engine is not None
    assert record.engine.name == "exported"
    assert record.engine.settings == {"torch": torch.__version__, "decompose": True}
    assert record.program is not None
    assert record.program.num_agreeing == record.program.num_samples == 6
    assert record.program.max_logits < 1e-4


def test_the_examples_options_are_its_own(
    few: Path,
    tmp_path: Path,
    plug_in: PlugIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(TESTS / "example_plugin"))
    from fastbench_example.engine import Exported

    plug_in("exported", Exported, ENGINES)
    argv = ("--engine", "exported", "--engine-option", "exported.decompos=true")
    code, records = run(few, tmp_path / "out", *argv)
    assert (code, records) == (2, [])
    said = sentence(capsys.readouterr().err)
    assert "The engine 'exported' has no option 'decompos'. Did you mean 'decompose'?" in said


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (ImportError("cannot import name 'x'"), "The plug-in engine 'mine' (tests:mine, of tests "
         "1.0) failed to import: ImportError: cannot import name 'x'. Mend or uninstall"),
        (raises_when_made, "The plug-in engine 'mine' (tests:mine, of tests 1.0) could not make the"
         " model sample ready (ZeroDivisionError: division by zero). Try --engine eager"),
        (lacks_a_library, "could not make the model sample ready (ImportError: libmine.so: cannot o"
         "pen shared object file)."),
        (faulty(lambda module, images: 1 / 0), "The model sample failed on a batch of 4 channels_la"
         "st images in float32 on cpu (ZeroDivisionError: division by zero), in the engine mine."),
        (faulty(lambda module, images: module(images).detach().numpy()), "The model sample, run by "
         "the engine mine, gave a value of type ndarray for 4 images, where one tensor of shape (4,"
         " classes) is wanted. Mend the engine."),
        (faulty(lambda module, images: module(images)[:3]), "The model sample, run by the engine mi"
         "ne, gave a tensor of shape (3, 24) for 4 images"),
        (faulty(lambda module, images: module(images)[:, :5]), "The engine mine gives 5 outputs for"
         " the model sample, which has 24 classes. Mend the engine, or use --engine eager."),
        (faulty(lambda module, images: np.float32(7)), "gave a value of type float32 for 4 images"),
        (lambda spec: None, "failed on a batch of 4"),
    ],
)  # fmt: skip
def test_one_that_is_broken_has_one_sentence(
    factory: object,
    said: str,
    few: Path,
    tmp_path: Path,
    plug_in: PlugIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plug_in("mine", factory, ENGINES)
    code, records = run(few, tmp_path / "out", "--engine", "mine", "--reference", "none")
    assert (code, records) == (1, [])
    assert said in sentence(capsys.readouterr().err)


def test_one_that_swaps_the_channels_fails_and_the_cause_is_named(
    few: Path, tmp_path: Path, plug_in: PlugIn, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in("mine", faulty(lambda module, images: module(images.flip(1))), ENGINES)
    code, (record,) = run(few, tmp_path / "out", "--engine", "mine")
    assert code == 3
    assert record.program is not None
    assert record.program.cause == "its channels are swapped: it takes BGR"
    assert "its channels are swapped: it takes BGR" in " ".join(capsys.readouterr().out.split())


def test_of_a_preset_one_that_fails_to_import_is_left_out(
    few: Path,
    tmp_path: Path,
    plug_in: PlugIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plug_in("mine", ImportError("cannot import name 'x'"), ENGINES)
    monkeypatch.setattr(plan, "read_preset", lambda name: {"engine": ("mine", "eager")})
    argv = ("--preset", "engines", "--reference", "none")
    code, (record,) = run(few, tmp_path / "out", *argv)
    assert code == 0
    assert record.config["engine"] == "eager"
    said = capsys.readouterr().err
    assert said.count("mine is left out: The plug-in engine 'mine'") == 1


def test_from_python(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = fastbench.run(
        model=Tiny(), data=few, engine=["eager", "openvino"], image_size=[32, 48],
        loader="torchvision-tensor", reference="none", device="cpu", batch_size=2, quick=True,
        passes="end-to-end", num_threads=1, model_threads=1, progress=False,
        engine_option="openvino.hint=throughput",
    )  # fmt: skip
    found = {(x.config["engine"], x.preprocess["crop"]) for x in records}
    assert found == {(engine, size) for engine in ("eager", "openvino") for size in (32, 48)}
    (settings, *_) = [x.engine.settings for x in records if x.engine is not None]
    assert settings["hint"] == "throughput"


class Tiny(torch.nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            torch.nn.Conv2d(3, 4, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(4, 5),
        )
