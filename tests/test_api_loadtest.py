"""`fastbench.loadtest`: what it reads, refuses and gives back."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders.load_records import make_load_record
from builders.models import Net

import fastbench
from fastbench import api, calls
from fastbench.core.command_options import CALL_VARIABLE
from fastbench.core.errors import (
    DataNotFoundError,
    InstallationError,
    LoaderError,
    RowsFailedError,
    UsageError,
)
from fastbench.core.load_options import LOAD_OPTIONS, OF_RUN
from fastbench.records.load import LoadRecord
from fastbench.records.record import FailedRow
from fastbench.records.store import write_record

QUICK: dict[str, Any] = {
    "loader": "torchvision-tensor",
    "limit": 16,
    "duration": "0.3s",
    "device": "cpu",
    "batch_size": 2,
    "num_threads": 1,
    "model_threads": 1,
    "reference": "none",
    "progress": False,
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(monkeypatch: pytest.MonkeyPatch, *rows: LoadRecord | FailedRow | BaseException) -> None:
    """What a plan's rows become: records are written first, exceptions are raised."""

    def measured(configs: object, folder: Path, _: object) -> Iterator[LoadRecord | FailedRow]:
        for row in rows:
            if isinstance(row, BaseException):
                raise row
            if isinstance(row, LoadRecord):
                write_record(row, folder)
            yield row

    monkeypatch.setattr("fastbench.scenarios.plan.rows", measured)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lodaer": "dali"}, "fastbench.loadtest has no option 'lodaer'. Did you mean 'loader'"),
        ({"windows": 3}, "no option 'windows'.* those of `fastbench loadtest --help`"),
        ({"rate": 0}, "--rate is 0. Give a number of queries a second above 0"),
        ({"rate": []}, "--rate is empty"),
        ({"scenario": "sever"}, "Choose one of: server, single-stream"),
        ({"latency": "15ms"}, "--latency is '15ms'. Give a time and a percentile"),
        ({"duration": 0.3}, "--duration is '0.3'. Give a time in ms or s"),
        ({"scenario": "offline", "rate": 5}, "--rate is for --scenario server"),
        ({"model": Net()}, "A model is of type Net. LoadGen cannot be stopped inside a program"),
        ({"model": ["sample", {"mine": Net()}]}, "of type dict.* Give a name, a file or package"),
        ({"loader": "lodaer"}, "There is no loader 'lodaer'"),
        ({"loader": "webdataset"}, "The loader 'webdataset' .* cannot take requests"),
        ({"engine": "opnvino"}, "There is no engine 'opnvino'"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, LoaderError), match=said):
        fastbench.loadtest(progress=False, **options)
    assert not list(tmp_path.iterdir())
    assert CALL_VARIABLE not in os.environ
    assert not calls._measuring.locked()


def test_its_options_are_those_of_the_command() -> None:
    import numpy as np

    given = {
        "data": Path("val"), "rate": np.array([100, 200]), "max_wait": "2ms", "quick": True,
        "latency": ["15ms@p99", "30ms@p99"], "model": Path("net.pt"), "loader": None,
    }  # fmt: skip
    assert api._LOADTEST.read(given) == {
        "data": "val", "rate": (100.0, 200.0), "max_wait": ("2ms",), "quick": True,
        "latency": ("15ms@p99", "30ms@p99"), "model": ("net.pt",),
    }  # fmt: skip
    found = inspect.signature(fastbench.loadtest).parameters
    assert {*found} == {"progress", *LOAD_OPTIONS, *OF_RUN}
    assert [*found][:4] == ["model", "loader", "data", "progress"]
    assert found["scenario"].default == "server"


@pytest.mark.usefixtures("server")
def test_a_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    output = tmp_path / "out"
    records = fastbench.loadtest("sample", scenario="single-stream", output=output, **QUICK)
    (record,) = records
    assert (record.model, record.loader, record.scenario) == (
        "sample",
        "torchvision-tensor",
        "single-stream",
    )
    assert record.process == "own"
    assert record.result.is_valid
    assert record.result.wall_s >= 0.3
    assert record.command.startswith(
        f"fastbench.loadtest(model='sample', loader='torchvision-tensor', "
        f"scenario='single-stream', output={output!r}, limit=16, duration='0.3s'"
    )
    assert records.folder == output
    assert [row.path for row in records.rows] == [*output.glob("*.json")]
    assert fastbench.read_records(output).under_load[0].latencies_s == record.latencies_s
    assert "single-stream" in str(records.table())
    assert CALL_VARIABLE not in os.environ


def test_rows_that_fail_are_told_after_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    error = LoaderError("It is broken. Mend it.")
    failed = FailedRow("sample", "opencv", error)
    record = make_load_record("single-stream")
    planned(monkeypatch, failed, record)
    with pytest.raises(RowsFailedError) as caught:
        fastbench.loadtest(
            loader=["torchvision-tensor", "opencv"], scenario="single-stream", progress=False
        )
    assert str(caught.value) == "1 of 2 rows failed:\n  sample · opencv: It is broken. Mend it."
    assert caught.value.failed == [failed]
    (row,) = caught.value.records.rows  # type: ignore[attr-defined]
    assert row.record == record
    assert row.path.exists()


def test_what_is_not_valid_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, make_load_record(rate=5000.0))
    (record,) = fastbench.loadtest(rate=5000, progress=False)
    assert not record.result.is_valid
    assert record.result.why_not


def test_what_ends_a_run_has_the_rows_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, make_load_record(), DataNotFoundError("There are no images."))
    with pytest.raises(DataNotFoundError) as caught:
        fastbench.loadtest(progress=False)
    assert len(caught.value.records) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("is_finished", "said"),
    [
        (True, "Interrupted: 1 finished row is in out."),
        (False, "Interrupted: no row was finished; in out are the runs so far."),
    ],
)
def test_ctrl_c_keeps_what_was_measured_and_says_where(
    is_finished: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = make_load_record(is_finished=is_finished)
    planned(monkeypatch, record, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fastbench.loadtest(output="out")
    assert capsys.readouterr().err.rstrip().endswith(said)  # there is no --resume to go on with
    assert len(fastbench.read_records("out").under_load) == 1
    assert not calls._measuring.locked()


def test_neither_of_the_two_measures_beside_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def rows(*_: object) -> Iterator[LoadRecord]:
        for function in (fastbench.run, fastbench.loadtest):
            with pytest.raises(UsageError) as caught:
                function(progress=False)
            said.append(str(caught.value))
        yield from ()

    monkeypatch.setattr("fastbench.scenarios.plan.rows", rows)
    assert len(fastbench.loadtest(progress=False)) == 0
    assert all(x.startswith("Another fastbench.loadtest is measuring in this") for x in said)
    assert len(said) == 2


def test_without_loadgen_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(InstallationError, match=r'pip install "fastbench\[loadgen\]"'):
        fastbench.loadtest(progress=False)
    assert not list(tmp_path.iterdir())


def test_where_it_cannot_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cluster:
        started = type("Started", (), {"by": "torchrun"})
        size = 4

    with monkeypatch.context() as patch:
        patch.setattr("fastbench.runner.cluster.here", Cluster)
        with pytest.raises(
            UsageError, match=r"torchrun started 4\. Start this program by itself\."
        ):
            fastbench.loadtest(progress=False)
    process = multiprocessing.current_process()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(UsageError, match=r"fastbench\.loadtest was called as a process that"):
        fastbench.loadtest(progress=False)


def test_records_under_load_alone_are_what_is_shown() -> None:
    from fastbench.report.collection import Records
    from fastbench.report.columns.load import LoadRow

    records = Records(under_load=[LoadRow(record=make_load_record("single-stream"))])
    assert repr(records).splitlines()[0] == "<Records: 0, and 1 under load>"
    assert "single-stream" in repr(records).splitlines()[1]
    assert str(records.table("loader,scenario")) == str(records.under_load.table("loader,scenario"))
    assert "single-stream" in str(records.table("loader,scenario"))
    assert "<td" in records._repr_html_()
    assert list(records.to_frame("loader,scenario")["scenario"]) == ["single-stream"]
