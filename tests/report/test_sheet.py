"""A sheet of records: which columns, what is best, what is flagged, ratios and prices."""

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest
from builders.paths import GOLDEN, RECORDS
from builders.records import parity, pixels
from builders.runs import DATA, broken, on_gpu, run, telemetry, timed
from builders.sheets import sheet_of

from fastbench.core.errors import UnknownNameError, UsageError
from fastbench.records.accuracy import Accuracy
from fastbench.records.record import UNREAD, Record
from fastbench.report.columns.registry import COLUMNS, find
from fastbench.report.formats.export import to_jsonl
from fastbench.report.formats.terminal import render
from fastbench.report.read import read_rows
from fastbench.report.sheet.ratios import parse_price
from fastbench.report.sheet.sheet import make_sheet
from fastbench.report.sheet.table import Sheet
from fastbench.report.sheet.view import View

SYNTHETIC = RECORDS / "imagenet-250" / "squeezenet1_0-synthetic-float32.json"


def names_of(sheet: Sheet) -> list[str]:
    return [column.name for column in sheet.columns]


def texts(sheet: Sheet, name: str) -> list[str]:
    """A column's texts, the best ones in asterisks."""
    index = names_of(sheet).index(name)
    cells = [line.cells[index] for line in sheet.lines]
    return [f"*{cell.text}*" if cell.is_best else cell.text for cell in cells]


def test_what_is_constant_stands_above() -> None:
    sheet = sheet_of(
        run(100, parity=parity()),
        run(50, loader="torchvision", parity=parity(is_reference=True)),
    )
    assert names_of(sheet) == [
        "loader", "images/s", "of-ceiling", "step", "batch-latency",
        "top-1", "top-5", "agreement",
    ]  # fmt: skip
    assert sheet.common == [
        "1,000 JPEGs, 110.0 kB each · sample · A CPU · float32 · batch 32 · eager · 2 threads · "
        "warm page cache",
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
    repeats = [run(100), run(90, created="2026-01-02T03:04:35+00:00")]
    sheet = sheet_of(*repeats, by=COLUMNS["date"])
    assert [x.heading for x in sheet.groups] == ["2026-01-02 03:04:05", "2026-01-02 03:04:35"]
    sheet = sheet_of(*repeats, columns="all")
    for width in (40, 200):
        table = "\n".join(line.plain for line in render(sheet, width))
        assert "03:04:05" in table
        assert "03:04:35" in table
    same = sheet_of(run(100), run(90))
    assert names_of(same)[:2] == ["loader", "file"]
    assert names_of(sheet_of(run(100), run(90, num_threads=4)))[:2] == ["loader", "threads"]


def test_columns_that_were_asked_for_are_shown_as_they_are() -> None:
    sheet = sheet_of(run(100), run(90, dtype="float16"), columns="model,watts,dtype")
    assert names_of(sheet) == ["model", "watts", "dtype"]
    assert texts(sheet, "watts") == ["–", "–"]
    again = sheet_of(run(100), columns="default,cost,model")  # the set alone would leave them out
    assert {"cost", "model"} < {*names_of(again)}
    named = sheet_of(run(100), columns="loaders")
    assert names_of(named) == [
        "loader", "loader-ceiling", "images/s", "top-1", "agreement",
    ]  # fmt: skip
    text = "In no record: loader CPU s / 1,000, max level, mean level, compared, parity."
    assert text in named.remarks


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
        "image set bbbbbbbbbb (others: aaaaaaaaaa); not ranked with the others",
        "page cache cold (others: warm); not ranked with the others",
        "measured with --quick: a first look, not a result; not ranked with the others",
    ]
    assert "c: different: pixels differ by 3.00 levels in the mean (gate: 0.5)." in sheet.remarks
    window = "window 1 has a wall time of 1.250 s, and its steps take 2.500 s"
    assert f"d: INVALID: {window}." in sheet.remarks


def test_a_figure_in_doubt_is_marked_and_not_the_best() -> None:
    """Speed that is in doubt leaves accuracy in its rank, and the other way round."""
    right = Accuracy(num_samples=1000, top1_correct=990, top5_correct=995)
    sheet = sheet_of(
        run(100, loader="a"),
        run(200, loader="b"),
        run(900, loader="c", accuracy=right, telemetry=telemetry(foreign=0.92)),
        run(800, loader="d", telemetry=telemetry(foreign=0.5)),
        run(300, loader="e", weights="none"),
        sort=COLUMNS["images/s"],
    )
    assert texts(sheet, "images/s") == ["*300*", "200", "100", "900", "800"]
    assert texts(sheet, "top-1") == ["92.30", "92.30", "92.30", "*99.00*", "92.30"]
    assert [[note.mark for note in line.footnotes] for line in sheet.lines] == [
        ["b"], [], [], ["a"], ["a"],
    ]  # fmt: skip
    assert [note.text for note in sheet.footnotes] == [
        "speed in doubt, not ranked by it: other processes took 92 % of the cores' time (the worst "
        "of 2 rows)",
        "accuracy in doubt, not ranked by it: the model's weights are random, so its accuracy is "
        "chance",
    ]


def test_throughput_in_doubt_leaves_what_was_measured_apart() -> None:
    unsettled = msgspec.structs.replace(timed(500), is_settled=False)
    rows = [run(100, loader="a"), run(500, loader="b", throughput=unsettled)]
    rows += [run(90, loader="c", telemetry=telemetry(foreign=0.9)), run(80, loader="d")]
    sheet = sheet_of(*rows, columns="loader,images/s,step,loader-ceiling")
    assert texts(sheet, "images/s") == ["*100*", "500", "90.0", "80.0"]
    assert texts(sheet, "loader-ceiling") == ["500", "*1,000*", "500", "500"]


def test_a_loader_that_reads_no_images_is_not_the_best() -> None:
    unread = {"accuracy": None, "parity": None, "labels": UNREAD}
    records = [run(100), run(50, loader="torchvision"), run(900, loader="synthetic", **unread)]
    sheet = sheet_of(*records, sort=COLUMNS["images/s"])
    assert texts(sheet, "images/s") == ["*100*", "50.0", "900"]
    assert [note.text for note in sheet.lines[2].footnotes] == [
        "its loader does not read the images; not ranked with the others"
    ]
    assert sheet_of(*records[2:]).footnotes == []
    (row,) = read_rows([SYNTHETIC]).rows
    assert not row.record.reads_images


def test_a_gate_that_did_not_pass() -> None:
    lost = parity(only_reference_correct=30, only_row_correct=2, num_agreeing=968)
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
        "dtype float16 (others: float32)",
        "batch size 64 (others: 32)",
        "preprocess: resize 232 (others: 256)",
    ]
    assert [[note.mark for note in line.footnotes] for line in sheet.lines] == [
        [],
        ["b"],
        ["a", "c"],
    ]
    shown = sheet_of(run(100), run(100, batch_size=64), columns="batch,images/s")
    assert shown.footnotes == []


def test_what_no_column_shows_is_flagged() -> None:
    on_less = on_gpu("NVIDIA H200", watts=300.0)
    telemetry = on_less["telemetry"]
    less = msgspec.structs.replace(telemetry.gpu, power_limit_w=350.0)  # type: ignore[attr-defined]
    on_less["telemetry"] = msgspec.structs.replace(telemetry, gpu=less)
    on_less["environment"] = {**on_less["environment"], "num_cores": 8}  # type: ignore[dict-item]
    every = {"quick": False, "among": "all", "resize": "fast"}
    sheet = sheet_of(
        run(100, config=every, **on_gpu("NVIDIA H200", watts=300.0)),
        run(50, config=every, loader="b", **on_gpu("NVIDIA H200", watts=300.0)),
        run(90, config={**every, "resize": "exact"}, loader="c", **on_less),
        run(200, config={**every, "among": "present"}, loader="d"),
        columns="loader,device,images/s",
    )
    assert [note.text for note in sheet.footnotes] == [
        "resize exact (others: fast)",
        "among present (others: all); not ranked with the others",
        "cores 8 (others: 16)",
        "cores 2 (others: 16)",
        "power limit 350 W (others: 700 W)",
    ]
    assert texts(sheet, "images/s") == ["*100*", "50.0", "90.0", "200"]
    alone = sheet_of(run(200, config={**every, "among": "present"}))
    assert alone.footnotes == []
    assert "among the classes that the images have" in alone.common[-1]


def test_many_values_share_a_footnote() -> None:
    sheet = sheet_of(*(run(100, batch_size=2**i) for i in range(5)), columns="images/s")
    assert [note.text for note in sheet.footnotes] == ["batch size 2, 4, 8, 16 (others: 1)"]


def test_an_old_record_is_flagged_and_what_it_does_not_know_is_not() -> None:
    rows = read_rows([GOLDEN / "record-v3.json"]).rows
    old = dataclasses.replace(rows[0], version=2, path=Path("old.json"))
    sheet, _ = make_sheet([*rows, old], View())
    assert sheet is not None
    assert [note.text for note in sheet.footnotes] == [
        "a record of schema version 2, which lacks what later ones have",
        "speed in doubt, not ranked by it: the GPU lowered its clocks (power cap)",
    ]
    unknown = run(100, data={**DATA, "page_cache": None}, parity=None)
    assert sheet_of(unknown, run(90, loader="x")).footnotes == []


def test_sorting() -> None:
    records = [
        run(100, loader="a"),
        run(300, loader="b", parity=parity(pixels(mean=3.0, most=9.0))),
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
    assert across.common[0].startswith("1,000 JPEGs, 110.0 kB each · sample · float32 · eager")
    assert texts(across, "device") == [
        "NVIDIA H100", "NVIDIA H200", "NVIDIA H200", "NVIDIA H100",
    ]  # fmt: skip
    assert texts(across, "ratio") == ["1.00x", "*1.25x*", "–", "1.00x"]


def on_two_gpus(model: str, a: float, b: float, **changes: object) -> list[Record]:
    """The same configuration on both, a row each; the changes are of the second."""
    return [
        run(a, a, model=model, **on_gpu("NVIDIA A")),
        run(b, b, model=model, **{**on_gpu("NVIDIA B"), **changes}),
    ]


def test_a_mean_over_the_models_that_all_gpus_have() -> None:
    """Of 2x and 0.5x it is 1x, and of what may not be ranked it is not made."""
    rows = [*on_two_gpus("alexnet", 100, 200), *on_two_gpus("vgg16", 100, 50)]
    alone = run(900, model="resnet18", **on_gpu("NVIDIA B"))
    busy = telemetry(num_cores=16, foreign=0.9)
    doubted = on_two_gpus("resnet50", 100, 900, telemetry=busy)
    told = "Geometric mean of the ratios, over the 2 models that every device has (alexnet, vgg16)"
    mean = f"{told}: NVIDIA A 1.00x, NVIDIA B 1.00x"
    for view in ({"by": find("gpu")}, {"across": find("gpu")}):
        assert sheet_of(*rows, alone, **view).remarks[:2] == [
            "Ratios are to NVIDIA A.", f"{mean}.",
        ]  # fmt: skip
    said = sheet_of(*rows, *doubted, by=find("gpu")).remarks
    assert said[1] == f"{mean}; without 1 configuration that cannot be ranked."
    batches = [
        run(rate, rate, model="vgg16", batch_size=64, **on_gpu(gpu))
        for rate, gpu in ((100, "NVIDIA A"), (800, "NVIDIA B"))
    ]
    said = sheet_of(*rows, *batches, by=find("gpu")).remarks
    assert "over 3 configurations of the 2 models that every" in said[1]
    assert "NVIDIA B 2.00x." in said[1]  # the cube root of 2 * 0.5 * 8
    assert len(sheet_of(*rows[:2], alone, by=find("gpu")).remarks) == 1  # one model is no mean
    assert "Geometric" not in " ".join(sheet_of(*rows, by=COLUMNS["model"]).remarks)


def test_a_baseline_in_doubt_is_named() -> None:
    _, other = on_two_gpus("alexnet", 100, 200)
    busy = {**on_gpu("NVIDIA A"), "telemetry": telemetry(num_cores=16, foreign=0.9)}
    base = run(100, 100, model="alexnet", **busy)
    assert sheet_of(base, other, by=find("gpu")).remarks == [
        "Ratios are to NVIDIA A, whose throughput is in doubt in 1 of 1 row."
    ]
    third = run(300, 300, model="alexnet", **on_gpu("NVIDIA C"))
    assert texts(sheet_of(base, other, third, across=find("gpu")), "ratio") == [
        "1.00x", "2.00x", "3.00x",
    ]  # fmt: skip
    sound = on_two_gpus("alexnet", 100, 200)
    assert texts(sheet_of(*sound, third, across=find("gpu")), "ratio")[2] == "*3.00x*"


def test_ratios_are_named_only_where_they_are_shown() -> None:
    rows = on_two_gpus("alexnet", 100, 200)
    assert sheet_of(*rows, by=find("gpu"), columns="loader,images/s").remarks == []
    apart = [run(100, **on_gpu("NVIDIA A")), run(100, loader="b", **on_gpu("NVIDIA B"))]
    assert sheet_of(*apart, by=find("gpu"), columns="loader,images/s").remarks == []
    assert sheet_of(*apart, by=find("gpu")).remarks[0].startswith("There are no ratios")


def test_a_column_has_the_same_number_of_digits() -> None:
    rows = [run(1000, **on_gpu("NVIDIA A")), run(1047, loader="b", **on_gpu("NVIDIA A"))]
    sheet = sheet_of(*rows, prices={"NVIDIA A": 0.72})
    assert texts(sheet, "cost") == ["0.200", "*0.191*"]


def test_ratios_between_cpus() -> None:
    def on(cpu: str, *gpus: str) -> dict[str, object]:
        its = {"cpu": cpu, "num_cores": 2, "gpus": [{"name": name} for name in gpus]}
        return {"environment": its, "device": "cuda:0" if gpus else "cpu"}

    for gpus in ((), ("NVIDIA H200",)):
        sheet = sheet_of(run(100, **on("A", *gpus)), run(150, **on("B", *gpus)), by=find("cpu"))
        assert texts(sheet, "ratio") == ["1.00x", "1.50x"]


def test_rows_of_other_contents_are_not_ranked_and_of_another_file_have_its_name() -> None:
    data = [{**DATA, "contents": 64 * letter} for letter in "aaab"]
    sheet = sheet_of(*(run(100, loader=f"l{i}", data=its) for i, its in enumerate(data)))
    (note,) = sheet.footnotes
    assert note.text == (
        "image contents bbbbbbbbbb (others: aaaaaaaaaa); not ranked with the others"
    )
    sheet = sheet_of(*(run(100, files={"weights": 64 * letter}) for letter in "ab"))
    assert texts(sheet, "model-file") == [10 * "a", 10 * "b"]


def test_no_ratio_of_what_is_unlike() -> None:
    cold = {**DATA, "page_cache": "cold"}
    sheet = sheet_of(run(100), run(200, dtype="float16"), by=COLUMNS["dtype"])
    assert texts(sheet, "ratio") == ["1.00x", "2.00x"]
    other = {**DATA, "digest": "b" * 64}
    for data in (cold, other):
        sheet = sheet_of(run(100), run(200, dtype="float16", data=data), by=COLUMNS["dtype"])
        assert "ratio" not in names_of(sheet)
        assert sheet.remarks == [
            "There are no ratios: nothing was measured alike with more than one dtype."
        ]
    assert "ratio" not in names_of(sheet_of(run(100), by=COLUMNS["dtype"]))
    quick = run(900, config={"quick": True})
    sheet = sheet_of(run(100), quick, run(200, dtype="float16"), by=COLUMNS["dtype"])
    assert texts(sheet, "ratio") == ["1.00x", "1.00x", "2.00x"]


def test_groups_of_numbers_are_in_order() -> None:
    sheet = sheet_of(*(run(100, batch_size=size) for size in (64, 8, 32)), by=COLUMNS["batch"])
    assert [group.heading for group in sheet.groups] == ["batch 8", "batch 32", "batch 64"]


def test_a_number_as_the_baseline() -> None:
    records = [run(100, batch_size=size) for size in (64, 1024)]
    for written in ("1024", "1,024"):
        sheet = sheet_of(*records, by=COLUMNS["batch"], baseline=written)
        assert [group.heading for group in sheet.groups] == ["batch 1,024", "batch 64"]
    with pytest.raises(
        UnknownNameError, match="No record has '4' as the batch size to be the baseline"
    ):
        sheet_of(*records, by=COLUMNS["batch"], baseline="4")


def test_prices() -> None:
    records = [
        run(100, **on_gpu("NVIDIA H200", watts=100.0)),
        run(100, **on_gpu("NVIDIA H100 80GB HBM3")),
        run(100),
    ]
    prices = {"NVIDIA H200": 3.6, "h100": 1.8}
    sheet = sheet_of(*records, by=find("gpu"), prices=prices)
    assert texts(sheet, "cost") == ["10.0", "5.00", "–"]
    assert (
        "Prices of an hour: NVIDIA H200 $3.6, NVIDIA H100 80GB HBM3 $1.8; none was given for A CPU."
    ) in sheet.remarks
    assert texts(sheet_of(*records, prices={"a cpu": 0.36}), "cost")[2] == "1.00"
    nowhere = run(100, environment={"cpu": None, "num_cores": 2, "gpus": []})
    remarks = sheet_of(*records, nowhere, prices=prices).remarks
    assert any(text.endswith("none was given for A CPU, an unknown device.") for text in remarks)
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


def test_a_window_whose_time_is_no_number() -> None:
    throughput = timed(100, 100, 100)
    odd = msgspec.structs.replace(throughput.windows[0], wall_s=float("nan"))
    throughput = msgspec.structs.replace(throughput, windows=[odd, *throughput.windows[1:]])
    sheet = sheet_of(run(100), run(100, loader="x", throughput=throughput), is_data=True)
    *_, line = to_jsonl(sheet).splitlines()
    assert (json.loads(line)["status"], json.loads(line)["images/s low"]) == ("INVALID", None)


def test_quick_rows_have_no_say_in_what_is_usual() -> None:
    """Most rows are quick ones of other images: the few full rows are ranked all the same."""
    others = {**DATA, "digest": "another"}
    quick = [run(500 + i, loader=f"q{i}", data=others, config={"quick": True}) for i in range(3)]
    sheet = sheet_of(*quick, run(100), run(50, loader="torchvision"))
    assert texts(sheet, "images/s")[3:] == ["*100*", "50.0"]


def test_what_is_said_of_rows_is_said_once_and_in_short() -> None:
    skipped = [{"name": f"{i}.jpg", "why": "is empty"} for i in range(5)]
    rows = [
        run(100 + i, loader=f"loader-{i}", weights="none", notes=["a doubt"], data=data)
        for i, data in enumerate([{**DATA, "skipped": skipped, "not_used": {".png": 8}}] * 20)
    ]
    unread = run(100, loader="synthetic", labels=UNREAD, accuracy=None, parity=None)
    sheet = sheet_of(*rows, unread)
    said = sheet.remarks
    named = ", ".join(f"weights none · loader-{i}" for i in range(3))
    assert [note.text for note in sheet.footnotes if note.is_doubt] == [
        "accuracy in doubt, not ranked by it: the model's weights are random, so its accuracy is "
        "chance"
    ]
    assert said == [
        "Skipped by every loader: 0.jpg is empty, 1.jpg is empty, 2.jpg is empty and 2 more.",
        "Not used of the data: 8 .png files.",
        "No accuracy: the images are not read.",
        f"{named} and 17 more: a doubt.",
    ]
    wrong = [broken(row) for row in rows]
    *first, last = sheet_of(*wrong).remarks
    assert all(": INVALID: " in text for text in first)
    assert (len(first), last) == (10, "And 33 more reasons; CSV and JSON lines have all.")
