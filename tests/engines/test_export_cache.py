"""An exported model is made once, and made anew for whatever changes it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.classifiers import loaded
from builders.full_disk import full_after
from builders.models import Net, said

from fastbench.core.errors import ModelError, OutputError
from fastbench.engines import export
from fastbench.engines.base import EngineSpec

pytest.importorskip("onnxscript")


class Count:
    """How many programs went through torch.onnx."""

    def __init__(self) -> None:
        self.num = 0


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Count:
    count, real = Count(), torch.onnx.export

    def counted(*arguments: Any, **options: Any) -> Any:
        count.num += 1
        return real(*arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", counted)
    return count


def net(seed: int = 7, kind: type[Net] = Net) -> Net:
    torch.manual_seed(seed)
    return kind().eval()


def spec_of(module: torch.nn.Module, cache: Path, **more: Any) -> EngineSpec:
    usual = {"batch_size": 4, "crop": 48, "device": torch.device("cpu"), "dtype": "float32"}
    return EngineSpec(model=loaded(module), cache=cache, **{"num_threads": 1, **usual, **more})


def test_an_unchanged_model_is_exported_once(exports: Count, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "folder"
    path = export.onnx_file(spec_of(net(), cache))
    os.utime(path, (1, 1))
    content = path.read_bytes()
    assert export.onnx_file(spec_of(net(), cache)) == path
    assert exports.num == 1
    assert path.read_bytes() == content
    assert path.stat().st_mtime > 1  # it leaves last
    assert [file.name for file in cache.iterdir()] == [path.name]


class Negated(Net):
    """Other operations with the weights of `Net`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -super().forward(x)


class Scaled(Net):
    """The same operations, and one number among them."""

    by = 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.by


def test_another_opset_makes_another_file(exports: Count, tmp_path: Path) -> None:
    made = {export.onnx_file(spec_of(net(), tmp_path), opset) for opset in (18, 20)}
    assert len(made) == exports.num == 2


def test_a_model_that_no_onnx_file_holds(
    exports: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MOST_ONNX_BYTES", 1000)
    assert said(export.onnx_file, spec_of(net(), tmp_path)) == (
        "The model model has 0.0 GB of weights, and an ONNX file holds 1e-06 GB. "
        "Use --engine openvino or compile."
    )
    assert (exports.num, [*tmp_path.iterdir()]) == (0, [])


Write = Callable[[Path], None]


def write_ten(path: Path) -> None:
    path.write_bytes(b"x" * 10)


def file_of(spec: EngineSpec) -> Path:
    """Where a model's file is, without the time that torch.onnx takes."""
    return export.cached(spec, export.export(spec), ("test",), ".onnx", write_ten)


def test_what_changes_the_model_makes_another_file(tmp_path: Path) -> None:
    nudged = net()
    with torch.no_grad():
        nudged.head.bias[0] += 1e-6
    normed = net()
    normed.norm.running_mean[0] += 1
    thrice = net(kind=Scaled)
    thrice.by = 3.0
    specs = [
        spec_of(net(), tmp_path),
        spec_of(nudged, tmp_path),
        spec_of(normed, tmp_path),
        spec_of(net(kind=Negated), tmp_path),
        spec_of(net(kind=Scaled), tmp_path),
        spec_of(thrice, tmp_path),
        spec_of(net(), tmp_path, crop=64),
        spec_of(net(), tmp_path, batch_size=3),
        spec_of(net(), tmp_path, dtype="float16"),
    ]
    made = [file_of(spec) for spec in specs]
    assert len(set(made)) == len(specs)
    assert file_of(spec_of(net(), tmp_path)) == made[0]


def test_a_model_without_weights_has_a_file_for_each_dtype(tmp_path: Path) -> None:
    pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    made = {file_of(spec_of(pool, tmp_path, dtype=dtype)) for dtype in ("float32", "float16")}
    assert len(made) == 2


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return export.export(spec_of(net(), Path()))


def cached(program: torch.export.ExportedProgram, cache: Path, write: Write, key: int = 0) -> Path:
    return export.cached(spec_of(net(), cache), program, ("test", key), ".onnx", write)


def test_a_folder_that_cannot_be_written(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        text = said(cached, program, cache, write_ten)
        assert text.startswith(f"The exported model cannot be written to {cache} (")
        assert text.endswith("). Set XDG_CACHE_HOME to a folder that can be written and has space.")


@pytest.mark.parametrize("num_bytes", [0, 60])
def test_a_full_disk(num_bytes: int, tmp_path: Path) -> None:
    """torch.onnx has the error first."""
    with full_after(num_bytes), pytest.raises(OutputError) as caught:
        export.onnx_file(spec_of(net(), tmp_path))
    assert str(caught.value) == (
        f"The exported model cannot be written to {tmp_path} (File too large). "
        f"Set XDG_CACHE_HOME to a folder that can be written and has space."
    )
    assert list(tmp_path.iterdir()) == []


def test_what_has_failed_leaves_nothing(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    class Stopped(BaseException):
        """As Ctrl-C."""

    for error in (Stopped(), ModelError("It is wrong. Mend it.")):

        def fail(path: Path, error: BaseException = error) -> None:
            write_ten(path)
            raise error

        with pytest.raises(type(error)):
            cached(program, tmp_path, fail)
        assert list(tmp_path.iterdir()) == []


def test_a_file_has_its_name_when_it_is_whole(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    """So what a killed run leaves is never taken for a model."""
    seen: list[Path] = []

    def watched(path: Path) -> None:
        path.write_bytes(b"x" * 5)
        seen.extend(tmp_path.iterdir())
        write_ten(path)

    made = cached(program, tmp_path, watched)
    assert len(seen) == 1
    assert seen[0].name.startswith(".")
    assert made not in seen
    assert [*tmp_path.iterdir()] == [made]
    assert made.read_bytes() == b"x" * 10


def test_two_runs_write_the_same_model(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    """The second is done while the first writes; both have a whole file."""

    def slow(path: Path) -> None:
        path.write_bytes(b"x" * 5)
        cached(program, tmp_path, write_ten)
        assert path.read_bytes() == b"x" * 5
        write_ten(path)

    made = cached(program, tmp_path, slow)
    assert made.read_bytes() == b"x" * 10
    assert [*tmp_path.iterdir()] == [made]


def test_the_oldest_leave(
    program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MOST_BYTES", 35)
    files = [cached(program, tmp_path, write_ten, key) for key in range(3)]
    for age, file in enumerate(files):
        os.utime(file, (1000 + age, 1000 + age))
    cached(program, tmp_path, write_ten, 0)  # used again, so it is no more the oldest
    newest = cached(program, tmp_path, write_ten, 3)
    assert {*tmp_path.iterdir()} == {files[0], files[2], newest}


def test_one_file_may_be_larger_than_the_cache(
    program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MOST_BYTES", 5)
    assert cached(program, tmp_path, write_ten).is_file()


def test_what_killed_runs_have_left_goes_and_what_is_written_stays(
    program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_MOST_BYTES", 15)
    left, written = tmp_path / ".1-ab-left.onnx", tmp_path / ".2-cd-written.onnx"
    for file, age in ((left, 100_000), (written, 60)):
        file.write_bytes(b"x" * 100)
        os.utime(file, (time.time() - age,) * 2)
    made = cached(program, tmp_path, write_ten)
    assert {*tmp_path.iterdir()} == {written, made}
