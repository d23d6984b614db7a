"""A record under load with one thing changed is refused, INVALID, or shown all the same."""

import json
from pathlib import Path

import pytest
from builders.mutations import Mutation, mutations
from builders.paths import GOLDEN

from fastbench.core.errors import RecordError
from fastbench.records.load import LoadRecord
from fastbench.records.store import build_load_record
from fastbench.report.columns.load import LoadRow
from fastbench.report.compare import load_screen
from fastbench.report.compare.load_comparison import pair_load
from fastbench.report.formats import export, terminal
from fastbench.report.read import refusing_damage
from fastbench.report.sheet.load_sheet import make_load_sheet
from fastbench.report.sheet.view import View

PATH = Path("a.json")
HELD = {
    *("batch_size", "batches.1", "images_per_query", "latencies_s"),
    *("runs.num_images", "runs.num_queries", "runs.wall_s"),
    *("served.num_images", "slowest.latency_s"),
}
"""Numbers that others have to agree with: double, they are INVALID."""


def build(stored: object) -> LoadRecord:
    record = build_load_record(stored, PATH)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def stored() -> dict[str, object]:
    found = json.loads((GOLDEN / "load-record-v12.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def mutated(stored: dict[str, object]) -> list[tuple[Mutation, LoadRecord]]:
    found = []
    for mutation in mutations(stored):
        try:
            record = build_load_record(mutation.record, PATH)
        except RecordError:
            continue
        if record is not None:  # without a scenario it is a record of another kind
            found.append((mutation, record))
    return found


def test_whatever_can_be_read_is_shown_or_complained_of(
    stored: dict[str, object], mutated: list[tuple[Mutation, LoadRecord]]
) -> None:
    whole = LoadRow(record=build(stored))
    shown = [x for x in mutated if len(x[0].path) < 2 or x[0].what in ("x1000", "empty", "null")]
    assert len(shown) > 150
    for mutation, record in shown:
        row = LoadRow(record=record, path=PATH)
        sheet, complaints = make_load_sheet([row])
        assert (sheet is None) == bool(complaints), mutation
        if sheet is None:
            continue
        assert terminal.to_text(sheet)
        assert export.to_markdown(sheet)
        data, _ = make_load_sheet([row], View(columns="all", is_data=True))
        assert data is not None
        json.loads(export.to_jsonl(data))
        with refusing_damage("B is damaged"):
            pairs = pair_load([whole], [row])
            json.dumps([x.as_json() for x in pairs.rows], allow_nan=False)
            assert load_screen.alarms(pairs) is not None


def test_what_others_have_to_agree_with_is_held_against_them(
    mutated: list[tuple[Mutation, LoadRecord]],
) -> None:
    doubled = [x for x in mutated if x[0].name in HELD and x[0].what == "x2"]
    assert {mutation.name for mutation, _ in doubled} == HELD
    for mutation, record in doubled:
        assert LoadRow(record=record).invalid, mutation
