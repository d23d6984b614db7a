"""The formats of `fastbench report`: what each prints of the same sheet."""

import csv
import io
import json
import re

import pytest
from builders.records import parity, pixels
from builders.runs import DATA, broken, on_gpu, run, telemetry
from builders.sheets import sheet_of
from rich.cells import cell_len

from fastbench.records.record import Record
from fastbench.report.columns.registry import COLUMNS, find
from fastbench.report.formats.export import to_csv, to_jsonl, to_latex, to_markdown
from fastbench.report.formats.terminal import render, wrap
from fastbench.report.sheet.table import Sheet


def some() -> list[Record]:
    return [
        run(99, 100, 101, parity=parity()),
        run(199, 200, 201, loader="fast_one", parity=parity(pixels(mean=3.0, most=200.0))),
        run(149, 150, 151, loader="good", parity=parity(), data={**DATA, "page_cache": None}),
        run(50, loader="cold", data={**DATA, "page_cache": "cold"}),
        broken(run(800, loader="bro|ken")),
    ]


def many() -> list[Record]:
    """Rows that differ in all that a table can show, on two GPUs."""
    return [
        run(
            *rates,
            **on_gpu(gpu, watts=300.0),
            loader=loader,
            model=model,
            dtype=dtype,
            compile_mode=compiled,
            parity=parity(),
        )
        for gpu, rates in (("NVIDIA H200", (9000, 9100, 9200)), ("NVIDIA H100", (8000, 8100)))
        for loader in ("dali", "torchvision-tensor")
        for model in ("resnet50", "timm:vit_base_patch16_224.augreg_in21k_ft_in1k")
        for dtype, compiled in (("float16", "reduce-overhead"), ("float32", None))
    ]


def text_of(sheet: Sheet, width: int) -> str:
    return "\n".join(line.plain for line in render(sheet, width))


def test_markdown() -> None:
    text = to_markdown(sheet_of(*some(), columns="loader,images/s,of-ceiling,parity"))
    assert text.splitlines()[:9] == [
        "1,000 JPEGs, 110.0 kB each · sample · A CPU · float32 · batch 32 · eager · 2 threads  ",
        "2 cores · 2026-01-02",
        "",
        "| loader | status | images/s | of ceiling % | parity |",
        "| :--- | :--- | ---: | ---: | :--- |",
        "| dali | ok | 100 (99.0–101) | 40 (model) | exact |",
        "| fast_one | different | 200 (199–201) | 80 (model) | different |",
        "| good | ok | **150** (149–151) | **60** (model) | exact |",
        "| cold <sup>a</sup> | ok | 50.0 | 20 (model) | – |",
    ]
    assert "<sup>a</sup> page cache cold (others: warm); not ranked with the others" in text
    assert "| bro\\|ken | INVALID | 800 | 100 (model) | – |" in text
    assert "- **images/s**: throughput from files to predictions" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


def test_markdown_of_groups() -> None:
    text = to_markdown(sheet_of(*many(), by=find("gpu"), columns="loader,images/s"))
    assert text.count("\n### NVIDIA H") == 2
    assert text.count("| loader | images/s |") == 2
    odd = to_markdown(sheet_of(run(1, model="<b>*x* _y_ a_b [z](w)"), columns="model"))
    assert "\\<b>\\*x\\* \\_y\\_ a_b \\[z\\](w)" in odd


def test_latex() -> None:
    records = [*some(), run(1, loader="50% & $_#{x}~^\\")]
    text = to_latex(sheet_of(*records, columns="loader,images/s,delta-top-1"))
    assert "\\begin{tabular}{llrr}" in text
    assert "loader & status & images/s & $\\Delta$ top-1 pt \\\\" in text
    assert "good & ok & \\textbf{150} (149--151) & +0.10 ($-$0.29 to +0.49) \\\\" in text
    assert "cold\\textsuperscript{a} & ok & 50.0 &" in text
    assert (
        "50\\% \\& \\$\\_\\#\\{x\\}\\textasciitilde{}\\textasciicircum{}\\textbackslash{}" in text
    )
    assert "\\textsuperscript{a} page cache cold" in text
    quick = to_latex(sheet_of(run(1), run(1, config={"quick": True})))
    assert "measured with -{}-quick: a first look" in quick
    for rule in ("\\toprule", "\\midrule", "\\bottomrule"):
        assert text.count(rule) == 1
    braces = re.sub(r"\\[{}]", "", text)
    assert braces.count("{") == braces.count("}")
    assert not re.search("[–−Δ·]", text)
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended) == ["minipage", "table", "tabular"]
    grouped = to_latex(sheet_of(*many(), by=find("gpu"), columns="loader,images/s"))
    assert "\\multicolumn{2}{l}{\\textit{NVIDIA H200}} \\\\" in grouped


def test_csv() -> None:
    sheet = sheet_of(*some(), columns="loader,images/s,batch-latency,top-1", is_data=True)
    header, *rows = csv.reader(io.StringIO(to_csv(sheet)))
    assert header == [
        "loader", "images/s", "images/s low", "images/s high", "batch-latency [s]",
        "top-1 [share]", "top-1 low [share]", "top-1 high [share]", "status", "notes",
    ]  # fmt: skip
    assert len(rows) == 5
    dali, cold = rows[0], rows[3]
    assert dali[:5] == ["dali", "100.0", "99.0", "101.0", "0.2"]
    assert float(dali[6]) == pytest.approx(0.90481, abs=1e-5)
    assert dali[-2:] == ["ok", ""]
    assert cold[:4] == ["cold", "50.0", "", ""]
    assert cold[-1] == "page cache cold (others: warm); not ranked with the others"
    assert rows[1][-1].startswith("different: pixels differ")
    assert rows[4][-2] == "INVALID"
    assert rows[4][-1].startswith("INVALID: the steps take")
    assert "**" not in to_csv(sheet)


def test_json_lines() -> None:
    sheet = sheet_of(*some(), columns="all", is_data=True)
    rows = [json.loads(line) for line in to_jsonl(sheet).splitlines()]
    assert len(rows) == 5
    assert {*COLUMNS} <= {*rows[0]}
    assert (rows[0]["images/s"], rows[0]["images/s low"], rows[0]["model"]) == (100, 99, "sample")
    assert (rows[0]["watts"], rows[0]["batch"], rows[0]["notes"]) == (None, 32, [])
    assert rows[4]["status"] == "INVALID"


def test_doubts_are_in_every_format() -> None:
    """A row is marked in tables; for programs each row has its own figure."""
    rows = [
        run(100, loader="calm"),
        run(200, loader="beside", telemetry=telemetry(foreign=0.5)),
        run(300, loader="worse", telemetry=telemetry(foreign=0.92)),
    ]
    worst = "speed in doubt, not ranked by it: other processes took 92"
    sheet = sheet_of(*rows, columns="loader,images/s")
    markdown, latex = to_markdown(sheet), to_latex(sheet)
    assert "| beside <sup>a</sup> | 200 |" in markdown
    assert f"<sup>a</sup> {worst} % of the cores' time (the worst of 2 rows)" in markdown
    assert "beside\\textsuperscript{a} & 200 \\\\" in latex
    assert f"\\textsuperscript{{a}} {worst} \\% of" in latex
    assert "**" not in markdown.split("- ")[0]
    screen = text_of(sheet, 80)
    assert "worse ᵃ" in screen
    assert worst in screen
    data = sheet_of(*rows, columns="loader,doubts", is_data=True)
    calm, beside, worse = map(json.loads, to_jsonl(data).splitlines())
    assert [row["doubts"] for row in (calm, beside, worse)] == [None, "foreign-cpu", "foreign-cpu"]
    assert calm["notes"] == []
    assert [note[:60] for note in beside["notes"] + worse["notes"]] == [
        "speed in doubt, not ranked by it: other processes took 50 % ",
        "speed in doubt, not ranked by it: other processes took 92 % ",
    ]
    assert 'beside,foreign-cpu,ok,"speed in doubt, not ranked by it: other' in to_csv(data)


def test_a_table_of_wide_characters_keeps_its_width() -> None:
    sheet = sheet_of(run(100, model="模型" * 30, loader="装载机" * 9), run(50), columns="all")
    for width in (40, 80, 120):
        wide = [line for line in text_of(sheet, width).splitlines() if cell_len(line) > width]
        assert not [line for line in wide if "模" in line or "装" in line]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize(
    "view",
    [
        {},
        {"by": find("gpu")},
        {"across": find("gpu"), "prices": {"H200": 3.9}},
        {"columns": "loaders"},
        {"columns": "gpus"},
        {"columns": "all"},
    ],
    ids=["default", "by gpu", "across gpu", "loaders", "gpus", "all"],
)
def test_the_table_is_whole(width: int, view: dict[str, object]) -> None:
    for records in (some(), many()):
        if records[0].device == "cpu" and "prices" in view:
            continue
        sheet = sheet_of(*records, **view)
        text = text_of(sheet, width)
        assert all(len(line) <= width for line in text.splitlines()), text
        assert "…" not in text
        words = {*text.replace("·", " ").split()}
        for line in sheet.lines:  # every figure stands there, in one piece
            for column, cell in zip(sheet.columns, line.cells, strict=True):
                if not column.is_label and column.name not in ("parity", "verdict"):
                    assert cell.text in words, (column.name, cell.text, text)
        for heading in (column.title for column in sheet.columns if not column.is_label):
            assert {*heading.split()} <= words, heading


def test_details_fold_before_a_table_is_cut() -> None:
    sheet = sheet_of(run(100, parity=parity(pixels())), run(99, loader="good"))
    for width, below in ((70, ["+0.10"]), (66, ["exact", "+0.10"]), (60, ["+0.10"])):
        last = [line.split()[-1] for line in text_of(sheet, width).splitlines() if line.strip()]
        start = last.index("99.70") + 1
        assert last[start : start + len(below)] == below, width


def test_the_table_at_80_columns() -> None:
    text = text_of(sheet_of(*some(), columns="loader,images/s,top-1,parity"), 80)
    assert text.splitlines()[:18] == [
        "1,000 JPEGs, 110.0 kB each · sample · A CPU · float32 · batch 32 · eager · 2",
        "threads",
        "2 cores · 2026-01-02",
        "",
        "loader    status     images/s    top-1 %  parity",
        "───────────────────────────────────────────────────",
        "dali      ok              100      92.30  exact",
        "                     99.0–101  90.5–93.8",
        "fast_one  different       200      92.30  different",
        "                      199–201  90.5–93.8",
        "good      ok              150      92.30  exact",
        "                      149–151  90.5–93.8",
        "cold ᵃ    ok             50.0      92.30  –",
        "                               90.5–93.8",
        "bro|ken   INVALID         800      92.30  –",
        "                               90.5–93.8",
        "",
        "ᵃ page cache cold (others: warm); not ranked with the others.",
    ]


def test_columns_are_in_the_order_in_which_they_were_named() -> None:
    asked = "images/s,loader,top-1,model"
    lines = text_of(sheet_of(run(100), columns=asked), 80).splitlines()
    assert ["images/s", "loader", "top-1", "%", "model"] in [line.split() for line in lines]


def test_wide_tables_are_stacked_and_cut_between_topics() -> None:
    text = text_of(sheet_of(*many()), 80).partition("Accuracy lost")[0]
    assert text.count("────") >= 2
    blocks = [block for block in text.split("\n\n") if "────" in block]
    assert len(blocks) == 2
    assert "images/s" in blocks[0]
    assert "top-1" in blocks[1]
    assert "top-1" not in blocks[0]
    assert all("resnet50" in block for block in blocks)


def test_words_are_wrapped_whole() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("", 10) == []
    assert wrap("timm:vit_base_patch16_224.augreg", 16) == [
        "timm:vit_base_",
        "patch16_224.",
        "augreg",
    ]
    assert wrap("abcdefgh", 3) == ["abc", "def", "gh"]
    assert wrap("模型模型 模型", 6) == ["模型模", "型", "模型"]  # of two cells each


def test_styles() -> None:
    lines = render(sheet_of(*some(), columns="loader,images/s"), 80)
    styles = {
        line.plain[span.start : span.end]: span.style for line in lines for span in line.spans
    }
    assert styles["150"] == "bold"
    assert styles["800"] == "red"
    assert styles["INVALID"] == "red"
    assert "100" not in styles
