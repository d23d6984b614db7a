"""Rows under load from files to a record: real images, a real model, the real LoadGen."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from builders.command_line import main_here, sentence
from builders.load_rows import NUM_IMAGES, LoadTest, load_tests

from fastbench.core.errors import EXIT_INTERRUPTED, CorruptImageError
from fastbench.loaders.shared.on_demand import ThreadedOnDemand
from fastbench.records.load import LoadRecord
from fastbench.records.load_validity import find_contradictions_under_load
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.scenarios import load_row, loadgen

SERVED = ("--scenario", "server", "--rate", "60", "--latency", "5s@p50")
"""What holds on any machine."""


@pytest.fixture
def loadtest(tmp_path: Path) -> Iterator[LoadTest]:
    yield from load_tests(tmp_path / "records")


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    left = [x.name for x in threading.enumerate() if x.name.startswith("fastbench")]
    assert not left


@pytest.mark.parametrize(
    ("scenario", "argv", "code"),
    [
        ("server", SERVED[2:], 0),
        ("single-stream", (), 1),  # LoadGen is not sure of a percentile of 16 queries
        ("multi-stream", ("--images-per-query", "3"), 1),
        ("offline", ("--duration", "1ms"), 0),  # as many images as LoadGen likes
    ],
)
def test_a_row_of_each_scenario(
    scenario: str,
    argv: tuple[str, ...],
    code: int,
    loadtest: LoadTest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, (record,) = loadtest("--scenario", scenario, *argv)
    shown = capsys.readouterr()
    assert found == code, shown.err
    assert find_contradictions_under_load(record) == []
    (run,) = record.runs
    assert (record.scenario, run.purpose, record.is_finished) == (scenario, "only", True)
    assert run.is_valid is (code == 0)
    assert run.num_queries >= (1 if scenario == "offline" else 16)
    assert run.num_images == run.num_queries * record.images_per_query
    assert record.images_per_query == (3 if scenario == "multi-stream" else 1)
    assert record.batch_size == {"single-stream": 1, "multi-stream": 3}.get(scenario, 4)
    assert record.batch_sizes == [*range(1, record.batch_size + 1)]
    assert record.accuracy is not None
    assert record.accuracy.num_samples == NUM_IMAGES
    assert record.served is not None
    assert record.served.num_images == run.num_images
    assert record.served.num_changed == 0
    assert record.telemetry is not None
    assert record.parts["all"].total_s == pytest.approx(run.latency_s["mean"], rel=0.01)
    assert run.logs is not None
    logs = tmp_path / "records" / run.logs
    assert (logs / "mlperf_log_detail.txt").is_file()
    assert not [*(tmp_path / "records").rglob("*trace.json")]
    assert (run.offered_per_s, record.limit is None) == (
        (60, False) if scenario == "server" else (None, True)
    )
    assert scenario in shown.out
    if code:
        assert "INVALID: too few queries to be sure of the percentile" in sentence(shown.err)


def test_the_hits_are_those_of_a_run(loadtest: LoadTest, tmp_path: Path) -> None:
    """From files and from memory, whatever batches are formed."""
    argv = ["--limit", str(NUM_IMAGES), "--model", "sample", "--device", "cpu", "--loader"]
    other = tmp_path / "run"
    code = main_here(
        ["run", *argv, "torchvision-tensor", "--reference", "none", "--quick", "--passes",
         "end-to-end", "--batch-size", "4", "--model-threads", "1", "--min-seconds", "0.2",
         "--output", str(other)]
    )  # fmt: skip
    assert code == 0
    (record,) = (read_record(path) for path in other.glob("*.json"))
    assert isinstance(record, Record)
    code, found = loadtest(*SERVED, "--source", "file", "--source", "memory")
    assert code == 0
    assert sorted(each.source for each in found) == ["file", "memory"]
    for each in found:
        assert each.accuracy is not None
        assert record.accuracy is not None
        assert each.accuracy.top1_correct == record.accuracy.top1_correct
        assert each.accuracy.per_class == record.accuracy.per_class
        assert each.served is not None
        assert each.served.top1_correct is not None
        assert find_contradictions_under_load(each) == []


def test_the_highest_rate_is_searched(
    loadtest: LoadTest, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (record,) = loadtest("--latency", "200ms@p50", "--quick", "--rate-tolerance", "0.5")
    shown = capsys.readouterr()
    assert find_contradictions_under_load(record) == []
    purposes = [run.purpose for run in record.runs]
    assert purposes == sorted(purposes, reverse=True)
    assert {*purposes} == {"search", "confirm"}
    assert record.is_finished
    assert record.search_ended is not None
    assert record.result.purpose == "confirm"
    assert code == (0 if record.result.is_valid else 1), shown.err
    assert len({run.logs for run in record.runs}) == len(record.runs)
    assert "No MLPerf result" in shown.out


def test_a_compiled_model_has_a_few_sizes_and_pads_to_them(
    loadtest: LoadTest, no_inductor: None
) -> None:
    code, (record,) = loadtest(*SERVED, "--engine", "compile", "--batch-size", "3")
    assert code == 0
    assert record.batch_sizes == [1, 2, 3]
    assert record.compile_mode is not None
    assert record.compilation is not None
    assert record.compilation.num_recompiles == 0
    assert find_contradictions_under_load(record) == []
    assert record.served is not None
    assert record.served.num_changed == 0


def after(num: int, do: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    """`do`, and from a call on `then`."""
    calls = itertools.count(1)
    return lambda *given, **more: (do if next(calls) <= num else then)(*given, **more)


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("num", [0, 3])
def test_a_full_memory_fails_the_row(
    num: int,
    loadtest: LoadTest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While the first images are decoded, or the first batches are formed."""
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    name = "decode" if num == 0 else "collate"
    real = getattr(ThreadedOnDemand, name)
    monkeypatch.setattr(ThreadedOnDemand, name, after(num, real, raising(error)))
    code, records = loadtest(*SERVED)
    assert (code, records) == (1, [])
    said = sentence(capsys.readouterr().err)
    assert "Out of memory" in said
    assert "Try --batch-size 2" in said


def test_a_file_that_goes_bad_meanwhile_is_named_and_the_others_are_served(
    loadtest: LoadTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_decode, real_run = ThreadedOnDemand.decode, load_row._Row._run
    is_running = False

    def decode(self: ThreadedOnDemand, samples: list[int]) -> torch.Tensor:
        if is_running and samples[0] == 3:
            raise CorruptImageError("3.jpg", "is cut off")
        return real_decode(self, samples)

    def run(self: Any, *given: Any) -> Any:
        nonlocal is_running
        is_running = True
        return real_run(self, *given)

    monkeypatch.setattr(ThreadedOnDemand, "decode", decode)
    monkeypatch.setattr(load_row._Row, "_run", run)
    code, (record,) = loadtest(
        "--scenario", "server", "--rate", "150", "--latency", "5s@p50", "--duration", "0.6s"
    )
    assert code == 1
    run_ = record.result
    assert run_.num_failed > 0
    assert not run_.is_valid
    assert find_contradictions_under_load(record) == []
    (failed,) = record.failed
    assert failed.count == run_.num_failed
    assert failed.why.startswith("3.jpg is cut off.")
    assert record.served is not None
    assert record.served.num_images == run_.num_images - run_.num_failed
    assert "could not be answered" in sentence(capsys.readouterr().err)


def test_what_a_search_has_measured_stays_when_it_is_interrupted(
    loadtest: LoadTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = loadgen.run
    # The first run is that of each image once.
    monkeypatch.setattr(loadgen, "run", after(3, real, raising(KeyboardInterrupt())))
    code, (record,) = loadtest("--latency", "200ms@p50")
    assert code == EXIT_INTERRUPTED
    assert isinstance(record, LoadRecord)
    assert [run.purpose for run in record.runs] == ["search", "search"]
    assert not record.is_finished
    shown = capsys.readouterr()
    assert "Interrupted: no row was finished; in " in sentence(shown.err)
    assert "are the runs so far." in sentence(shown.err)


def test_images_in_memory_that_do_not_fit(
    loadtest: LoadTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few: Any = type("Memory", (), {"available": 1000})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: few)
    code, records = loadtest(*SERVED, "--source", "memory")
    assert (code, records) == (1, [])
    said = sentence(capsys.readouterr().err)
    assert "--source memory would hold 16 JPEGs in 1.8 MB, and 1.0 kB are available" in said
    assert "Use a smaller --limit." in said
