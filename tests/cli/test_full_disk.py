"""Every file is written beside and moved into place: a full disk leaves the earlier one whole."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders.command_line import sentence
from builders.consistent_record import sound
from builders.full_disk import full_after
from builders.paths import GOLDEN, REPOSITORY

from fastbench.cli.main import main
from fastbench.core.errors import OutputError
from fastbench.measure.difference_image import draw_difference
from fastbench.records.store import write_record
from fastbench.report.formats import accuracy_text
from fastbench.report.plots import registry
from fastbench.runner import predictions_csv
from fastbench.runner.options_file import write_options
from fastbench.runner.trials_file import Searched, TrialsFile, TuneTrial

RECORD = GOLDEN / "record-v8.json"


def predictions(folder: Path) -> None:
    predictions_csv._write(folder / "p.csv", "a", [("a", i) for i in range(100)])


def picture(folder: Path) -> None:
    draw_difference(torch.rand(3, 9, 9), torch.rand(3, 9, 9), folder / "d.png")


SEARCHED = Searched(
    created="now",
    command="fastbench tune",
    objective="throughput",
    trials=1,
    minutes=1,
    options={},
    axes={},
    default={},
    device="cpu",
    identity="",
    environment={},
)
FAILED = TuneTrial(settings={}, measured=None, seconds=1, why="It does not fit.")
WRITERS: dict[str, Callable[[Path], object]] = {
    "record": lambda folder: write_record(sound(), folder),
    "accuracy": lambda folder: accuracy_text.write_study([sound()], folder),
    "plots": lambda folder: registry.write_plots([sound()], folder, ["accuracy"], ("png", "svg")),
    "plan": lambda folder: write_options({"model": ["a" * 100]}, folder / "plan.toml"),
    "trials": lambda folder: TrialsFile(folder, SEARCHED, [FAILED]).write(),
    "predictions": predictions,
    "picture": picture,
}
COMMANDS = {
    "table": ["report", str(RECORD), "--output", "{}/r.txt"],
    "csv": ["report", str(RECORD), "--output", "{}/r.csv"],
    "page": ["report", str(RECORD), "--html", "{}/r.html"],
    "compare": ["compare", str(RECORD), str(RECORD), "--output", "{}/c.md"],
    "sample": ["data", "sample", "--num-images", "2", "--output", "{}"],
    "run": ["run", "--output", "{}"],
}
HERE = {
    # the two ways of writing
    "core/atomic_files.py",
    # to the temporary name that these give
    *("data/unpack/folders.py", "runner/predictions_csv.py", "engines/export.py"),
    # to memory, or to nothing
    *("report/plots/style.py", "data/sample/drawing.py", "measure/difference_image.py"),
    *("core/server_preload.py", "cli/main.py"),
    "runner/output_folder.py",  # to try whether a record would fit
    # images of their own, in a temporary folder
    *("loaders/contract/reopened.py", "runner/unread_files.py"),
}


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures without the time that they take."""
    for module in (registry, accuracy_text):
        monkeypatch.setattr(module, "draw", lambda *_: None)
        monkeypatch.setattr(module, "encode", lambda *_: b"x" * 10_000)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("num_bytes", [0, 60])
@pytest.mark.parametrize("what", WRITERS)
def test_an_earlier_file_stays_whole(what: str, num_bytes: int, tmp_path: Path) -> None:
    WRITERS[what](tmp_path)
    before = contents(tmp_path)
    assert before
    with full_after(num_bytes), pytest.raises(OutputError, match=re.escape(str(tmp_path))) as error:
        WRITERS[what](tmp_path)
    assert "cannot be written to" in str(error.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("num_bytes", [0, 60])
@pytest.mark.parametrize("what", COMMANDS)
def test_what_a_command_could_not_write_is_named(
    what: str, num_bytes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [word.format(tmp_path) for word in COMMANDS[what]]
    is_new = what in ("sample", "run")  # what they wrote is not written again
    if not is_new:
        assert main(argv) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    with full_after(num_bytes):
        assert main(argv) == 1
    said = sentence(capsys.readouterr().err)
    assert re.search(rf"{tmp_path}\S* cannot be written|cannot be written to {tmp_path}", said)
    if not is_new:
        assert contents(tmp_path) == before
    assert not any(name.endswith((".tmp", ".jpg")) for name in contents(tmp_path))


def test_nothing_is_written_past_these() -> None:
    """A file that is opened to be written in any other place could be left cut."""
    pattern = re.compile(
        r"\.write_(?:bytes|text)\(|open\([^)]*\"[wax]b?\"|(?<!torch)\.save\(|savefig\("
    )
    root = REPOSITORY / "fastbench"
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if pattern.search(path.read_text("utf-8"))
    }
    assert found == HERE
