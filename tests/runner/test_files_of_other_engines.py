"""`fastbench run` of ONNX files: a right one passes, a wrong export fails with its cause named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders.command_line import main_here, sentence
from builders.images import draw
from builders.models import write_export

from fastbench.engines.base import EngineSpec
from fastbench.engines.export import onnx_file
from fastbench.loaders.base import IMAGENET
from fastbench.models.input_size import AskedInput
from fastbench.models.registry import load_model
from fastbench.records.gates import failures_of
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.runner import measure_row

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZE = 96
BATCH = 8
NUM_CLASSES = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    for i in range(16):
        draw(root / "a" / f"{i:02d}.jpg", [(120, 90), (90, 130), (150, 160)][i % 3])
    return root


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model, exported for small images."""
    spec = EngineSpec(
        model=load_model("sample", asked=AskedInput(image_size=SIZE)),
        batch_size=BATCH,
        crop=SIZE,
        device=torch.device("cpu"),
        dtype="float32",
        num_threads=1,
        cache=tmp_path_factory.mktemp("cache"),
    )
    return onnx_file(spec)


def constant(values: Any, name: str) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(values), name)


node = onnx.helper.make_node
MEAN, STD = (np.float32(x).reshape(1, 3, 1, 1) for x in (IMAGENET.mean, IMAGENET.std))
ORDER = [*range(5, NUM_CLASSES), *range(5)]
BEFORE: dict[str, tuple[Sequence[Any], Sequence[Any]]] = {
    "swapped": ([node("Gather", ["given", "bgr"], ["images"], axis=1)],
                [constant([2, 1, 0], "bgr")]),
    "normalised": ([node("Sub", ["given", "its-mean"], ["above"]),
                    node("Div", ["above", "its-std"], ["images"])],
                   [constant(MEAN, "its-mean"), constant(STD, "its-std")]),
    "nhwc": ([node("Transpose", ["given"], ["last"], perm=[0, 2, 3, 1]),
              node("Reshape", ["last", "shape"], ["images"])],
             [constant([BATCH, 3, SIZE, SIZE], "shape")]),
}  # fmt: skip
"""Operations that make the model's `images` of those that it is `given`."""
AFTER: dict[str, tuple[Sequence[Any], Sequence[Any]]] = {
    "softmax": ([node("Softmax", ["logits"], ["result"], axis=1)], []),
    "permuted": ([node("Gather", ["logits", "order"], ["result"], axis=1)],
                 [constant(ORDER, "order")]),
}  # fmt: skip
CAUSES = {
    "swapped": "its channels are swapped: it takes BGR",
    "normalised": "it normalises the images a second time: the export has the normalisation in it",
    "nhwc": "it takes the channels of each pixel for its rows: the layout is NHWC",
    "softmax": "it gives probabilities: a softmax is in it",
    "permuted": "its classes are in another order",
}


def write_wrong(right: Path, fault: str, folder: Path) -> Path:
    """The right export with a fault planted in it."""
    model = onnx.load(right)
    nodes, constants = {**BEFORE, **AFTER}[fault]
    graph = model.graph
    graph.initializer.extend(constants)
    if fault in BEFORE:
        its = list(graph.node)
        del graph.node[:]
        graph.node.extend([*nodes, *its])
        graph.input[0].name = "given"
    else:
        graph.node.extend(nodes)
        graph.output[0].name = "result"
    path = folder / f"{fault}.onnx"
    onnx.save(model, path)
    return path


def run(data: Path, folder: Path, *argv: str, batch: int = BATCH) -> tuple[int, list[Record]]:
    code = main_here(
        ["run", "--data", str(data), "--quick", "--device", "cpu", "--model-threads", "1",
         "--passes", "end-to-end", "--loader", "torchvision", "--batch-size", str(batch),
         "--output", str(folder / "out"), *argv]
    )  # fmt: skip
    return code, [read_record(path) for path in sorted((folder / "out").glob("*.json"))]


def test_each_planted_fault_is_named(
    data: Path, right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [right.rename(right.with_name("right.onnx"))]
    paths += [write_wrong(paths[0], fault, tmp_path) for fault in CAUSES]
    models = [word for path in paths for word in ("--model", str(path))]
    code, records = run(data, tmp_path, *models, "--reference-model", "sample")
    shown = capsys.readouterr()
    paths[0].rename(right)
    assert code == 3, shown.err
    assert len(records) == 1 + len(CAUSES)
    for record in records:
        fault = record.model.removesuffix(".onnx")
        program = record.program
        assert program is not None
        assert program.cause == CAUSES.get(fault)
        assert program.num_samples == 16
        said = failures_of(record)
        if fault == "right":
            assert said == []
            assert program.max_logits < 1e-4 * program.spread
            assert program.num_agreeing == record.parity.num_agreeing == 16
        else:
            expected = f"the export to onnxruntime is wrong: {CAUSES[fault]}; "
            assert said[0].startswith(expected)
            assert expected[:60] in " ".join(shown.out.split())
        assert record.engine is not None
        assert (record.engine.name, record.engine.num_threads) == ("onnxruntime", 1)
        assert record.weights == "ONNX"
        assert any("not counted: the file does not say them" in note for note in record.notes)
    assert "NotImplementedError" not in shown.out


def test_a_missing_folder_is_named_before_the_first_row(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, records = run(
        data, tmp_path, "--model", "sample", "--engine", "onnxruntime", "--quantize", "none",
        "--quantize", "int8", "--calibration", "nowhere/at-all",
    )  # fmt: skip
    assert (code, records) == (2, [])
    assert "There is nothing at --calibration nowhere/at-all. Give a folder" in sentence(
        capsys.readouterr().err
    )


def test_a_wrong_reference_is_named_before_the_row(
    data: Path,
    right: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(measure_row, "run_passes", pytest.fail)
    for other, why in (
        ("sampel", "There is no model 'sampel'. Did you mean 'sample'?"),
        (str(right), "is not run by torch. Give the model that the file was exported from."),
        (str(write_export(tmp_path / "net.pt2")), "net.pt2 has 3 classes, and "),
    ):
        code, _ = run(data, tmp_path, "--model", str(right), "--reference-model", other)
        assert code == 2
        assert why in sentence(capsys.readouterr().err)


def test_what_a_file_cannot_be_run_with(
    data: Path, right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", str(right))
    code, _ = run(data, tmp_path, *model, "--engine", "eager")
    assert code == 1
    assert (
        "is a file of ONNX, which the engine eager does not run. Use --engine onnxruntime or "
        "openvino." in sentence(capsys.readouterr().err)
    )
    code, _ = run(data, tmp_path, *model, batch=4)
    assert code == 2
    assert "was exported for batches of 8 images, and not for 4. Use --batch-size 8" in (
        sentence(capsys.readouterr().err)
    )


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_wrong_export_is_not_taken_for_the_loss_of_int8(
    engine: str, data: Path, right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(engine)
    wrong = write_wrong(right, "swapped", tmp_path)
    code, records = run(
        data, tmp_path, "--model", str(right), "--model", str(wrong), "--reference-model",
        "sample", "--engine", engine, "--quantize", "int8", "--calibration", "8",
    )  # fmt: skip
    assert code == 3, capsys.readouterr().err
    its = {record.model: record for record in records}
    for record in records:
        assert record.program is not None
        assert record.program.dtype == "float32"
        assert record.data["num_samples"] == 8
        assert record.engine is not None
        assert "quantize" in record.engine.setup_s
        assert record.engine.weights_bytes < 0.6 * right.stat().st_size
    good = its[right.name]
    assert good.program.cause is None
    assert good.program.max_logits < 1e-4 * good.program.spread  # before it is quantised
    assert not any("export" in said for said in failures_of(good))
    said = failures_of(its[wrong.name])
    assert said[0].startswith(f"the export to {engine} is wrong: its channels are swapped")
    assert not any("int8" in text for text in said)


def test_rows_with_and_without_int8_score_the_same_images(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, records = run(
        data, tmp_path, "--model", "sample", "--image-size", str(SIZE), "--engine", "eager",
        "--engine", "onnxruntime", "--quantize", "none", "--quantize", "int8",
    )  # fmt: skip
    assert code in (0, 3), capsys.readouterr().err
    kinds = [(r.config["engine"], r.config["quantize"]) for r in records]
    assert sorted(kinds) == [("eager", "none"), ("onnxruntime", "int8"), ("onnxruntime", "none")]
    assert len({r.data["digest"] for r in records}) == 1
    assert {r.data["num_samples"] for r in records} == {13}  # a fifth of 16 is set aside
    by_kind = dict(zip(kinds, records, strict=True))
    assert by_kind["eager", "none"].calibration is None
    assert by_kind["onnxruntime", "none"].calibration is None
    calibration = by_kind["onnxruntime", "int8"].calibration
    assert calibration is not None
    assert calibration.names == ["a/00.jpg", "a/05.jpg", "a/10.jpg"]
    assert (calibration.root, calibration.loader) == (str(data), "torchvision")
    assert len(calibration.digest) == 64
    (exported,) = (tmp_path / "cache").rglob("*.onnx")  # one for both rows
    floats, ints = (by_kind["onnxruntime", kind].engine for kind in ("none", "int8"))
    assert floats.weights_bytes == exported.stat().st_size > 2 * ints.weights_bytes
