"""`import fastbench`: runs, records and comparisons from Python."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.models import Net
from builders.paths import TESTS
from builders.runs import run as record_of
from builders.runs import written

import fastbench
from fastbench import api, calls
from fastbench.core.command_options import CALL_VARIABLE
from fastbench.core.errors import (
    CrashError,
    DataNotFoundError,
    LoaderError,
    RecordError,
    RowsFailedError,
    UsageError,
)
from fastbench.records.facts import FACTS
from fastbench.records.record import FailedRow, Record
from fastbench.runner import execute

QUICK: dict[str, Any] = {
    "device": "cpu",
    "batch_size": 2,
    "num_threads": 1,
    "model_threads": 1,
    "quick": True,
    "passes": "end-to-end",
    "reference": "none",
    "progress": False,
}
SCRIPT = """
import pathlib, sys
pathlib.Path("ran.txt").open("a").write("once ")
sys.path.insert(0, sys.argv[1])
import fastbench
from builders import stub_child
from fastbench.core import child_process
from fastbench.runner import execute
del child_process.PRELOADED[1:]  # the stub needs no torch
execute.measure = stub_child.measure
found = fastbench.run(model="sample", loader="dali", reference="none", progress=False)
print(found[0].loader, found[0].process, "torch" in sys.modules)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(monkeypatch: pytest.MonkeyPatch, *rows: Record | FailedRow | BaseException) -> None:
    """What a plan's rows become: records are written first, exceptions are raised."""

    def plan_rows(plan: object, folder: Path, progress: object) -> Iterator[Record | FailedRow]:
        for row in rows:
            if isinstance(row, BaseException):
                raise row
            if isinstance(row, Record):
                written(folder, row)
            yield row

    monkeypatch.setattr(execute, "plan_rows", plan_rows)


def test_importing_it_imports_nothing_heavy_and_its_names_are_listed() -> None:
    heavy = "torch numpy matplotlib rich pandas msgspec"
    code = (
        "import sys, fastbench; "
        f"assert not {{*'{heavy}'.split()}} & {{*sys.modules}}; "
        "assert {*fastbench.__all__} <= {*dir(fastbench)}; "
        "fastbench.read_records, fastbench.__version__; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert fastbench.__version__
    with pytest.raises(AttributeError, match="has no attribute 'rnu'"):
        _ = fastbench.rnu
    assert (Path(fastbench.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lodaer": "dali"}, "no option 'lodaer'. Did you mean 'loader'"),
        ({"batch_size": 0}, "--batch-size is 0. Give a whole number of at least 1"),
        ({"dtype": "half"}, "Choose one of: auto, float32"),
        ({"batch_size": []}, "--batch-size is empty"),
        ({"ab": "compile=true"}, "ab is an option of the command line alone"),
        ({"dry_run": True}, "dry_run is an option of the command line alone"),
        ({"model": 7}, "A model is of type int"),
        ({"model": Net(), "ranks": 2}, "Net is an object .* ranks=2 needs a process for each"),
        ({"model": Net(), "cuda_wait": "block"}, "cuda_wait='block' cannot be undone"),
        ({"loader": "lodaer"}, "There is no loader 'lodaer'"),
        ({"engine": ["eager", "opnvino"]}, "There is no engine 'opnvino'. Did you mean 'openvino'"),
        ({"quantize": "int8"}, "The engine eager does not quantise to int8. Use --engine compile"),
        (
            {"engine": "aot", "dtype": ["float32", "bfloat16"], "quantize": "int8"},
            "engine aot does",
        ),
        ({"engine_option": "openvino.hint=latency"}, "engine 'openvino', which is not run"),
        ({"resume": True}, "There is no run in fastbench-results to go on with"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        fastbench.run(progress=False, **options)
    assert not list(tmp_path.iterdir())
    assert CALL_VARIABLE not in os.environ


def test_options_are_read_as_on_the_command_line() -> None:
    import numpy as np

    given = {"data": Path("val"), "batch_size": np.array([8, 16]), "tolerance": 0.5,
             "loader": "dali", "compile": [True, False], "resume": True, "model": None}  # fmt: skip
    assert api._RUN.read(given) == {
        "data": "val", "batch_size": (8, 16), "tolerance": "0.5", "loader": ("dali",),
        "compile": (True, False), "resume": "",
    }  # fmt: skip
    import inspect

    assert inspect.signature(fastbench.run).parameters["batch_size"].default is None
    assert "dry_run" not in inspect.signature(fastbench.run).parameters


@pytest.mark.usefixtures("server")
def test_an_object_is_measured_here_in_a_thread_and_nothing_of_it_is_changed(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"  # which workers would run
    script.write_text("open('ran-again', 'w')\nraise SystemExit(3)\n")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    module = Net().train()
    torch.set_float32_matmul_precision("high")
    before, found, num_threads = torch.get_rng_state(), [], torch.get_num_threads()
    options = {**QUICK, "model_threads": 2, "output": tmp_path / "out"}
    thread = threading.Thread(
        target=lambda: found.extend(
            [fastbench.run(module, ["torchvision", "torchvision-tensor"], small, **options)]
        )
    )
    thread.start()
    thread.join()
    (records,) = found
    assert [record.loader for record in records] == ["torchvision", "torchvision-tensor"]
    record = records[0]
    assert (record.model, record.process) == ("Net", "caller")
    assert FACTS["process"].of(record) == "the caller's process"
    assert record.environment["freed_memory"] == record.config["allocator"] == "system"
    assert record.loader_settings["num_workers"] == 1
    assert record.command == (
        "fastbench.run(model=<Net>, loader=['torchvision', 'torchvision-tensor'], "
        f"data={small!r}, device='cpu', batch_size=2, num_threads=1, model_threads=2, quick=True, "
        f"passes='end-to-end', reference='none', output={tmp_path / 'out'!r})"
    )
    assert records.folder == tmp_path / "out"
    assert {row.path for row in records.rows} == {*(tmp_path / "out").glob("*.json")}
    assert module.training
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == num_threads
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")
    assert CALL_VARIABLE not in os.environ
    assert not (tmp_path / "ran-again").exists()
    assert [r.command for r in fastbench.read_records(tmp_path / "out")] == [record.command] * 2


def test_an_object_that_fails_is_a_row_that_fails(small: Path, tmp_path: Path) -> None:
    class Fails(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) == 2 and x.any():  # neither as it is made ready nor as it is warmed up
                raise ValueError("not today")
            return super().forward(x)

    with pytest.raises(RowsFailedError, match="1 of 2 rows failed:\n  Fails · ") as caught:
        fastbench.run([Fails(), Net()], "torchvision-tensor", small, **QUICK)
    assert "not today" in str(caught.value)
    (failed,) = caught.value.failed
    assert isinstance(failed.error, CrashError)
    assert isinstance(failed.error.__cause__, ValueError)
    assert [record.model for record in caught.value.records] == ["Net"]


def test_rows_that_fail_are_told_after_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    error = LoaderError("It is broken. Mend it.")
    failed = FailedRow("sample", "opencv", error)
    planned(monkeypatch, record_of(100, loader="dali"), failed, record_of(90, loader="spdl"))
    with pytest.raises(RowsFailedError) as caught:
        fastbench.run(model="sample", loader=["dali", "opencv", "spdl"], progress=False)
    assert str(caught.value) == "1 of 3 rows failed:\n  sample · opencv: It is broken. Mend it."
    assert caught.value.__cause__ is error
    assert caught.value.failed == [failed]
    assert [record.loader for record in caught.value.records] == ["dali", "spdl"]
    assert isinstance(caught.value.records, fastbench.Records)
    assert all(row.path.exists() for row in caught.value.records.rows)


def test_what_ends_a_run_has_the_rows_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, record_of(100), DataNotFoundError("There are no images."))
    with pytest.raises(DataNotFoundError) as caught:
        fastbench.run(progress=False)
    assert [record.loader for record in caught.value.records] == ["dali"]


def test_ctrl_c_keeps_what_is_finished_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    planned(monkeypatch, record_of(100), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fastbench.run(output="out")
    assert "1 finished row is in out. Go on with the same call" in capsys.readouterr().err
    assert len(fastbench.read_records("out")) == 1
    planned(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fastbench.run(output="empty", progress=False)
    assert not calls._measuring.locked()


def test_a_run_of_which_nothing_is_left_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planned(monkeypatch)
    assert len(fastbench.run(progress=False)) == 0
    assert not list((tmp_path / "fastbench-results").iterdir())


def test_two_runs_at_the_same_time_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def plan_rows(*_: object) -> Iterator[Record]:
        try:
            fastbench.run(progress=False)
        except UsageError as error:
            said.append(str(error))
        yield from ()

    monkeypatch.setattr(execute, "plan_rows", plan_rows)
    fastbench.run(progress=False)
    assert said[0].startswith("Another fastbench.run is measuring in this process")


def test_ranks_of_torchrun_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cluster:
        started = type("Started", (), {"by": "torchrun"})
        size = 4

    monkeypatch.setattr("fastbench.runner.cluster.here", Cluster)
    with pytest.raises(UsageError, match=r"torchrun started 4\. Start this program by itself"):
        fastbench.run(progress=False)


def test_a_program_whose_own_processes_run_it_again_is_told_of_the_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mark is `multiprocessing`'s, while a child imports the main module."""
    process = multiprocessing.current_process()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(UsageError, match='below `if __name__ == "__main__":`'):
        fastbench.run(progress=False)


def test_reading_records(tmp_path: Path) -> None:
    first = written(tmp_path / "a", record_of(100))
    written(tmp_path / "a", record_of(200))
    (tmp_path / "a" / "damaged.json").write_text('{"schema_version": 1, "throughput": 7}')
    with pytest.warns(UserWarning, match=r"damaged\.json is a damaged record"):
        found = fastbench.read_records(first, tmp_path / "a")
    assert [record.images_per_s for record in found] == pytest.approx([100, 200])
    assert found.folder is None
    with pytest.raises(RecordError, match=r"damaged\.json is a damaged record"):
        fastbench.read_records(tmp_path / "a" / "damaged.json")
    with pytest.raises(RecordError, match="nowhere cannot be read"):
        fastbench.read_records(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match=r"The folder .*empty holds no records"):
        fastbench.read_records(tmp_path / "empty")
    with pytest.raises(UsageError, match="nothing to read"):
        fastbench.read_records()


def test_comparing_folders_and_records(tmp_path: Path) -> None:
    for name, rates in (("a", (99, 100, 101)), ("b", (49, 50, 51))):
        written(tmp_path / name, record_of(*rates))
    a, b = (fastbench.read_records(tmp_path / name) for name in "ab")
    assert a.folder == tmp_path / "a"
    for sides in ((tmp_path / "a", str(tmp_path / "b")), (a, b), (a, tmp_path / "b")):
        (pair,) = fastbench.compare(*sides)
        assert pair.verdict == "slower"
        assert pair.ratio == pytest.approx(0.5, abs=0.01)
    with pytest.raises(RecordError, match="no record to compare"):
        fastbench.compare(a, b[:0])
    with pytest.raises(RecordError, match="is inside of"):
        fastbench.compare(tmp_path, tmp_path / "a")


@pytest.mark.parametrize("how", ["script", "stdin"])
def test_a_program_without_a_guard_runs_once(how: str, tmp_path: Path) -> None:
    record = written(tmp_path / "stub", record_of(100))
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py" if how == "script" else "-", str(TESTS)],
        input=SCRIPT if how == "stdin" else None,
        env={**os.environ, "STUB_RECORD": str(record)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("dali own False\n", "")
    assert (tmp_path / "ran.txt").read_text() == "once "
