"""A file that Pillow reads and a loader does not: it is named, or left out of the loader's rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import picky
from builders.images import draw
from builders.plug_ins import PlugIn

from fastbench.cli.main import main
from fastbench.core.config import RunConfig
from fastbench.core.console import ConsoleProgress
from fastbench.data.jpeg.quick_check import not_read
from fastbench.runner import execute, unread_files

pytestmark = pytest.mark.usefixtures("server")
SAYS = {
    "raises": "is read by Pillow, and not by the loader 'picky' (OSError: marker 0xd1 is unknown",
    "dies": "is read by Pillow, and not by the loader 'picky' (its process was killed by SIGSEGV)",
}


@pytest.fixture(autouse=True)
def picky_loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plug_in: PlugIn) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for entry in picky.PLUG_INS:
        plug_in(entry.name, entry.factory)
    monkeypatch.setattr(execute, "measure", picky.measure)
    monkeypatch.setattr(unread_files, "_try_spans", picky.try_spans_here)


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., Path]:
    """Twelve files; those at some places have names that say what becomes of them."""

    def drawn(**places: str) -> Path:
        for i in range(12):
            draw(tmp_path / "data" / f"{i:02d}{places.get(f'at_{i}', '')}.jpg", (90 + i, 70))
        return tmp_path / "data"

    return drawn


def run(data: Path, *argv: str, command: str = "run") -> int:
    passes = ["--quick", "--passes", "end-to-end"] if command == "run" else []
    return main(
        [command, "--data", str(data), "--model", "sample", "--device", "cpu", "--loader", "picky",
         "--batch-size", "2", *passes, "--output", str(data.parent / "out"), *argv]
    )  # fmt: skip


def complaints(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("fastbench: ")]


@pytest.mark.parametrize("how", SAYS)
def test_the_first_such_file_is_named(
    how: str, data: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = data(at_7=how, at_10=how)
    assert run(root, "--reference", "none") == 1
    (said,) = complaints(capsys)
    assert said.startswith(f"fastbench: sample · picky: {root}/07{how}.jpg {SAYS[how]}")
    assert said.endswith(
        "). Use another --loader, remove the file, or leave it out with --on-error skip."
    )
    assert not (root.parent / "out").exists() or not list((root.parent / "out").glob("*.json"))


def test_skip_leaves_them_out_of_its_rows_alone(
    data: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = data(at_3="raises", at_7="dies", at_8="dies", at_11="raises")
    assert run(root, "--loader", "torchvision", "--on-error", "skip") == 0
    shown = capsys.readouterr()
    assert (
        "Left out of the rows of picky: 03raises.jpg is read by Pillow, and not by the" in shown.out
    )
    stored = [json.loads(x.read_text()) for x in (root.parent / "out").glob("*.json")]
    records = {record["loader"]: record for record in stored}
    assert records["torchvision"]["data"]["num_samples"] == 12
    assert records["torchvision"]["data"]["skipped"] == []
    mine = records["picky"]
    assert mine["data"]["num_samples"] == 8
    assert mine["parity"]["num_agreeing"] == 8
    left_out = {file["name"]: file for file in mine["data"]["skipped"]}
    assert [*left_out] == ["03raises.jpg", "07dies.jpg", "08dies.jpg", "11raises.jpg"]
    for name, file in left_out.items():
        assert file["loader"] == "picky"
        assert file["why"].startswith(SAYS[name[2:-4]])
    # The row is of the images that are there, so it is finished.
    assert main(["run", "--resume", str(root.parent / "out"), "--dry-run"]) == 0
    assert "2 finished, 0 to be measured" in capsys.readouterr().out
    draw(root / "more.jpg", (64, 64))
    assert main(["run", "--resume", str(root.parent / "out"), "--dry-run"]) == 0
    assert "0 finished, 2 to be measured" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["parity"], ["run", "--ab", "num_threads=1"]])
def test_skip_covers_what_is_compared(
    argv: list[str],
    data: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = data()
    for name in ("parity", "ab"):
        monkeypatch.setattr(execute, name, picky.dies_unless_left_out)
    found = {"05.jpg": not_read(str(root / "05.jpg"), "picky", "SIGSEGV")}
    monkeypatch.setattr(unread_files, "find_unread", lambda *_: (found, True))
    command, *more = argv
    assert run(root, *more, "--on-error", "skip", command=command) == 1
    (said,) = complaints(capsys)
    assert said == "fastbench: sample · picky: Without 05.jpg it goes on."


def test_what_fails_at_any_file_is_told_as_before(
    data: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--loader", "breaks", "--reference", "none", "--on-error", "skip"]
    root = data()
    assert main(
        ["run", "--data", str(root), "--model", "sample", "--device", "cpu", "--quick",
         "--output", str(root.parent / "out"), *argv]
    ) == 1  # fmt: skip
    (said,) = complaints(capsys)
    assert "failed as an epoch began: OSError: no decoder (picky.py:" in said
    assert "--on-error" not in said


def test_too_many_are_counted(
    data: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(unread_files, "MOST", 3)
    root = data(**{f"at_{i}": "raises" for i in range(3, 8)})
    assert run(root, "--reference", "none", "--on-error", "skip") == 1
    (said,) = complaints(capsys)
    assert "The loader 'picky' does not read 3 files of these images, or more, that Pillow" in said
    assert "--on-error" not in said


def test_the_second_sides_loader_is_tried_as_well(
    data: Callable[..., Path], tmp_path: Path
) -> None:
    root = data(at_5="raises")
    config = RunConfig(
        data=str(root), model=("sample",), loader=("torchvision-tensor",), ab=("loader=picky",),
        loader_option=("torchvision-tensor.prefetch=1",), device="cpu", batch_size=2,
        reference="none",
    )  # fmt: skip
    with ConsoleProgress() as progress:
        found, are_all = unread_files.find_unread(config, "picky", tmp_path, progress)
    assert (list(found), are_all) == (["05raises.jpg"], True)
