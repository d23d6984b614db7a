"""The second table: accuracy lost per speed-up, against eager float32."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders.engines import MODELS, grid, row
from builders.plot_rows import invalid
from builders.sheets import rows_of, sheet_of
from rich.console import Console

from fastbench.core.stats import independent_difference_interval
from fastbench.records.record import Record
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.formats import export, html_table
from fastbench.report.formats.run_screen import print_run
from fastbench.report.formats.terminal import render, to_text
from fastbench.report.html.content import describe
from fastbench.report.sheet import trade_off
from fastbench.report.sheet.table import Sheet

TITLE = "Accuracy lost per speed-up, against eager float32"


def table_of(*records: Record, **view: object) -> Sheet:
    found = sheet_of(*records, **view).trade_off
    assert found is not None
    return found


def cells_of(sheet: Sheet) -> list[dict[str, str]]:
    return [
        {
            column.name: f"{cell.text} ({cell.detail})" if cell.detail else cell.text
            for column, cell in zip(sheet.columns, line.cells, strict=True)
        }
        for line in sheet.lines
    ]


def test_rows_against_eager_float32_of_the_same_model() -> None:
    table = table_of(*grid("resnet50"))
    assert table.common == [f"{TITLE}: 38.0 images/s, top-1 92.10 %"]
    assert [column.title for column in table.columns] == [
        "engine", "quantize", "speed-up", "Δ top-1 pt", "McNemar p", "weights size MB",
    ]  # fmt: skip
    cells = cells_of(table)
    assert [(each["engine"], each["quantize"]) for each in cells] == [
        ("compile", "none"),
        ("onnxruntime", "none"),
        ("compile", "int8"),
        ("openvino", "none"),
        ("onnxruntime", "int8"),
        ("openvino", "int8"),
    ]  # the smallest speed-up first
    assert cells[-1] == {
        "engine": "openvino",
        "quantize": "int8",
        "speed-up": "4.13x (3.90–4.37)",
        "delta-top-1": "−0.20 (−0.79 to +0.39)",
        "mcnemar-p": "0.73",
        "weights-size": "25.6",
    }


def test_each_model_and_loader_is_held_against_its_own() -> None:
    alone = row("resnet18", "openvino", loader="torchvision")  # whose eager row is not there
    table = table_of(*grid("resnet18", "resnet50"), alone)
    assert [group.heading for group in table.groups] == [
        "resnet18: 90.0 images/s, top-1 86.90 %",
        "resnet50: 38.0 images/s, top-1 92.10 %",
    ]
    assert table.common == [TITLE]
    speed_ups = [[line.row.trade_off.ratio for line in group.lines] for group in table.groups]  # type: ignore[union-attr]
    assert speed_ups[0] == pytest.approx(speed_ups[1])
    assert len(speed_ups[0]) == 6
    assert all(line.row.record.loader != "torchvision" for line in table.lines)


def test_other_sizes_are_held_against_the_largest_and_are_no_pairs() -> None:
    small, smaller = row(size=160), row(engine="openvino", quantize="int8", size=128)
    table = table_of(small, row(), smaller)
    assert table.common[0].startswith(f"{TITLE}: 38.0 images/s")
    assert [each["image-size"] for each in cells_of(table)] == ["160", "128"]
    assert "mcnemar-p" not in cells_of(table)[0]
    of_both = cells_of(table_of(small, row(), row(engine="openvino")))
    assert {each["image-size"]: each["mcnemar-p"] for each in of_both} == {
        "160": "–",
        "224": "1.00",
    }
    found = table.lines[0].row.trade_off
    assert found is not None
    assert found.difference == pytest.approx(-0.016)  # 905 of 1,000 in place of 921
    assert found.difference_interval == independent_difference_interval((921, 1000), (905, 1000))


def test_a_size_that_is_a_models_own_is_no_column() -> None:
    """Inception takes 299 pixels, others 224."""
    others = [row("resnet18", size=299), row("resnet18", "openvino", size=299)]
    names = [column.name for column in table_of(*grid("resnet50"), *others).columns]
    assert "image-size" not in names
    assert "quantize" in names


def test_it_is_of_what_differs_in_that_alone() -> None:
    base = row()
    others = [
        row(engine="openvino", batch_size=8),
        row(engine="openvino", model="resnet18"),
        row(engine="openvino", config={**base.config, "engine": "openvino", "quick": True}),
        row(engine="openvino", data={**base.data, "digest": "b" * 64}),
        row(engine="openvino", data={**base.data, "page_cache": "cold"}),
        row(engine="openvino", preprocess={**base.preprocess, "interpolation": "bicubic"}),
        invalid(model="resnet50", weights="DEFAULT", compile_mode="default"),
        row(),  # a run of the same again
    ]
    for other in others:
        assert sheet_of(base, other).trade_off is None
    assert sheet_of(base, row(engine="openvino")).trade_off is not None


def test_no_eager_float32_row_no_table() -> None:
    assert sheet_of(*[x for x in grid("resnet50") if x.engine]).trade_off is None
    assert sheet_of(row(dtype="bfloat16"), row(engine="openvino")).trade_off is None


def test_it_is_left_out_where_something_else_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    records = grid("resnet50")
    asked: list[dict[str, Any]] = [
        {"columns": "engine,images/s"},
        {"by": COLUMNS["engine"]},
        {"across": COLUMNS["quantize"]},
        {"is_data": True},
    ]
    for view in asked:
        assert sheet_of(*records, **view).trade_off is None
    assert sheet_of(*records, columns="accuracy").trade_off is not None
    monkeypatch.setattr(trade_off, "MOST", 5)
    assert sheet_of(*records).trade_off is None


def test_without_labels_agreement_stands_in_place_of_accuracy() -> None:
    records = [
        msgspec.structs.replace(
            each,
            accuracy=None,
            labels="no labels: none were found",
            parity=msgspec.structs.replace(
                each.parity, only_reference_correct=None, only_row_correct=None
            ),
        )
        for each in grid("resnet50")
        if each.parity
    ]
    table = table_of(*records)
    assert table.common == [f"{TITLE}: 38.0 images/s"]
    assert cells_of(table)[-1]["agreement"] == "98.40"
    assert "delta-top-1" not in cells_of(table)[-1]


def test_a_row_that_fails_its_gate_says_so_and_doubts_keep_their_marks() -> None:
    table = table_of(*grid("mobilenet_v3_large"))
    assert {each["quantize"]: each["status"] for each in cells_of(table)} == {
        "none": "ok",
        "int8": "FAIL",
    }
    doubted = row(engine="openvino", rate=70)
    timed = msgspec.structs.replace(doubted.throughput, is_settled=False)
    sheet = sheet_of(row(), msgspec.structs.replace(doubted, throughput=timed))
    assert sheet.trade_off is not None
    (line,) = sheet.trade_off.lines
    assert [note.mark for note in line.footnotes] == ["a"]
    assert "openvino ᵃ" in to_text(sheet).partition(TITLE)[2]


def test_formats_show_the_same() -> None:
    sheet = sheet_of(*grid("resnet18", "resnet50"))
    texts = {
        "terminal": to_text(sheet),
        "markdown": export.to_markdown(sheet),
        "latex": export.to_latex(sheet).replace("$-$", "−").replace("--", "–"),
        "notebook": html_table.of_sheet(sheet),
        "page": json.dumps(describe(sheet)["tradeOff"], ensure_ascii=False),
    }
    for name, text in texts.items():
        after = text.partition(TITLE)[2]
        assert after, name
        for said in (
            "resnet18: 90.0 images/s",
            "resnet50: 38.0",
            "4.13x",
            "−0.79 to +0.39",
            "0.73",
        ):
            assert said in after, (name, said)
    for text in (export.to_csv(sheet), export.to_jsonl(sheet)):
        assert TITLE not in text


def test_markdown_and_the_key_explain_its_columns_once() -> None:
    sheet = sheet_of(*grid("resnet50"))
    for text in (export.to_markdown(sheet), to_text(sheet)):
        flat = " ".join(text.split())
        assert flat.count("images/s over those of eager float32") == 1
        assert flat.count("from files to predictions") == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_a_terminal(width: int) -> None:
    sheet = sheet_of(*grid(), row(size=160))
    lines = [text.plain for text in render(sheet, width)]
    assert max(map(len, lines)) <= width
    if width >= 80:
        below = "\n".join(lines).partition(TITLE)[2]
        assert len(re.findall("^─+$", below, re.MULTILINE)) == 1  # one table, whole


def test_a_run_ends_with_it(tmp_path: Path) -> None:
    file = io.StringIO()
    print_run(rows_of(*grid("resnet50")), Console(file=file, width=80))
    assert TITLE in file.getvalue()


def test_the_interval_of_two_independent_shares() -> None:
    # R. G. Newcombe (1998), table II, method 10, example (a): 56/70 against 48/80.
    low, high = independent_difference_interval((48, 80), (56, 70))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    low, high = independent_difference_interval((0, 10), (10, 10))  # example (h), the other way
    assert (low, high) == pytest.approx((0.6075, 1.0), abs=5e-5)
    with pytest.raises(ValueError, match="not a proportion"):
        independent_difference_interval((3, 2), (1, 2))


def test_every_model_has_its_rows() -> None:
    assert len(table_of(*grid()).lines) == 6 * len(MODELS)
