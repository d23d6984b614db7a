"""The table of rows under load, and what is said below it."""

import msgspec
import pytest
from builders.load_records import make_load_record
from rich.console import Console

from fastbench.records.load import FailedQueries, LoadRecord
from fastbench.report.columns.load import LoadRow
from fastbench.report.columns.registry import OF_LOAD, find
from fastbench.report.formats import export
from fastbench.report.formats.load_screen import print_load
from fastbench.report.sheet.load_sheet import make_load_sheet
from fastbench.report.sheet.table import Sheet
from fastbench.report.sheet.view import View

replace = msgspec.structs.replace
SEARCH = make_load_record(num=8000)
SCENARIOS = [SEARCH, *(make_load_record(x) for x in ("single-stream", "multi-stream", "offline"))]  # type: ignore[arg-type]


def screen(*records: LoadRecord, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        print_load(records, console)
    return capture.get()


def one_line(text: str) -> str:
    return " ".join(text.split())


def sheet_of(*records: LoadRecord, **view: object) -> Sheet:
    sheet, complaints = make_load_sheet([LoadRow(record=x) for x in records], View(**view))  # type: ignore[arg-type]
    assert sheet is not None
    assert complaints == []
    return sheet


def value(name: str, record: LoadRecord) -> object:
    return LoadRow(record=record).value(OF_LOAD[name])


def test_one_line_has_the_rate_the_percentiles_and_what_was_served() -> None:
    lines = screen(SEARCH).splitlines()
    (row,) = (line.split() for line in lines if line.startswith("dali   "))
    assert " ".join(row) == "dali 441 442 8.16 11.1 14.3 16.0 1.98 92.00 99.80 yes"


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_and_is_one_table(width: int) -> None:
    text = screen(*SCENARIOS[:2], SCENARIOS[3], width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("────\n") == 1


def test_what_the_search_did_and_where_the_time_goes() -> None:
    text = one_line(screen(SEARCH))
    said = "search 7 short runs at 100 to 800 queries/s, 5 of them within the limit and 1 long run;"
    assert said in text
    assert "(tolerance 2 %) run 8,000 queries at 441/s in 18.1 s, to confirm; 43 (0.54 %)" in text
    assert "time at p50 (8.16 ms) queue 6 %, decode 18 %, batch wait 25 %, model 49 %" in text
    assert "slowest a/0.jpg, 18.1 ms, 15.8 s after the first: queue 8 %" in text
    assert "No MLPerf result: shorter than its rules ask for" in text


def test_a_run_that_is_not_valid_says_why_and_bounds_nothing() -> None:
    over = make_load_record(rate=800.0)
    assert value("bounded", over) is None
    assert value("valid", over) == "no"
    assert "dali · server: not valid: the 99th percentile of the latency is" in one_line(
        screen(over)
    )


def test_queries_that_failed_are_named() -> None:
    failed = [FailedQueries(name="b/1.jpg", why="it is no JPEG", count=3)]
    text = one_line(screen(replace(SEARCH, failed=failed)))
    assert "failed b/1.jpg (3 queries): it is no JPEG" in text


def test_a_percentile_of_too_few_queries_is_not_shown() -> None:
    assert value("query-p99.9", make_load_record(num=2000)) is None
    assert value("query-p99", make_load_record(num=2000)) is not None
    assert value("query-p99", make_load_record(num=600, rate=200.0)) is None
    assert value("query-p99.9", SEARCH) == SEARCH.result.percentile_s(99.9)


def test_queries_that_come_all_at_once_have_no_latency_of_their_own() -> None:
    offline = make_load_record("offline")
    assert value("query-p50", offline) is None
    text = one_line(screen(offline))
    assert "time in the mean" in text
    assert "slowest" not in text


def test_a_percentile_has_an_interval_of_order_statistics() -> None:
    row = LoadRow(record=SEARCH)
    low, high = row.bounds(OF_LOAD["query-p99"]) or (0.0, 0.0)
    p99 = row.value(OF_LOAD["query-p99"])
    assert isinstance(p99, float)
    assert low < p99 < high
    assert 0.9 * p99 < low
    assert high < 1.1 * p99


def test_a_record_that_contradicts_itself_is_invalid_and_says_nothing_more() -> None:
    broken = replace(SEARCH, batches={"1": 1})
    text = screen(broken)
    assert "INVALID: the batches have 1 images, and the queries 8,000" in one_line(text)
    assert "slowest" not in text


def test_what_all_rows_share_stands_above_and_what_differs_in_their_names() -> None:
    sheet = sheet_of(*SCENARIOS)
    assert sheet.common[0].startswith("Under load · 1,000 JPEGs")
    assert "limit" not in " ".join(sheet.common)  # which only one of them has
    assert [line.name for line in sheet.lines] == [f"dali · {x.scenario}" for x in SCENARIOS]
    assert "limit 15 ms at p99" in sheet_of(SEARCH).common[0]


def test_columns_by_name_and_order() -> None:
    sheet = sheet_of(*SCENARIOS, columns="scenario,query-p90,queries", sort=find("query-p90"))
    assert [column.name for column in sheet.columns] == ["scenario", "query-p90", "queries"]
    order = ["single-stream", "server", "multi-stream", "offline"]
    assert [line.cells[0].text for line in sheet.lines] == order


def test_every_format_has_the_table() -> None:
    sheet = sheet_of(*SCENARIOS)
    markdown = export.to_markdown(sheet)
    assert "| dali | server | 441 | 442 | 8.16 |" in markdown
    assert "- dali · server: time: at p50 (8.16 ms)" in markdown
    assert "8.16" in export.to_latex(sheet)
    data = sheet_of(*SCENARIOS, is_data=True)
    head, first, *_ = export.to_csv(data).splitlines()
    fields = dict(zip(head.split(","), first.split(","), strict=False))
    assert fields["scenario"] == "server"
    assert float(fields["query-p99 [s]"]) == SEARCH.result.percentile_s(99)
    assert float(fields["query-p99 low [s]"]) < float(fields["query-p99 high [s]"])
    assert '"scenario": "offline"' in export.to_jsonl(data)
