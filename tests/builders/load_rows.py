"""`fastbench loadtest` in a test's own process: on few images, and for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders.command_line import main_here, unless_given
from fastbench.records.load import LoadRecord
from fastbench.records.store import read_record
from fastbench.scenarios import load_row

LoadTest = Callable[..., tuple[int, list[LoadRecord]]]
NUM_IMAGES = 16


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
        found = [read_record(path) for path in sorted(folder.glob("*.json"))]
        records = [record for record in found if isinstance(record, LoadRecord)]
        assert len(records) == len(found)
        return code, records

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_row, "_WARM_UP_S", 0.05)
        patch.setattr(load_row, "fewest_queries", lambda pct: 16)
        yield loadtest
