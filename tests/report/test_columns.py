"""The columns of a report: what each reads of a record, and how it is written."""

from pathlib import Path

import pytest
from builders.paths import GOLDEN
from builders.records import parity, pixels
from builders.runs import on_gpu, run

from fastbench.core.errors import UnknownNameError
from fastbench.records.engine import Engine
from fastbench.records.record import UNREAD, Record
from fastbench.records.speed import Ceiling
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS, SETS, choose, find, list_all
from fastbench.report.read import read_rows
from fastbench.report.sheet.table import cell_of


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
        loader_ceiling=Ceiling(num_images=2000, wall_s=10.0, cpu_s=14.0),
        model_ceiling=Ceiling(num_images=512, wall_s=4.0),
    )
    expected = {
        "device": "NVIDIA H100",
        "model": "sample",
        "decoder": "mixed",
        "batch": 32,
        "engine": "compile",
        "images/s": 100,
        "spread": 0.04,
        "padding": 0.0234375,  # 24 of 1,024 places
        "loader-ceiling": 200,
        "model-ceiling": 125,  # 1,000 of the 1,024 places of 32 batches
        "of-ceiling": 0.8,
        "bound": "model",
        "stall": 0.25,
        "step-p50": 0.3125,
        "step-p99": None,  # needs 662 steps
        "batch-latency": 0.2,
        "images/J": 3000 / 50 / (1000 / 99 + 1000 / 100 + 1000 / 103),
        "watts": 50,
        "cpu-s": 2,
        "loader-cpu-s": 7,
        "gpu-memory": 5e9,
        "rss": 2e9,
        "jpeg": 11e6,
        "setup-s": 0.3,
        "cost": 10.0,  # 3.6 dollars an hour, 100 images/s
        "top-1": 0.923,
        "delta-top-1": 0.001,
        "mcnemar-p": 1.0,
        "agreement": 0.997,
        "parity-max": 1.0,
        "parity-mean": 0.164,
        "compared": 128,
        "parity": "exact",
        "status": "ok",
        "cpu": "A CPU",
        "date": "2026-01-02T03:04:05+00:00",
        "file": "r.json",
    }
    assert {name: value(name, record, price_per_h=3.6) for name in expected} == pytest.approx(
        expected
    )


def test_no_jpeg_is_decoded_by_those_that_read_none_or_replay_them() -> None:
    unread = run(100, labels=UNREAD, accuracy=None, parity=None)
    replayed = run(100, loader_settings={"decoder": "none while it is timed"})
    assert [value("jpeg", record) for record in (unread, replayed)] == [None, None]


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
        "mcnemar-p": (0.00312, "0.0031"),
        "setup-s": (8.234, "8.23"),
        "weights-size": (44_700_000, "44.7"),
        "ratio": (1.25, "1.25x"),
        "date": ("2026-01-02T03:04:05+00:00", "2026-01-02 03:04:05"),
        "digest": ("a" * 64, "a" * 10),
        "model": (None, "–"),
    }
    shown = {name: COLUMNS[name].text(value) for name, (value, _) in given.items()}  # type: ignore[arg-type]
    assert shown == {name: text for name, (_, text) in given.items()}
    assert COLUMNS["batch-latency"].title == "latency ms"
    assert COLUMNS["batch-latency"].raw_title == "batch-latency [s]"
    assert COLUMNS["images/s"].raw_title == "images/s"


def test_setup_and_weights_of_each_engine() -> None:
    steps = {"export": 4.5, "quantize": 3.0}
    engine = Engine(name="openvino", setup_s=steps, weights_bytes=11_000_000)
    found = {
        "eager": run(100, num_parameters=11_000_000),
        "compile": run(100, compile_mode="default"),
        "openvino": run(100, engine=engine),
        "both": run(
            100, compile_mode="default", engine=Engine(name="compile", setup_s={"quantize": 1.0})
        ),
        "said": run(
            100, compile_mode="default", engine=Engine(name="compile", setup_s={"compile": 9.0})
        ),
    }
    assert {name: value("setup-s", record) for name, record in found.items()} == pytest.approx(
        {"eager": None, "compile": 0.3, "openvino": 7.5, "both": 1.3, "said": 9.0}
    )
    assert value("weights-size", found["eager"]) == 44_000_000
    assert value("weights-size", found["openvino"]) == 11_000_000
    assert value("weights-size", found["compile"]) is None
    int8 = run(100, num_parameters=11_000_000, config={"quantize": "int8"})
    assert value("weights-size", int8) is None
    assert find("compile-s") is COLUMNS["setup-s"]  # as it was called
    assert COLUMNS["weights-size"].title == "weights size MB"
    assert COLUMNS["weights-size"].factor == 1e-6


def test_how_a_probability_is_written() -> None:
    shown = [COLUMNS["mcnemar-p"].text(p) for p in (1.0, 0.343, 0.1, 0.00312, 1e-4, 9e-5, 0.0)]
    assert shown == ["1.00", "0.34", "0.10", "0.0031", "0.0001", "<0.0001", "<0.0001"]


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
            assert column.text(found) or found == ""  # type: ignore[attr-defined]
            column.detail_of(row)  # type: ignore[attr-defined]


def test_every_unit_that_is_shown_otherwise_has_its_factor() -> None:
    for column in COLUMNS.values():
        in_heading = column.unit.partition("/")[0] in ("$", "levels", "s")
        if column.text_unit != column.unit and not (in_heading and not column.text_unit):
            assert column.factor != 1, column.name


def test_what_stands_below_a_figure() -> None:
    """Percentiles that too few steps do not support are missing; the reference is named."""
    record = run(100, parity=parity(pixels()))
    cells = {name: cell_of(Row(record=record), COLUMNS[name]) for name in ("step", "agreement")}
    assert [cells["step"].text, cells["step"].detail] == ["312", "– / –"]
    assert [cells["agreement"].text, cells["agreement"].detail] == ["99.70", "exact, +0.10"]
    reference = Row(record=run(100, parity=parity(is_reference=True)))
    cell = cell_of(reference, COLUMNS["agreement"])
    assert (cell.value, cell.text, cell.detail) == (None, "reference", "")


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
    listed = list_all(width=300)
    for name, column in COLUMNS.items():
        assert name in listed
        assert column.meaning in listed
