"""A model at several image sizes: each has its rows, its reference and its own parity."""

import json
from pathlib import Path
from typing import Any

import pytest
from builders.command_line import main_here, sentence
from builders.images import draw
from builders.models import write_export

from fastbench.core.command_options import TUNED, PlanOptions
from fastbench.loaders.base import LoaderSpec
from fastbench.records.gates import compare_pixels
from fastbench.records.store import read_record
from fastbench.runner import ab, parity
from fastbench.runner.plan import make_plan
from fastbench.runner.prepare import open_loader


@pytest.fixture
def few(tmp_path: Path) -> Path:
    for i, size in enumerate([(120, 90), (90, 130), (64, 91), (257, 256)]):
        draw(tmp_path / "images" / "a" / f"{i}.jpg", size)
    return tmp_path / "images"


def run(command: str, data: Path, output: Path, *argv: str) -> tuple[int, list[Any]]:
    """A command on a CPU, and the records that it leaves."""
    own = {"run": ["--quick", "--model-threads", "1"], "parity": []}[command]
    code = main_here(
        [command, "--data", str(data), "--device", "cpu", "--batch-size", "4", "--output",
         str(output), *own, *argv]
    )  # fmt: skip
    return code, [read(path) for path in sorted(output.glob("*.json"))]


def read(path: Path) -> Any:
    """A row's record; that of another command as JSON has it."""
    is_row = not path.name.startswith(("ab-", "parity-"))
    return read_record(path) if is_row else json.loads(path.read_text())


def test_each_size_has_its_reference_and_its_parity(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scored: list[int] = []
    score = parity._score_reference

    def spied(workbench: Any, bench: Any) -> Any:
        scored.append(bench.model.preprocess.crop)
        return score(workbench, bench)

    monkeypatch.setattr(parity, "_score_reference", spied)
    code, records = run(
        "run", few, tmp_path / "out", "--model", "sample", "--passes", "end-to-end",
        "--image-size", "96", "--image-size", "64", "--loader", "torchvision-tensor",
        "--loader", "memory",
    )  # fmt: skip
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert scored == [96, 64]  # once for both loaders
    assert sorted((r.loader, r.preprocess["crop"], r.preprocess["resize"]) for r in records) == [
        ("memory", 64, 73), ("memory", 96, 109),
        ("torchvision-tensor", 64, 73), ("torchvision-tensor", 96, 109),
    ]  # fmt: skip
    for record in records:
        size = record.preprocess["crop"]
        assert record.preprocess["source"].endswith(f" by --image-size {size}")
        assert record.config["image_size"] == size
        assert record.parity.num_agreeing == record.parity.num_samples == 4
        assert compare_pixels(record.parity) in ("exact", "equivalent")
        assert record.parity.pixels.num_samples == 4
    macs = {record.preprocess["crop"]: record.num_macs for record in records}
    assert macs[96] > 2 * macs[64]
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.json")) == [
        f"sample-{loader}-float32-{size}-px"
        for loader in ("memory", "torchvision-tensor")
        for size in (64, 96)
    ]


def test_a_model_of_one_size_is_refused_by_name_and_its_own_size_is_measured(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_export(tmp_path / "net.pt2", batch=4)
    code, records = run(
        "run", few, tmp_path / "out", "--model", str(path), "--passes", "end-to-end",
        "--image-size", "96", "--image-size", "48", "--loader", "torchvision-tensor",
        "--reference", "none",
    )  # fmt: skip
    assert code == 2
    assert "The model net.pt2 was exported for images of 48 x 48 pixels, and not for 96 x 96." in (
        sentence(capsys.readouterr().err)
    )
    assert [record.preprocess["crop"] for record in records] == [48]


def test_both_sides_of_ab_have_their_size(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[int] = []

    def spied(name: str, factory: Any, spec: LoaderSpec) -> Any:
        opened.append(spec.preprocess.crop)
        return open_loader(name, factory, spec)

    monkeypatch.setattr(ab, "open_loader", spied)
    code, (record,) = run(
        "run", few, tmp_path / "out", "--model", "sample", "--loader", "torchvision-tensor",
        "--ab", "image-size=64",
    )  # fmt: skip
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert opened == [224, 64]
    assert (record["preprocess"]["crop"], record["config"]["image_size"]) == (224, None)
    assert record["other_config"]["image_size"] == 64
    assert "the same with image-size=64" in shown.out


def test_parity_has_the_options(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (record,) = run(
        "parity", few, tmp_path / "out", "--model", "sample", "--loader", "torchvision-tensor",
        "--image-size", "96", "--crop-pct", "1", "--preprocess", "mean=0.5",
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    its = record["preprocess"]
    assert (its["resize"], its["crop"], its["mean"]) == (96, 96, [0.5] * 3)
    assert its["source"].endswith("by --crop-pct 1; mean 0.5, 0.5, 0.5 by --preprocess")
    assert record["parity"]["num_agreeing"] == 4
    assert record["parity"]["pixels"]["max_levels"] < 2


def test_tune_has_them_too() -> None:
    assert {"image_size", "crop_pct", "preprocess"} <= {*TUNED}


def test_a_plan_has_a_row_for_each_size() -> None:
    options = {"image_size": (160, 224), "crop_pct": (0.875, 1.0), "loader": ("synthetic",)}
    plan = make_plan(options, PlanOptions(), lambda _: lambda *_: None)
    assert [plan.how(row) for row in plan.rows] == [
        ["160 px", "crop-pct 0.875"], ["160 px", "crop-pct 1"],
        ["224 px", "crop-pct 0.875"], ["224 px", "crop-pct 1"],
    ]  # fmt: skip
    assert len({row.digest for row in plan.rows}) == 4
