"""Records under load: what is written is what is read, and what derives from them."""

import json
from pathlib import Path

import msgspec
import pytest
from builders.load_records import LIMIT, make_load_record
from builders.paths import GOLDEN

from fastbench.core.errors import RecordError
from fastbench.records.load import LoadRecord
from fastbench.records.load_validity import find_contradictions_under_load
from fastbench.records.store import build_load_record, read_json, read_record, write_record

FILE = GOLDEN / "load-record-v12.json"


def read(path: Path) -> LoadRecord:
    record = build_load_record(read_json(path), path)
    assert record is not None
    return record


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    for scenario in ("server", "single-stream", "multi-stream", "offline"):
        record = make_load_record(scenario, num=50)  # type: ignore[arg-type]
        path = write_record(record, tmp_path)
        assert path.name == f"load-{scenario}-sample-dali.json"
        assert read(path) == record


def test_the_golden_file_of_version_12() -> None:
    """It loads for ever, with the figures that it had: it is not changed to suit the code."""
    assert json.loads(FILE.read_text())["schema_version"] == 12
    record = read(FILE)
    assert find_contradictions_under_load(record) == []
    assert (record.is_search, len(record.runs), len(record.latencies_s)) == (True, 8, 800)
    assert record.latency_bounded_per_s == pytest.approx(404.6)
    assert record.result.percentile_s(99) == pytest.approx(0.0130, abs=1e-3)
    assert record.result.percentile_s(75) is None
    assert record.mean_batch == pytest.approx(2.0, abs=0.3)


def test_a_row_of_fastbench_run_is_another_record() -> None:
    with pytest.raises(RecordError, match="is a record of `fastbench loadtest`"):
        read_record(FILE)
    other = GOLDEN / "record-v12.json"
    assert build_load_record(read_json(other), other) is None


def test_the_latency_bounded_throughput_is_of_a_run_that_held_the_limit() -> None:
    record = make_load_record(rate=200.0)
    assert record.latency_bounded_per_s == 200.0
    slow = make_load_record(rate=200.0, slowness=3.0)
    assert not slow.result.holds(LIMIT)
    assert slow.latency_bounded_per_s is None
    lost = msgspec.structs.replace(record.result, num_failed=1)
    assert msgspec.structs.replace(record, runs=[lost]).latency_bounded_per_s is None
    assert make_load_record("offline").latency_bounded_per_s is None


def test_the_runs_of_a_search_by_their_rate() -> None:
    rates = [run.offered_per_s for run in make_load_record().by_rate]
    assert rates == sorted(rates, key=lambda rate: rate or 0)
    assert len(rates) == 8
    assert make_load_record("single-stream").by_rate == []
