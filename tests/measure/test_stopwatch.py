"""A row's stages follow each other: their seconds are the row's."""

import time

import pytest

from fastbench.measure.stopwatch import Stopwatch
from fastbench.records.stages import Stages


def test_stages_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([3.0, 7.0, 8.0, 12.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    stopwatch = Stopwatch(since=1.0)
    for stage in ("model", "passes", "model"):
        stopwatch.enter(stage)
    stages = stopwatch.read()
    assert stages == Stages(start_s=2.0, model_s=4.0 + 4.0, passes_s=1.0)
    assert stages.total_s == 12.0 - 1.0


def test_a_stage_that_no_record_has_fails() -> None:
    stopwatch = Stopwatch()
    stopwatch.enter("lunch")
    with pytest.raises(TypeError, match="lunch_s"):
        stopwatch.read()
