"""The benchmark of planted delays: it runs through the real passes, and counts what is right.

Its figures depend on the machine, and are no test.
"""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "planted_delays.py"


@pytest.fixture(scope="module")
def planted() -> Any:
    spec = importlib.util.spec_from_file_location("planted_delays", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted_delays"] = module
    spec.loader.exec_module(module)
    return module


def test_a_short_case(planted: Any) -> None:
    case = dataclasses.replace(
        planted.CASES[0],
        loader=planted.even(2),
        model=planted.even(1),
        durations={"min_seconds": 0.0, "min_batches": 1, "round_seconds": 0.0},
    )
    figures, record, truth = planted.check(case, dict.fromkeys(planted.PERCENTILES, 0.0))
    passed = {figure.name: figure.passes for figure in figures}
    for name in ("images in windows", "top-1 hits", "contradictions", "verdict", "advice"):
        assert passed[name], name
    assert len(record.rounds) == 6
    assert len(truth.rates) == 3
