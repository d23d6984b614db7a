"""Repeats of `--repeat` are one row, with their interval; nothing else is."""

from pathlib import Path

import msgspec
import pytest
from builders.records import parity, pixels
from builders.runs import run, telemetry
from builders.sheets import rows_of, sheet_of

from fastbench.core.stats import geometric_mean_interval, log_ratio_interval
from fastbench.records.record import Record
from fastbench.records.speed import Ceiling
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.formats.terminal import to_text
from fastbench.report.sheet.repeats import fold
from fastbench.report.sheet.sheet import make_sheet
from fastbench.report.sheet.view import View

RATES = (100.0, 110.0, 104.0)


def repeats(*rates: float, **changes: object) -> list[Record]:
    return [
        msgspec.structs.replace(
            run(rate, **changes),
            config={"quick": False, "repeat": len(rates)},
            created=f"2026-01-02T03:0{number}:00+00:00",
        )
        for number, rate in enumerate(rates)
    ]


def test_repeats_are_a_row_with_their_interval() -> None:
    sheet = sheet_of(*repeats(*RATES), *repeats(50.0, 51.0, 52.0, loader="synthetic"))
    assert [len(line.row.repeats) for line in sheet.lines] == [3, 3]
    row, speed = sheet.lines[0].row, COLUMNS["images/s"]
    mean, interval = geometric_mean_interval(RATES)
    assert row.value(speed) == pytest.approx(mean)
    assert row.bounds(speed) == pytest.approx(interval)
    assert row.record.throughput.images_per_s == 104  # the one in the middle
    assert "n=3" in to_text(sheet)


def test_other_figures_are_the_median_of_the_repeats() -> None:
    (line,) = sheet_of(*repeats(*RATES)).lines
    step = COLUMNS["step"]
    alone = sorted(Row(record=record).value(step) for record in line.row.repeats)  # type: ignore[type-var]
    assert line.row.value(step) == alone[1]


def test_what_limits_them_is_said_of_the_one_that_is_shown() -> None:
    """And doubts of all: the limit below the table and the advice have one figure."""
    slow, shown, fast = repeats(100.0, 104.0, 110.0)
    loader, model = (Ceiling(num_images=num, wall_s=1.0) for num in (1000, 1024))
    slow = msgspec.structs.replace(slow, model_ceiling=model)  # loader-bound
    shown = msgspec.structs.replace(shown, loader_ceiling=loader)  # model-bound
    busy = telemetry(fast.throughput.wall_s, foreign=0.5)
    fast = msgspec.structs.replace(fast, telemetry=busy)
    (line,) = sheet_of(slow, shown, fast).lines
    names = [advice.name for advice in line.row.advice]
    assert "foreign-cpu" in names
    assert "model-bound" in names
    assert "loader-bound" not in names


def test_ratios_are_of_the_repeats() -> None:
    others = (50.0, 51.0, 52.0)
    sheet = sheet_of(*repeats(*RATES), *repeats(*others, loader="synthetic"), by=COLUMNS["loader"])
    row = sheet.lines[1].row
    ratio, interval = log_ratio_interval(RATES, others)
    assert (row.ratio, row.ratio_interval) == (pytest.approx(ratio), pytest.approx(interval))


def test_what_is_no_repeat_stays_a_row() -> None:
    same = [msgspec.structs.replace(x, config={"quick": False}) for x in repeats(*RATES)]
    assert len(sheet_of(*same).lines) == 3  # measured again by hand: perhaps on another day
    other = msgspec.structs.replace(repeats(1.0, 2.0)[0], batch_size=8)
    assert len(sheet_of(*repeats(*RATES), other).lines) == 2
    elsewhere = [
        Row(record=record, path=Path(f"{number}/a.json"))
        for number, record in enumerate(repeats(*RATES))
    ]
    assert len(fold(elsewhere, [{} for _ in elsewhere])[0]) == 3


def test_a_repeat_that_fails_a_gate_is_not_hidden() -> None:
    bad = msgspec.structs.replace(repeats(*RATES)[0], parity=parity(pixels(mean=90.0, most=255.0)))
    good = [msgspec.structs.replace(x, parity=parity()) for x in repeats(*RATES)[1:]]
    sheet = sheet_of(bad, *good)
    assert sorted(len(line.row.repeats) for line in sheet.lines) == [0, 2]


def test_data_has_every_record() -> None:
    sheet, _ = make_sheet(rows_of(*repeats(*RATES)), View(columns="all", is_data=True))
    assert sheet is not None
    assert len(sheet.lines) == 3
