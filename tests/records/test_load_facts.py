"""Rows under load are called by how their queries arrive, where they differ in it."""

import msgspec
from builders.load_records import make_load_record
from builders.records import make

from fastbench.core.load_options import LoadConfig
from fastbench.records.facts import FACTS
from fastbench.records.load import Limit
from fastbench.records.naming import full_name, names

replace = msgspec.structs.replace


def called(*rows: object) -> list[str]:
    return [" · ".join(name) for name in names(rows)]  # type: ignore[arg-type]


def test_scenarios_tell_rows_apart() -> None:
    rows = make_load_record(), make_load_record("single-stream"), make_load_record("offline")
    assert called(*rows) == ["server", "single-stream", "offline"]


def test_a_rate_a_limit_a_wait_and_a_source_tell_rows_apart() -> None:
    search, rate = make_load_record(num=100), make_load_record(rate=250.0, num=100)
    assert called(search, rate) == ["highest rate", "250 queries/s"]
    stricter = replace(rate, limit=Limit(seconds=0.01, pct=99.9))
    assert called(rate, stricter) == ["limit 15 ms at p99", "limit 10 ms at p99.9"]
    assert called(rate, replace(rate, max_wait_s=0.002)) == ["max wait 0 ms", "max wait 2 ms"]
    assert called(rate, replace(rate, source="memory")) == ["JPEGs from files", "JPEGs from memory"]
    multi = make_load_record("multi-stream", num=100)
    assert called(multi, replace(multi, images_per_query=4)) == [
        "8 images a query",
        "4 images a query",
    ]


def test_configurations_are_called_as_their_records_will_be() -> None:
    config = LoadConfig(model=("sample",), loader=("dali",), rate=250.0)
    record = make_load_record(rate=250.0, num=100)
    for name in ("scenario", "rate", "latency-limit", "max-wait", "source", "images-per-query"):
        assert FACTS[name].of(config) == FACTS[name].of(record), name
    single = LoadConfig(model=("sample",), loader=("dali",), scenario="single-stream")
    assert called(config, single) == ["server", "single-stream"]


def test_a_row_of_fastbench_run_has_no_such_name() -> None:
    assert "server" not in full_name(make())
    assert "server · highest rate" in full_name(make_load_record(num=100))
    assert [FACTS[x].text(make()) for x in ("max-wait", "rate")] == ["", ""]
