"""`fastbench compare` of rows under load: pairs, verdicts, gates, and its formats."""

import json
from pathlib import Path

import msgspec
import pytest
from builders.load_records import make_load_record
from builders.runs import run, written

import fastbench
from fastbench.cli.main import main
from fastbench.core.errors import RecordError
from fastbench.records.load import LoadRecord
from fastbench.records.store import write_record
from fastbench.report.columns.load import LoadRow
from fastbench.report.compare.load_comparison import ComparedLoad, pair_load

replace = msgspec.structs.replace
SEARCH = make_load_record()


def compared(a: LoadRecord, b: LoadRecord) -> ComparedLoad:
    (found,) = pair_load([LoadRow(record=a)], [LoadRow(record=b)]).rows
    return found


def rows(*records: LoadRecord) -> list[LoadRow]:
    return [LoadRow(record=record) for record in records]


def searched(rate: float) -> LoadRecord:
    """A search that confirmed another rate, with no other figure changed."""
    last = replace(SEARCH.result, offered_per_s=rate)
    return replace(SEARCH, runs=[*SEARCH.runs[:-1], last])


def written_to(folder: Path, *records: LoadRecord) -> Path:
    folder.mkdir()
    for record in records:
        write_record(record, folder)
    return folder


def test_a_searched_rate_is_known_to_the_tolerance() -> None:
    same = compared(SEARCH, SEARCH)
    assert (same.verdict, same.ratio) == ("equal", 1.0)
    assert same.figures[0].text == "441 queries/s"
    for factor, verdict in ((0.97, "equal"), (0.95, "slower"), (1.03, "equal"), (1.06, "faster")):
        low, high = compared(SEARCH, searched(factor * 441.15)).interval or (0.0, 0.0)
        assert (high < 1, low > 1) == (verdict == "slower", verdict == "faster")


def test_a_rate_is_known_as_far_as_its_short_runs_agree() -> None:
    wide = replace(SEARCH, reach=0.1)
    assert compared(SEARCH, SEARCH).interval == pytest.approx((0.98 / 1.02, 1.02 / 0.98))
    assert compared(wide, SEARCH).interval == pytest.approx((0.98 / 1.1, 1.02 / 0.9))
    assert compared(replace(SEARCH, reach=1.5), SEARCH).verdict == "unsure"


def test_a_rate_that_nothing_holds_is_slower() -> None:
    never = make_load_record(slowness=4.0)
    assert never.latency_bounded_per_s is None
    found = compared(SEARCH, never)
    assert (found.verdict, found.ratio, found.speed) == ("slower", None, 0.0)
    assert compared(never, SEARCH).verdict == "faster"
    assert compared(never, never).verdict == "unsure"


def test_percentiles_at_one_rate_and_of_streams() -> None:
    a, b = make_load_record(rate=300.0), make_load_record(rate=300.0, slowness=1.3)
    assert (compared(a, a).verdict, compared(a, a).figures[0].name) == ("equal", "p99")
    found = compared(a, b)
    assert found.verdict == "slower"
    assert found.ratio is not None
    assert found.ratio > 1.2
    assert found.speed == pytest.approx(1 / found.ratio)
    assert compared(b, a).verdict == "faster"
    single = make_load_record("single-stream")
    assert compared(single, single).figures[0].name == "p90"
    slow = make_load_record("single-stream", slowness=1.1)
    assert compared(single, slow).verdict == "slower"


def test_a_figure_of_one_run_without_an_interval_is_unsure() -> None:
    fast, slow = make_load_record("offline"), make_load_record("offline", slowness=2.0)
    found = compared(fast, slow)
    assert (found.verdict, found.ratio) == ("unsure", pytest.approx(0.5))


def test_rows_are_paired_by_how_queries_arrive() -> None:
    single = make_load_record("single-stream")
    found = pair_load(rows(SEARCH, single), rows(single, make_load_record("offline")))
    assert [row.label for row in found.rows] == ["dali · single-stream"]
    assert [row.record.scenario for row in found.only_a] == ["server"]
    assert [row.record.scenario for row in found.only_b] == ["offline"]
    other = replace(single, environment={**single.environment, "cpu": "Another CPU"})
    assert len(pair_load(rows(SEARCH, single), rows(other, SEARCH)).rows) == 2
    later = replace(single, created="2026-01-03T00:00:00+00:00")
    (_, pair) = pair_load(rows(SEARCH, later, single), rows(SEARCH, single)).rows
    assert pair.a.record.created == later.created


def test_unlike_and_invalid_rows_are_not_judged() -> None:
    stricter = make_load_record(rate=200.0)
    assert compared(stricter, make_load_record(rate=300.0)).verdict == "unlike"
    broken = replace(SEARCH, batches={"1": 1})
    assert compared(SEARCH, broken).verdict == "invalid"


def test_a_rate_and_a_latency_have_no_ratio() -> None:
    found = compared(SEARCH, make_load_record(rate=300.0))
    assert (found.verdict, found.ratio, found.speed) == ("unlike", None, None)
    assert found.figure == "in limit, p99"
    never = make_load_record(slowness=4.0)
    assert compared(make_load_record(rate=300.0), never).speed is None


def test_predictions_that_got_worse_under_load() -> None:
    assert SEARCH.served is not None
    wrong = replace(SEARCH, served=replace(SEARCH.served, top1_correct=1700))
    assert compared(SEARCH, wrong).worse == [
        "top-1 of the queries served fell from 92.00 to 85.00 %"
    ]
    changed = replace(SEARCH, served=replace(SEARCH.served, num_changed=100))
    said = compared(SEARCH, changed).worse
    assert any("agreement of the queries served" in text for text in said)
    assert any("B fails a gate that A passes" in text for text in said)
    assert compared(SEARCH, SEARCH).worse == []


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    a = written_to(tmp_path / "a", SEARCH, make_load_record("single-stream"))
    b = written_to(
        tmp_path / "b",
        make_load_record(slowness=1.3),
        make_load_record("single-stream", slowness=1.3),
        make_load_record("offline"),
    )
    return str(a), str(b)


def test_the_command(sides: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *sides]) == 0
    out = capsys.readouterr().out
    assert "under load" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "4.80 ms" not in out  # which is the median
    assert out.count("slower") >= 2
    assert main(["compare", *sides, "--fail-below", "0.9"]) == 1
    assert "certainly short of 0.9 times A's speed" in capsys.readouterr().err
    assert main(["compare", sides[0], sides[0], "--fail-below", "0.9"]) == 0
    assert main(["compare", *sides, "--require-all"]) == 2
    assert "no row under load there is like it" in capsys.readouterr().err


def test_unlike_figures_are_not_judged_though_they_are_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (
        str(written_to(tmp_path / name, record))
        for name, record in (("a", SEARCH), ("b", make_load_record(rate=300.0)))
    )
    assert main(["compare", a, b]) == 0
    out = capsys.readouterr().out
    assert "in limit, p99" in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["compare", a, b, "--fail-below", "0.9"]) == 2
    assert "Measure them alike, or judge all the same" in capsys.readouterr().err
    assert main(["compare", a, b, "--fail-below", "0.9", "--allow-unlike"]) == 2
    assert "A and B have no figure in common (in limit, p99)." in capsys.readouterr().err
    assert main(["compare", a, b, "--fail-accuracy", "--allow-unlike"]) == 0


def test_markdown_and_json(sides: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *sides, "--format", "markdown"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("### fastbench: 2 of 2 rows under load slower")
    assert "| dali · single-stream | p90 |" in text
    assert main(["compare", *sides, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_rows"], len(found["under_load"])) == (0, 2)
    assert {row["verdict"] for row in found["under_load"]} == {"slower"}


def test_beside_rows_of_fastbench_run(
    sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for side in sides:
        written(Path(side), run(100, 101, 99))
    assert main(["compare", *sides]) == 0
    out = capsys.readouterr().out
    assert "no difference found" in out
    assert "dali · single-stream" in out
    found = fastbench.compare(*sides)
    assert (len(found), len(found.under_load)) == (1, 2)
    assert "2 of 2 rows under load slower" in found.headline
    assert "single-stream" in str(found)
    assert found._repr_html_().count("<table>") == 2


def test_python_compares_records(sides: tuple[str, str]) -> None:
    a, b = map(fastbench.read_records, sides)
    found = fastbench.compare(a, b)
    assert (len(found), [row.verdict for row in found.under_load]) == (0, ["slower"] * 2)
    assert "<table>" in found._repr_html_()
    assert repr(found) == "<Comparison: 2 of 2 rows under load slower>"


def test_nothing_in_common(tmp_path: Path) -> None:
    a = written_to(tmp_path / "a", SEARCH, make_load_record("offline"))
    b = written_to(tmp_path / "b", make_load_record("single-stream"))
    what = (
        r"No record in .* has the configuration of one in .* differs from the nearest in scenario"
    )
    with pytest.raises(RecordError, match=what):
        fastbench.compare(str(a), str(b))
