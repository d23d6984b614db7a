"""`fastbench loadtest` in a test's own process: on few images, and for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders.command_line import main_here, unless_given
from fastbench.records.load import LoadRecord
from fastbench.records.store import build_load_record, read_json
from fastbench.scenarios import load_row

LoadTest = Callable[..., tuple[int, list[LoadRecord]]]
NUM_IMAGES = 16


def read_load(path: Path) -> LoadRecord:
    record = build_load_record(read_json(path), path)
    assert record is not None
    return record


def load_tests(folder: Path) -> Iterator[LoadTest]:
    """Gives the exit code and the records in the folder.

    Warming up is short, and fewer queries than LoadGen needs are enough for a run to end.
    """
    usual = {
        "--limit": str(NUM_IMAGES),
        "--model": "sample",
        "--loader": "torchvision-tensor",
        "--device": "cpu",
        "--num-threads": "1",
        "--model-threads": "1",
        "--batch-size": "4",
        "--reference": "none",
        "--duration": "0.3s",
        "--output": str(folder),
    }

    def loadtest(*argv: str) -> tuple[int, list[LoadRecord]]:
        code = main_here(["loadtest", *unless_given(usual, argv), *argv])
        return code, [read_load(path) for path in sorted(folder.glob("*.json"))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_row, "_WARM_UP_S", 0.05)
        patch.setattr(load_row, "fewest_queries", lambda pct: 16)
        yield loadtest
