"""What `fastbench run` prints: the table of `fastbench report`, a line a row, advice; details."""

import io
from pathlib import Path

import msgspec
import pytest
from builders.paths import RECORDS
from builders.records import make, parity, pixels
from builders.runs import broken, run, timed
from builders.sheets import rows_of
from rich.console import Console

from fastbench.cli.main import main
from fastbench.cli.measuring import show
from fastbench.records.record import UNREAD, Record
from fastbench.records.store import write_record
from fastbench.report.formats.run_screen import print_details, print_run
from fastbench.report.read import read_rows
from fastbench.report.sheet.sheet import make_sheet
from fastbench.report.sheet.view import View


def text_of(*records: Record, width: int = 200) -> str:
    file = io.StringIO()
    print_run(rows_of(*records), Console(file=file, width=width))
    return file.getvalue()


def details_of(*records: Record, width: int = 200) -> str:
    file = io.StringIO()
    sheet, _ = make_sheet(rows_of(*records), View())
    assert sheet is not None
    print_details(sheet, Console(file=file, width=width))
    return file.getvalue()


ROWS = [
    make(loader=loader, dtype=dtype, compile_mode=mode)
    for loader in ("torchvision", "torchvision-tensor")
    for dtype, mode in (("float32", None), ("bfloat16", "max-autotune-no-cudagraphs"))
]


@pytest.mark.parametrize("width", ["40", "80", "120"])
def test_run_and_report_print_the_same_table(
    width: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    records = [
        make(loader="torchvision", parity=parity(is_reference=True), notes=["a doubt"]),
        make(loader="dali", parity=parity(pixels(mean=0.6)), created="2026-01-02T03:05:05+00:00"),
        make(loader="synthetic", labels=UNREAD, accuracy=None, parity=None, weights="none"),
    ]
    for record in records:
        write_record(record, tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    show(list(reversed(records)), tmp_path)
    assert capsys.readouterr().out.startswith(f"{table}\n")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_fits(width: int) -> None:
    text = text_of(*ROWS, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "90.5–93.8" in text


def test_at_80_columns_names_break_where_their_parts_end_and_one_table_is_enough() -> None:
    records = [row.record for row in read_rows([RECORDS / "precision"]).rows]
    text = text_of(*(record for record in records if not record.compile_mode), width=80)
    text = text.partition("Accuracy lost")[0]
    assert sum(line.startswith("────") for line in text.splitlines()) == 1
    assert "\ntorchvision-  " in text
    assert "\ntensor  " in text


def test_a_row_has_one_line_that_says_what_limits_it() -> None:
    records = [
        run(99, 100, 101, model=f"model{i}", loader=loader)
        for i in range(6)
        for loader in ("torchvision", "dali")
    ]
    text = text_of(*records, width=80).partition("What the columns mean")[2]
    lines = [line for line in text.splitlines() if line.startswith("· model")]
    assert len(lines) == 12
    assert "· model3 · dali: model-bound, the loader alone is 2.0x as fast" in text
    assert "windows of" not in text


def test_rows_in_words() -> None:
    text = details_of(
        run(99, 100, 101), run(100, loader="torchvision", parity=parity(is_reference=True))
    )
    assert "\ndali\n  model-bound, the loader alone is 2.0x as fast; serial" in text
    words = " ".join(text.split())
    assert (
        " % of what the two reach who share the cores; windows of 99.0, 100, 101 images/s" in words
    )
    assert "; 96 steps in 30.0 s; 2.34 % of the batches' places empty; 25 % of the time" in words
    assert "; 11.0 MB/s of JPEG; latency of a batch of 32: 200 ms (n=3). " in words
    assert "\n  923 and 990 hits of top-1 and top-5 among 1,000; " in text
    assert "published top-1 69.76 %: +22.54 points (judged on all 50,000 images only)" in text
    assert "997 of 1,000 agree with torchvision; Δ top-1 −0.10 points." in text
    assert "the reference.\n" in text


def test_the_models_sizes_stand_above_or_at_their_rows() -> None:
    small = run(100, model="resnet18", num_parameters=11_689_512)
    large = run(100, model="resnet50", num_parameters=25_557_032, num_macs=4_089_184_256)
    assert "· resnet50 ·" in text_of(large)
    assert "· 25.6 M parameters, 4.09 GMACs an image\n" in text_of(large)
    assert "GMACs" not in details_of(large)
    text = details_of(small, large)
    assert "\nresnet18 · dali: 11.7 M parameters\n" in text
    assert "\nresnet50 · dali: 25.6 M parameters, 4.09 GMACs an image\n" in text


def test_an_invalid_row_has_no_figures_in_words_and_is_no_reason_for_advice() -> None:
    sound = run(100, throughput=msgspec.structs.replace(timed(100), is_settled=False))
    assert "→ dali: the step time had not settled" in text_of(sound)
    text = text_of(broken(sound))
    assert "→" not in text
    assert "one window of" not in details_of(broken(sound))
    assert "! dali: INVALID: the steps take" in text


def test_what_limits_the_pipeline_has_its_place_among_many_doubts() -> None:
    noisy = timed(60, 100, 140)
    record = run(
        100,
        throughput=msgspec.structs.replace(noisy, is_settled=False),
        weights="none",
        published=None,
    )
    advice = [line for line in text_of(record).splitlines() if line.startswith("→")]
    assert len(advice) == 3
    assert "loader and model take turns" in advice[-1]
