"""`fastbench report`: what a sheet of records holds, and what its command does; no format."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_compare import DATA, broken, parity_record, run, written
from test_results import make

from fastbench import cli
from fastbench.errors import UnknownNameError, UsageError
from fastbench.findings import Parity, Pixels
from fastbench.measurements import Ceiling, GpuTelemetry, Telemetry, Throughput
from fastbench.report.columns import COLUMNS, SETS, choose, find, list_all
from fastbench.report.contrast import parse_price
from fastbench.report.rows import Row, read_rows
from fastbench.report.sheet import Sheet, View, make_sheet
from fastbench.results import Record
from fastbench.storage import write_parity_record

GOLDEN = Path(__file__).parent / "golden"


def pixels(mean: float = 0.1, most: float = 1.0, agreeing: int = 128) -> Pixels:
    return Pixels(
        num_samples=128,
        max_levels=most,
        mean_levels=mean,
        share_above_one=0.0,
        worst_sample="a/b.jpg",
        worst_mean_levels=0.3,
        max_logits=0.1,
        mean_logits=0.01,
        num_agreeing=agreeing,
        cause=None,
    )


def parity(found: Pixels | None = None, **changes: object) -> Parity:
    made = Parity(
        reference="torchvision",
        is_reference=False,
        num_samples=1000,
        num_agreeing=998,
        only_reference_correct=1,
        only_row_correct=2,
        pixels=found or pixels(),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def on_gpu(name: str, watts: float | None = None, wall_s: float = 10.0) -> dict[str, object]:
    """Changes that put a record on a GPU, with or without telemetry."""
    changes: dict[str, object] = {
        "device": "cuda:0",
        "environment": {"cpu": "A CPU", "num_cores": 16, "gpus": [{"name": name}]},
    }
    if watts is not None:
        changes["telemetry"] = Telemetry(
            wall_s=wall_s,
            interval_s=0.1,
            num_readings=2,
            num_images=1000,
            num_cores=16,
            cpu_s=20.0,
            foreign_cpu_s=0.0,
            rss_bytes=[1_000_000_000, 2_000_000_000],
            gpu=GpuTelemetry(
                energy_j=watts * wall_s,
                power_w=[watts],
                power_limit_w=700.0,
                sm_utilization_pct=[],
                memory_utilization_pct=[],
                jpeg_utilization_pct=[],
                sm_clock_mhz=[],
                temperature_c=[],
                memory_used_bytes=[3_000_000_000, 5_000_000_000],
                throttle_reasons=[],
                num_foreign_processes=0,
            ),
        )
    return changes


def rows_of(*records: Record) -> list[Row]:
    return [Row(record=record, path=Path(f"{i}.json")) for i, record in enumerate(records)]


def sheet_of(*records: Record, **view: object) -> Sheet:
    sheet, complaints = make_sheet(rows_of(*records), View(**view))  # type: ignore[arg-type]
    assert complaints == []
    assert sheet is not None
    return sheet


def names_of(sheet: Sheet) -> list[str]:
    return [column.name for column in sheet.columns]


def texts(sheet: Sheet, name: str) -> list[str]:
    """A column's texts, the best ones in asterisks."""
    index = names_of(sheet).index(name)
    cells = [line.cells[index] for line in sheet.lines]
    return [f"*{cell.text}*" if cell.is_best else cell.text for cell in cells]


def value(name: str, record: Record, **row: object) -> object:
    return Row(record=record, path=Path("r.json"), **row).value(COLUMNS[name])  # type: ignore[arg-type]


def test_what_columns_read() -> None:
    record = run(
        99,
        100,
        103,
        **on_gpu("NVIDIA H100", watts=50.0),
        compile_mode="default",
        parity=parity(pixels(mean=0.164, most=1.0)),
        loader_settings={"decoder": "mixed"},
        loader_ceiling=Ceiling(num_images=1000, wall_s=5.0),
        model_ceiling=Ceiling(num_images=512, wall_s=4.0),
    )
    expected = {
        "device": "NVIDIA H100",
        "model": "sample",
        "decoder": "mixed",
        "batch": 32,
        "compile": "default",
        "images/s": 100,
        "spread": 0.04,
        "loader-ceiling": 200,
        "model-ceiling": 125,  # 1,000 of the 1,024 places of 32 batches
        "of-ceiling": 0.8,
        "bound": "model",
        "stall": 0.25,
        "step-p50": 0.3125,
        "step-p99": None,  # needs 662 steps
        "batch-latency": 0.2,
        "images/J": 2.0,
        "watts": 50,
        "cpu-s": 20,
        "gpu-memory": 5e9,
        "rss": 2e9,
        "jpeg": 11e6,
        "compile-s": 0.3,
        "cost": 10.0,  # 3.6 dollars an hour, 100 images/s
        "top-1": 0.923,
        "delta-top-1": 0.001,
        "agreement": 0.998,
        "parity-max": 1.0,
        "parity-mean": 0.164,
        "parity": "exact",
        "status": "ok",
        "cpu": "A CPU",
        "date": "2026-01-02T03:04:05+00:00",
        "file": "r.json",
    }
    assert {name: value(name, record, price_per_h=3.6) for name in expected} == pytest.approx(
        expected
    )


def test_how_columns_are_written() -> None:
    given = {
        "images/s": (1234.5, "1,234"),
        "spread": (0.0412, "4.12"),
        "of-ceiling": (0.811, "81"),
        "batch-latency": (0.02, "20.0"),
        "gpu-memory": (5_432_000_000, "5.43"),
        "parameters": (25_557_032, "25.6"),
        "top-1": (0.923, "92.30"),
        "delta-top-1": (-0.002, "−0.20"),
        "parity-mean": (0.00171, "0.00171"),
        "cost": (0.0428, "0.0428"),
        "ratio": (1.25, "1.25x"),
        "date": ("2026-01-02T03:04:05+00:00", "2026-01-02 03:04"),
        "digest": ("a" * 64, "a" * 10),
        "model": (None, "–"),
    }
    shown = {name: COLUMNS[name].text(value) for name, (value, _) in given.items()}  # type: ignore[arg-type]
    assert shown == {name: text for name, (_, text) in given.items()}
    assert COLUMNS["batch-latency"].title == "latency ms"
    assert COLUMNS["batch-latency"].raw_title == "batch-latency [s]"
    assert COLUMNS["images/s"].raw_title == "images/s"


def test_verdicts_on_parity() -> None:
    found = {
        "exact": parity(),
        "equivalent": parity(pixels(mean=0.4, most=30.0)),
        "different": parity(pixels(mean=0.6, most=30.0)),
        "reference": parity(is_reference=True),
    }
    assert {name: value("parity", run(100, parity=each)) for name, each in found.items()} == {
        name: name for name in found
    }
    assert value("parity", run(100, parity=parity(pixels(agreeing=100)))) == "different"
    assert value("parity", run(100, parity=None)) is None
    assert value("agreement", run(100, parity=parity(is_reference=True))) is None


@pytest.mark.parametrize("column", COLUMNS.values(), ids=lambda column: column.name)
def test_every_column_is_whole(column: object) -> None:
    assert column.meaning, column  # type: ignore[attr-defined]
    assert len(f"{column.name}  {column.meaning}") <= 160  # type: ignore[attr-defined]
    for version in (1, 2, 3):  # of every record that can be read
        for row in read_rows([GOLDEN / f"record-v{version}.json"]).rows:
            found = row.value(column)  # type: ignore[arg-type]
            assert column.text(found)  # type: ignore[attr-defined]
            column.detail_of(row)  # type: ignore[attr-defined]


def test_columns_by_name() -> None:
    assert [choice.column.name for choice in choose("loader, images/s,TOP-1")] == [
        "loader", "images/s", "top-1",
    ]  # fmt: skip
    assert find("gpu").name == "device"
    assert find("step_p50").name == "step-p50"
    mixed = choose("latency,cost,images/s")
    assert [choice.column.name for choice in mixed] == [*SETS["latency"], "cost"]
    for text, said in {
        "imags/s": "no column 'imags/s'. Did you mean 'images/s'?",
        "loader,acuracy": "Did you mean 'accuracy'?",
        " , ": "--columns is empty",
    }.items():
        with pytest.raises(UnknownNameError, match=r"--columns help") as raised:
            choose(text)
        assert said in str(raised.value)
    assert not {*SETS} & {*COLUMNS}
    listed = list_all()
    for name, column in COLUMNS.items():
        assert name in listed
        assert column.meaning in listed


def test_what_is_constant_stands_above() -> None:
    sheet = sheet_of(
        run(100, parity=parity()),
        run(50, loader="torchvision", parity=parity(is_reference=True)),
    )
    assert names_of(sheet) == [
        "loader", "images/s", "of-ceiling", "batch-latency",
        "top-1", "top-5", "agreement", "parity",
    ]  # fmt: skip
    assert sheet.common == [
        "1,000 JPEGs, 110.0 kB each · sample · A CPU · float32 · batch 32 · eager · 2 threads · "
        "page cache warm",
        "2 cores · 2026-01-02",
    ]
    assert sheet.footnotes == []
    assert sheet.legend[0][0] == "images/s"
    wider = sheet_of(run(100), run(50, dtype="float16"), run(90, dtype="float16", batch_size=64))
    assert names_of(wider)[:3] == ["dtype", "batch", "images/s"]
    assert "dali" in wider.common[0]


def test_rows_that_look_alike_are_told_apart() -> None:
    later = "2026-02-02T03:04:05+00:00"
    assert names_of(sheet_of(run(100), run(90, created=later)))[:2] == ["loader", "date"]
    same = sheet_of(run(100), run(90))
    assert names_of(same)[:2] == ["loader", "file"]
    assert names_of(sheet_of(run(100), run(90, num_threads=4)))[:2] == ["loader", "threads"]


def test_columns_that_were_asked_for_are_shown_as_they_are() -> None:
    sheet = sheet_of(run(100), run(90, dtype="float16"), columns="model,watts,dtype")
    assert names_of(sheet) == ["model", "watts", "dtype"]
    assert texts(sheet, "watts") == ["–", "–"]
    named = sheet_of(run(100), columns="loaders")
    assert names_of(named) == [
        "loader", "loader-ceiling", "images/s", "top-1", "agreement",
    ]  # fmt: skip
    assert "In no record: loader CPU s / 1,000, max level, mean level, parity." in named.remarks


def test_the_best_is_marked_among_rows_that_can_be_ranked() -> None:
    different = parity(pixels(mean=3.0, most=200.0))
    other = {**DATA, "digest": "b" * 64}
    cold = {**DATA, "page_cache": "cold"}
    sheet = sheet_of(
        run(100, loader="a"),
        run(200, loader="b"),
        run(900, loader="c", parity=different),
        broken(run(800, loader="d")),
        run(700, loader="e", data=other),
        run(600, loader="f", data=cold),
        run(500, loader="g", config={"quick": True}),
    )
    assert texts(sheet, "images/s") == ["100", "*200*", "900", "800", "700", "600", "500"]
    assert texts(sheet, "status") == [
        "ok", "ok", "different", "INVALID", "ok", "ok", "ok",
    ]  # fmt: skip
    marks = [[note.mark for note in line.footnotes] for line in sheet.lines]
    assert marks == [[], [], [], [], ["a"], ["b"], ["c"]]
    assert [note.text for note in sheet.footnotes] == [
        "image set 1,000 images, digest bbbbbbbbbb (others: 1,000 images, digest aaaaaaaaaa); not "
        "ranked",
        "page cache cold (others: warm); not ranked",
        "measured with --quick: a first look, not a result; not ranked",
    ]
    assert "c: different: pixels differ by 3.00 levels in the mean (gate: 0.5)." in sheet.remarks
    assert "d: INVALID: the steps take longer than the window." in sheet.remarks


def test_a_gate_that_did_not_pass() -> None:
    lost = parity(only_reference_correct=30, only_row_correct=2)
    sheet = sheet_of(run(100), run(200, loader="other", parity=lost))
    assert texts(sheet, "status") == ["ok", "FAIL"]
    assert texts(sheet, "images/s") == ["100", "200"]  # one row alone is not the best
    assert any("other: FAIL: 30 images are lost" in text for text in sheet.remarks)


def test_equal_texts_are_equally_good() -> None:
    sheet = sheet_of(run(100.01, loader="a"), run(100.04, loader="b"), run(90, loader="c"))
    assert texts(sheet, "images/s") == ["*100*", "*100*", "90.0"]
    assert texts(sheet, "top-1") == ["92.30"] * 3
    assert texts(sheet_of(run(100), run(50, loader="x")), "batch-latency") == ["200", "200"]


def test_what_differs_and_is_not_shown_is_flagged() -> None:
    other = {"resize": 232, "crop": 224, "source": "X"}
    sheet = sheet_of(
        run(100, preprocess={"resize": 256, "crop": 224}),
        run(100, preprocess={"resize": 256, "crop": 224}, batch_size=64),
        run(100, preprocess=other, dtype="float16"),
        columns="images/s",
    )
    assert [note.text for note in sheet.footnotes] == [
        "batch size 64 (others: 32)",
        "dtype float16 (others: float32)",
        "preprocessed otherwise: resize 232 (others: 256)",
    ]
    assert [[note.mark for note in line.footnotes] for line in sheet.lines] == [
        [],
        ["a"],
        ["b", "c"],
    ]
    shown = sheet_of(run(100), run(100, batch_size=64), columns="batch,images/s")
    assert shown.footnotes == []


def test_many_values_share_a_footnote() -> None:
    sheet = sheet_of(*(run(100, batch_size=2**i) for i in range(5)), columns="images/s")
    assert [note.text for note in sheet.footnotes] == [
        "another batch size (2, 4, 8, 16; others: 1)"
    ]


def test_an_old_record_is_flagged_and_what_it_does_not_know_is_not() -> None:
    rows = read_rows([GOLDEN / "record-v3.json"]).rows
    old = dataclasses.replace(rows[0], version=2, path=Path("old.json"))
    sheet, _ = make_sheet([*rows, old], View())
    assert sheet is not None
    assert [note.text for note in sheet.footnotes] == [
        "a record of schema version 2, which lacks what later ones have"
    ]
    unknown = run(100, data={**DATA, "page_cache": None}, parity=None)
    assert sheet_of(unknown, run(90, loader="x")).footnotes == []


def test_sorting() -> None:
    records = [
        run(100, loader="a"),
        run(300, loader="b", parity=parity(pixels(mean=3.0))),
        run(200, loader="c", accuracy=None),
    ]

    def order(**view: object) -> list[str]:
        return texts(sheet_of(*records, **view), "loader")

    assert order() == ["a", "b", "c"]
    assert order(reverse=True) == ["c", "b", "a"]
    assert order(sort=COLUMNS["images/s"]) == ["c", "a", "b"]  # different: after the others
    assert order(sort=COLUMNS["images/s"], reverse=True) == ["a", "c", "b"]
    assert order(sort=COLUMNS["loader"], reverse=True) == ["c", "b", "a"]
    assert order(sort=COLUMNS["top-1"]) == ["a", "b", "c"]  # unknown: last


def test_groups_with_ratios() -> None:
    records = [
        run(99, 100, 101, **on_gpu("NVIDIA H200")),
        run(79, 80, 81, **on_gpu("NVIDIA H100")),
        run(50, loader="torchvision", **on_gpu("NVIDIA H200")),
        run(49, 50, 51, batch_size=64, **on_gpu("NVIDIA H100")),
    ]
    sheet = sheet_of(*records, by=find("gpu"))
    assert [group.heading for group in sheet.groups] == ["NVIDIA H200", "NVIDIA H100"]
    assert names_of(sheet)[:4] == ["loader", "batch", "images/s", "ratio"]
    assert texts(sheet, "ratio") == ["1.00x", "1.00x", "0.80x", "–"]
    assert sheet.remarks == ["Ratios are to NVIDIA H200."]
    ratio = sheet.groups[1].lines[0].cells[names_of(sheet).index("ratio")]
    assert ratio.detail == "0.78–0.82"

    other = sheet_of(*records, by=find("gpu"), baseline="h100")
    assert [group.heading for group in other.groups] == ["NVIDIA H100", "NVIDIA H200"]
    assert sorted(texts(other, "ratio")) == ["1.00x", "1.00x", "1.25x", "–"]

    across = sheet_of(*records, across=find("gpu"), baseline="NVIDIA H100")
    assert [group.heading for group in across.groups] == [
        "dali · batch 32",
        "torchvision · batch 32",
        "dali · batch 64",
    ]
    assert texts(across, "device") == [
        "NVIDIA H100", "NVIDIA H200", "NVIDIA H200", "NVIDIA H100",
    ]  # fmt: skip
    assert texts(across, "ratio") == ["1.00x", "*1.25x*", "–", "1.00x"]


def test_no_ratio_of_what_is_unlike() -> None:
    cold = {**DATA, "page_cache": "cold"}
    sheet = sheet_of(run(100), run(200, dtype="float16"), by=COLUMNS["dtype"])
    assert texts(sheet, "ratio") == ["1.00x", "2.00x"]
    sheet = sheet_of(run(100), run(200, dtype="float16", data=cold), by=COLUMNS["dtype"])
    assert texts(sheet, "ratio") == ["1.00x", "–"]
    other = {**DATA, "digest": "b" * 64}
    sheet = sheet_of(run(100), run(200, dtype="float16", data=other), by=COLUMNS["dtype"])
    assert texts(sheet, "ratio") == ["1.00x", "–"]
    assert "ratio" not in names_of(sheet_of(run(100), by=COLUMNS["dtype"]))


def test_groups_of_numbers_are_in_order() -> None:
    sheet = sheet_of(*(run(100, batch_size=size) for size in (64, 8, 32)), by=COLUMNS["batch"])
    assert [group.heading for group in sheet.groups] == ["batch 8", "batch 32", "batch 64"]


def test_prices() -> None:
    records = [
        run(100, **on_gpu("NVIDIA H200", watts=100.0)),
        run(100, **on_gpu("NVIDIA H100 80GB HBM3")),
        run(100),
    ]
    prices = {"NVIDIA H200": 3.6, "h100": 1.8}
    sheet = sheet_of(*records, by=find("gpu"), prices=prices)
    assert texts(sheet, "cost") == ["10", "5", "–"]
    assert (
        "Prices of an hour: NVIDIA H200 $3.6, NVIDIA H100 80GB HBM3 $1.8; none was given for A CPU."
    ) in sheet.remarks
    assert texts(sheet_of(*records, prices={"a cpu": 0.36}), "cost")[2] == "1"
    with pytest.raises(UnknownNameError, match="Did you mean 'NVIDIA H200'"):
        sheet_of(*records, prices={"NVIDIA H20O": 1.0})
    assert parse_price("NVIDIA H200=$3.9") == ("NVIDIA H200", 3.9)
    for text in ("NVIDIA H200", "=3", "H200=", "H200=-1", "H200=nan", "H200=inf"):
        with pytest.raises(UsageError, match="Write it as DEVICE=DOLLARS"):
            parse_price(text)


def test_views_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="two ways to group"):
        View(by=COLUMNS["model"], across=COLUMNS["loader"])
    with pytest.raises(UsageError, match="Give one of them too"):
        View(baseline="NVIDIA H100")
    with pytest.raises(UnknownNameError, match="No record has 'x' as the dtype to be the base"):
        sheet_of(run(100), by=COLUMNS["dtype"], baseline="x")


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
    assert cli.main(argv) == 0
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
    (folder / "later.json").write_text('{"schema_version": 99}')
    (folder / "other.json").write_text('{"a": 1}')
    write_parity_record(parity_record(), folder)
    (folder / "words.txt").write_text("passed over without a word")
    stored = json.loads(good.read_text())
    stored["latency"]["samples_s"] = "soon"
    (folder / "soon.json").write_text(json.dumps(stored))
    assert cli.main(["report", str(tmp_path / "all"), "--format", "jsonl"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(good)]
    assert "text.json is not a record: it is not JSON" in err
    assert "later.json has schema_version 99" in err
    assert "soon.json is a damaged record" in err
    assert "Passed over, for they are no rows" in err
    assert err.count("\n") == 4


def test_nothing_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    other.mkdir()
    path = write_parity_record(parity_record(), other)
    for argv, code, said in [
        ([], 2, "There is nothing to report. Name"),
        ([str(empty)], 1, f"The folder {empty} holds no records. Name"),
        ([str(tmp_path / "gone")], 1, "cannot be read (No such file or directory)"),
        ([str(path)], 1, "`fastbench parity`, not of a row"),
        ([str(other)], 1, "There are no records of `fastbench run` there."),
        ([str(empty), "--columns", "x-y-z"], 2, "There is no column 'x-y-z'"),
        ([str(empty), "--sort", "model,loader"], 2, "There is no column 'model,loader'"),
    ]:
        assert cli.main(["report", *argv]) == code, argv
        out, err = capsys.readouterr()
        assert said in err
        assert out == ""


def test_each_file_is_read_once(tmp_path: Path) -> None:
    first = written(tmp_path, run(100, created="2026-03-01T00:00:00+00:00"))
    second = written(tmp_path, run(100, created="2026-02-01T00:00:00+00:00"))
    assert [row.path for row in read_rows([tmp_path, first]).rows] == [second, first]
    assert [row.path for row in read_rows([first, tmp_path]).rows] == [first, second]


def test_a_record_without_time_is_invalid_and_shown() -> None:
    throughput = Throughput(
        num_images=1000, num_epochs=1, batch_size=32, wall_s=0.0, step_times_s=[0.0] * 32
    )
    sheet = sheet_of(run(100), make(throughput=throughput, loader="x", data=DATA))
    assert texts(sheet, "images/s") == ["100", "–"]
    assert texts(sheet, "status") == ["ok", "INVALID"]


def test_report_imports_nothing_heavy() -> None:
    argv = ["report", str(GOLDEN), "--by", "gpu"]
    code = (
        "import sys, fastbench.cli\n"
        f"code = fastbench.cli.main({argv})\n"
        "heavy = {'torch', 'torchvision', 'nvidia', 'numpy', 'scipy', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "NVIDIA H100 80GB HBM3" in done.stdout
