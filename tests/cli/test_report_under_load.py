"""`fastbench report` of folders that hold records of `fastbench loadtest`."""

import json
from pathlib import Path

import pytest
from builders.load_records import make_load_record
from builders.runs import run, written

import fastbench
from fastbench.cli.main import main
from fastbench.core.errors import RecordError, UnknownNameError
from fastbench.records.store import write_record


@pytest.fixture
def loaded(tmp_path: Path) -> Path:
    """A folder of two rows under load."""
    folder = tmp_path / "load"
    folder.mkdir()
    for record in (make_load_record(), make_load_record("single-stream")):
        write_record(record, folder)
    return folder


@pytest.fixture
def both(loaded: Path) -> Path:
    """The same with a row of `fastbench run`."""
    written(loaded, run(100))
    return loaded


def report(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["report", *map(str, argv)])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_a_folder_of_rows_under_load_alone(
    loaded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = report(capsys, loaded)
    assert (code, err) == (0, "")
    assert out.startswith("Under load · ")
    assert "single-stream" in out


def test_they_stand_below_the_other_rows(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = report(capsys, both)
    assert (code, err) == (0, "")
    assert 0 < out.index("images/s") < out.index("\n\nUnder load · ")


def test_details_of_other_rows_stand_below_their_own_table(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = report(capsys, both, "--details")
    assert code == 0
    assert out.index("hits of top-1") < out.index("Under load · ") < out.index("slowest")


@pytest.mark.parametrize(
    ("format_", "said"),
    [("markdown", "Under load · "), ("latex", "Under load"), ("table", "Under load · ")],
)
def test_a_format_has_both_tables(
    format_: str, said: str, both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = report(capsys, both, "--format", format_)
    assert code == 0
    assert out.index("images/s") < out.index(said)


def test_json_lines_have_both_and_csv_says_what_it_leaves_out(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, err = report(capsys, both, "--format", "jsonl")
    lines = list(map(json.loads, out.splitlines()))
    assert [line.get("scenario") for line in lines] == [None, "server", "single-stream"]
    assert err == ""
    _, out, err = report(capsys, both, "--format", "csv")
    assert len(out.splitlines()) == 2
    assert "name their records, load-*.json" in err
    _, out, err = report(capsys, *both.glob("load-*.json"), "--format", "csv")
    assert len(out.splitlines()) == 3
    assert err == ""


def test_columns_are_of_either_table(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = report(
        capsys, both, "--columns", "loader,scenario,query-p90", "--sort", "query-p90"
    )
    titles = [line.split() for line in out[out.index("Under load") :].splitlines()]
    assert ["loader", "scenario", "ms"] in titles
    assert "images/s" in out[: out.index("Under load")]
    code, _, err = report(capsys, both, "--by", "scenario")
    assert code == 2
    assert "scenario is a column of rows under load, which are not grouped" in err
    _, out, _ = report(capsys, "--columns", "help")
    assert "under load (rows of fastbench loadtest):\n  bounded" in out


def test_a_damaged_one_is_complained_of(loaded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(loaded.glob("load-server*.json"))
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "runs": []}))
    code, out, err = report(capsys, loaded)
    assert code == 1
    assert f"{path} is a damaged record (runs is empty)" in err
    assert "single-stream" in out


def test_python_has_them_beside_the_others(both: Path) -> None:
    records = fastbench.read_records(both)
    assert (len(records), len(records.under_load)) == (1, 2)
    assert repr(records).startswith("<Records: 1, and 2 under load>")
    assert "server: 441 queries/s within 15 ms at p99" in repr(records.under_load)
    assert "single-stream: p90" in repr(records.under_load)
    assert "Under load" in str(records.under_load.table(sort="query-p90"))
    assert "<table>" in records.under_load._repr_html_()
    assert records._repr_html_().count("<table>") == 2
    frame = records.under_load.to_frame()
    assert list(frame["scenario"]) == ["server", "single-stream"]
    assert len((records + records).under_load) == 4
    assert [x.scenario for x in records.under_load[1:]] == ["single-stream"]
    with pytest.raises(UnknownNameError):
        records.under_load.table("query-p77")


def test_python_reads_a_folder_of_them_alone(loaded: Path, tmp_path: Path) -> None:
    records = fastbench.read_records(loaded)
    assert (len(records), len(records.under_load)) == (0, 2)
    assert "No records" not in records._repr_html_()
    (tmp_path / "none").mkdir()
    with pytest.raises(RecordError):
        fastbench.read_records(tmp_path / "none")
