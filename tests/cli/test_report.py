"""`fastbench report`: files and folders, good and damaged, and what it says of them."""

import errno
import json
import os
from pathlib import Path

import pytest
from builders.paths import GOLDEN
from builders.runs import parity_record, run, written

from fastbench.cli.main import main
from fastbench.records.store import write_record
from fastbench.report.read import read_rows


@pytest.fixture
def two_machines(tmp_path: Path) -> Path:
    """A real record, and one of a machine that is MADE UP by editing it: twice as fast."""
    stored = json.loads((GOLDEN / "record-v1.json").read_text())
    folder = tmp_path / "records"
    (folder / "real").mkdir(parents=True)
    (folder / "made-up").mkdir()
    (folder / "real" / "a.json").write_text(json.dumps(stored))
    stored["environment"]["cpu"] = "MADE UP, 4 cores"
    throughput = stored["throughput"]
    throughput["wall_s"] /= 2
    throughput["step_times_s"] = [seconds / 2 for seconds in throughput["step_times_s"]]
    (folder / "made-up" / "a.json").write_text(json.dumps(stored))
    return folder


def test_two_machines_by_the_command(
    two_machines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["report", str(two_machines), "--by", "gpu", "--baseline", "AMD EPYC"]
    argv += ["--price", "AMD EPYC=0.09", "--price", "made up=0.36", "--format", "jsonl"]
    assert main(argv) == 0
    real, made_up = map(json.loads, capsys.readouterr().out.splitlines())
    assert (real["device"], made_up["device"]) == ("AMD EPYC", "MADE UP, 4 cores")
    assert real["images/s"] == pytest.approx(162.16635)
    assert made_up["images/s"] == pytest.approx(2 * 162.16635)
    assert (real["ratio"], made_up["ratio"]) == (1, pytest.approx(2))
    assert made_up["cost"] == pytest.approx(2 * real["cost"])
    assert real["cost"] == pytest.approx(0.09 / 3600 * 1e6 / 162.16635)


def test_folders_with_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "all" / "deep"
    folder.parent.mkdir()
    good = written(folder, run(100))
    (folder / "text.json").write_text("not JSON")
    (folder / "later.json").write_text('{"schema_version": 99, "throughput": {}}')
    (folder / "other.json").write_text('{"a": 1}')
    write_record(parity_record(), folder)
    (folder / "words.txt").write_text("passed over without a word")
    stored = json.loads(good.read_text())
    stored["latency"]["samples_s"] = "soon"
    (folder / "soon.json").write_text(json.dumps(stored))
    assert main(["report", str(tmp_path / "all"), "--format", "jsonl"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(good)]
    assert "text.json is not a record: it is not JSON" in err
    assert "later.json has schema_version 99" in err
    assert "soon.json is a damaged record" in err
    assert "Passed over, for they are no rows" in err
    assert err.count("\n") == 4


def test_without_a_folder_the_newest_run_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, loader in enumerate(("dali", "timm")):
        folder = tmp_path / f"fastbench-results/{number}"
        folder.mkdir(parents=True)
        path = written(folder, run(100, loader=loader))
        os.utime(path, (1e9 + number, 1e9 + number))
    assert main(["report", "--columns", "loader,images/s"]) == 0
    out, err = capsys.readouterr()
    assert "timm" in out
    assert "dali" not in out
    assert "The newest run: fastbench-results/1" in err


def test_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    other.mkdir()
    path = write_record(parity_record(), other)
    for argv, code, said in [
        ([], 2, "There is nothing to report. Name"),
        ([str(empty)], 1, f"The folder {empty} holds no records. Name"),
        ([str(tmp_path / "gone")], 1, "cannot be read (No such file or directory)"),
        ([str(path)], 1, "`fastbench parity`, not of a row"),
        ([str(other)], 1, "There are no records of `fastbench run` there."),
        ([str(empty), "--columns", "x-y-z"], 2, "There is no column 'x-y-z'"),
        ([str(empty), "--sort", "model,loader"], 2, "There is no column 'model,loader'"),
    ]:
        assert main(["report", *argv]) == code, argv
        out, err = capsys.readouterr()
        assert said in err
        assert out == ""


def test_each_file_is_read_once(tmp_path: Path) -> None:
    first = written(tmp_path, run(100, created="2026-03-01T00:00:00+00:00"))
    second = written(tmp_path, run(100, created="2026-02-01T00:00:00+00:00"))
    assert [row.path for row in read_rows([tmp_path, first]).rows] == [second, first]
    assert [row.path for row in read_rows([first, tmp_path]).rows] == [first, second]


def test_a_folder_that_cannot_be_read_is_complained_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, run(100))
    closed = tmp_path / "closed"
    written(closed, run(200))
    scan = os.scandir

    def refuse(folder: str | Path) -> object:
        if Path(folder) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    found = read_rows([tmp_path])
    assert [row.path for row in found.rows] == [path]
    assert [text.split(")")[0] for text in found.complaints] == [
        f"The folder {closed} cannot be read (Permission denied"
    ]


def test_output_goes_to_a_file_in_the_format_of_its_ending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = written(tmp_path / "records", run(100))
    for name, start in {
        "r.md": "1,000 JPEGs",
        "r.csv": "device,model,",
        "r.jsonl": '{"device": "A CPU"',
        "r.tex": "% Needs",
        "r.txt": "1,000 JPEGs",
    }.items():
        path = tmp_path / name
        assert main(["report", str(record), "--output", str(path)]) == 0
        assert path.read_text().startswith(start)
    assert capsys.readouterr() == ("", "")
    argv = ["report", str(record), "--output", str(tmp_path / "gone" / "r.md")]
    assert main(argv) == 1
    assert "cannot be written to" in capsys.readouterr().err


def test_a_name_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    path = str(written(folder, run(100)))
    for name in ("table", "markdown", "csv", "latex", "html"):
        argv = ["report", path, "--columns", "file,images/s", "--format", name]
        assert main(argv) == 0
        assert "\\udcff" in capsys.readouterr().out.replace("\\textbackslash{}", "\\")
        assert main([*argv, "--output", str(tmp_path / "out")]) == 0
    assert main(["report", path, "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == path
    assert main(["report", path, "--plots", str(folder), "--plot", "loaders"]) == 0


def test_the_help_on_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--columns", "help"]) == 0
    out = capsys.readouterr().out
    assert "images/s" in out
    assert "throughput from files to predictions" in out
    assert "loaders" in out
