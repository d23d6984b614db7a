"""A record of two ranks with one thing of them changed is refused, INVALID, or known here.

As `test_mutated_records.py`, which has all that is not of ranks.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from builders.mutations import Mutation, mutations
from builders.paths import GOLDEN

from fastbench.core.errors import RecordError
from fastbench.records.record import Record
from fastbench.records.speed import Telemetry, WarmUp
from fastbench.records.store import build_record, read_record
from fastbench.records.validity import find_contradictions

FILE = GOLDEN / "record-v9.json"
SUMMED = ("num_images", "num_cores", "cpu_s")
"""Of the telemetry."""
FREE = {
    # where a rank ran, and with what
    *(f"ranks.{name}" for name in ("local_rank", "device_name", "num_threads")),
    "ranks.cores",
    # measured once
    *(f"ranks.warm_up.{name}" for name in WarmUp.__struct_fields__),
    *(f"ranks.{of}_ceiling.wall_s" for of in ("loader", "model")),
    *(f"ranks.{of}_ceiling.cpu_s" for of in ("loader", "model")),
    "ranks.latency.samples_s",
    *(
        f"ranks.telemetry.{name}"
        for name in Telemetry.__struct_fields__
        if name not in (*SUMMED, "gpu")
    ),
}
GONE = ("null", "removed", "empty")


@pytest.fixture(scope="module")
def mutated() -> list[Mutation]:
    return [x for x in mutations(json.loads(FILE.read_text("utf-8"))) if x.name.startswith("ranks")]


@pytest.fixture(scope="module")
def read(mutated: list[Mutation]) -> list[tuple[Mutation, Record]]:
    found = []
    for mutation in mutated:
        with contextlib.suppress(RecordError):
            found.append((mutation, build_record(mutation.record, Path("a.json"))))
    return found


def test_the_golden_record_is_of_two_ranks() -> None:
    record = read_record(FILE)
    assert [part.rank for part in record.ranks] == [0, 1]
    assert [part.num_samples for part in record.ranks] == [20, 20]
    assert find_contradictions(record) == []


def test_numbers_of_ranks_that_change_without_a_word_are_known(
    mutated: list[Mutation], read: list[tuple[Mutation, Record]]
) -> None:
    assert len(mutated) > 300
    golden = read_record(FILE)
    accepted = {
        mutation.name
        for mutation, record in read
        if mutation.what not in (*GONE, "unknown field") and record != golden
        if not find_contradictions(record)
    }
    assert accepted == FREE


def test_a_rank_that_is_gone_is_missed(read: list[tuple[Mutation, Record]]) -> None:
    golden = read_record(FILE)
    for mutation, record in read:
        if mutation.name in ("ranks", "ranks.windows") and record != golden:
            assert find_contradictions(record), mutation
