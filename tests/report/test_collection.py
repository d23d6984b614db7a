"""Records in Python: picked, shown, drawn, compared, and as a data frame."""

import sys
import warnings
from pathlib import Path

import pytest
from builders.records import parity
from builders.runs import broken, run, written
from rich.console import Console

from fastbench.core.errors import InstallationError, UnknownNameError
from fastbench.records.record import Record
from fastbench.report.collection import Records
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.compare.comparison import Comparison
from fastbench.report.compare.pairing import Side, pair_sides, runs_of
from fastbench.report.compare.set_comparison import compare_sets


def records(*of: Record) -> Records:
    return Records(Row(record=record, path=Path(f"{i}.json")) for i, record in enumerate(of))


def some() -> Records:
    return records(
        run(99, 100, 101, loader="dali", parity=parity()),
        run(199, 200, 201, loader="opencv", batch_size=64, parity=parity()),
        run(149, 150, 151, loader="dali", model="<b>", config={"quick": True}, accuracy=None),
    )


def shown(thing: object, width: int = 100) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(thing)
    return capture.get()


def test_records_are_a_sequence_of_records() -> None:
    found = some()
    assert len(found) == 3
    assert found[1].loader == "opencv"
    assert [record.loader for record in found[1:]] == ["opencv", "dali"]
    assert len(found[:1] + found[2:]) == 2
    assert found[0].images_per_s == pytest.approx(100)
    assert (found[0].top1, found[0].top5, found[2].top1) == (0.923, 0.99, None)
    assert found[0].latency_s == 0.2
    assert repr(found).splitlines()[:2] == [
        "<Records: 3>",
        "  sample · dali · batch 32: 100.0 images/s",
    ]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"loader": "dali"}, [0, 2]),
        ({"loader": ["dali", "opencv"]}, [0, 1, 2]),
        ({"loader": "dali", "model": "sample"}, [0]),
        ({"batch_size": 64}, [1]),
        ({"batch": 64}, [1]),
        ({"quick": True}, [2]),
        ({"quick": False}, [0, 1]),
        ({"engine": "eager"}, [0, 1, 2]),
        ({"ranks": 1}, [0, 1, 2]),
        ({"ranks": 2}, []),
        ({"device": "A CPU"}, [0, 1, 2]),
        ({"device": "cpu"}, [0, 1, 2]),
        ({"process": "the caller's process"}, []),
        ({"top1": None}, [2]),
    ],
)
def test_filters_by_attributes_and_columns(wanted: dict[str, object], left: list[int]) -> None:
    found = some()
    assert [row.path.stem for row in found.filter(**wanted).rows] == list(map(str, left))


def test_filters_by_a_predicate_and_refuses_a_misspelt_name() -> None:
    assert len(some().filter(lambda record: record.images_per_s > 120, loader="dali")) == 1
    with pytest.raises(UnknownNameError, match=r"no column 'lodaer'\. Did you mean 'loader'"):
        some().filter(lodaer="dali")
    with pytest.raises(UnknownNameError, match="Did you mean 'images_per_s'"):
        some().filter(images_per_=1)


def test_the_table_is_the_one_of_the_report() -> None:
    table = some().table("loader,images/s", sort="images/s")
    lines = str(table).splitlines()
    assert [line.split()[0] for line in lines if line[:4] in ("open", "dali")] == [
        "opencv",
        "dali",
        "dali",
    ]
    assert shown(table, 120).rstrip() == str(table).rstrip()
    assert "opencv" in shown(some())
    assert str(some().table(["loader", "images/s"], sort="images/s")) == str(table)
    with pytest.raises(UnknownNameError, match="Did you mean 'loader'"):
        some().table("lodaer")


def test_html_escapes_what_records_hold_and_has_no_colours() -> None:
    html = some()._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b><" not in html
    assert "<td" in html
    assert "color" not in html
    assert "background" not in html
    evil = records(run(1, loader="\u202e\udcff<script>"), run(2))
    assert r"\u202e\udcff&lt;script&gt;" in evil._repr_html_()


def test_no_records_are_said_to_be_none() -> None:
    none = some().filter(loader="spdl")
    assert (str(none.table()), none._repr_html_()) == ("No records.", "No records.")
    assert repr(none) == "<Records: 0>"
    assert "No records." in shown(none)
    assert list(none.to_frame("loader,images/s")) == ["loader", "images/s"]


def test_a_frame_has_raw_numbers_and_the_ends_of_intervals() -> None:
    frame = some().to_frame()
    assert len(frame) == 3
    assert set(COLUMNS) <= set(frame)
    assert list(frame["images/s low"]) == pytest.approx([99, 199, 149])
    assert list(frame["images/s high"]) == pytest.approx([101, 201, 151])
    assert frame["batch-latency"][0] == 0.2  # seconds
    assert frame["top-1"][0] == 0.923
    assert frame["top-1"].isna().tolist() == [False, False, True]


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InstallationError, match=r'pip install "fastbench\[pandas\]"'):
        some().to_frame()


def test_a_plot_is_a_figure_that_a_notebook_can_show() -> None:
    figure = some()[:2].plot("loaders")
    assert figure.axes
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(UnknownNameError, match=r"no plot 'loader'\. Did you mean 'loaders'"):
        some().plot("loader")


def test_a_record_that_contradicts_itself_is_shown_as_invalid() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "INVALID" in str(records(broken(run(800)), run(700)).table())


def compared(a: Records, b: Records) -> Comparison:
    side_a, side_b = (Side(runs_of(side.rows), []) for side in (a, b))
    return Comparison(compare_sets(pair_sides(side_a, side_b, "a", "b"), "a", "b"))


def test_a_comparison_has_pairs_with_ratios_and_verdicts() -> None:
    a = records(run(99, 100, 101, loader="dali"), run(199, 200, 201, loader="opencv"))
    b = records(run(89, 90, 91, loader="dali"), run(199, 200, 202, loader="opencv"))
    found = compared(a, b)
    assert [pair.verdict for pair in found] == ["slower", "equal"]
    assert found[0].ratio == pytest.approx(0.9, abs=0.001)
    assert found[0].interval is not None
    assert found[0].interval[0] < 0.9 < found[0].interval[1]
    assert found[0].in_words.startswith("B is 0.9")
    assert found[0].label == "dali"
    assert "1 of 2 rows slower" in found.headline
    assert "2 rows: " in repr(found)
    assert "slower" in str(found)
    assert "slower" in shown(found)
    assert "<td" in found._repr_html_()
    assert "dali" in found._repr_html_()
    single = compared(a[:1], b[:1])
    assert "Verdict:" in str(single)
    assert single[0].verdict == "slower"


def test_a_comparison_names_the_callers_process() -> None:
    a, b = records(run(99, 100, 101)), records(run(99, 100, 102, process="caller"))
    found = compared(a, b)
    assert [(x.name, x.a, x.b) for x in found.found.differences] == [
        ("process", "a process of its own", "the caller's process")
    ]
    table = str((a + b).table())
    assert "the caller's process" in table


def test_records_on_disk_keep_the_process(tmp_path: Path) -> None:
    from fastbench.records.store import read_record

    assert read_record(written(tmp_path, run(100, process="caller"))).process == "caller"
