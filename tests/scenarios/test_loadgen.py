"""MLPerf's LoadGen in front of the batcher: its clock, its judgement, its logs."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders.fake_requests import FakeLoader, FakeModels

from fastbench.core.errors import FastbenchError, InstallationError
from fastbench.records.load import Scenario
from fastbench.scenarios import loadgen
from fastbench.scenarios.batcher import Batcher
from fastbench.scenarios.loadgen import Outcome, Rules, Times, percentile_of
from fastbench.scenarios.run_of_record import details_of, run_of

NUM_SAMPLES = 20
NAMES = [f"{i}.jpg" for i in range(NUM_SAMPLES)]

Run = Callable[..., Outcome]


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(
        FakeLoader(), FakeModels(1, takes_s=0.002), max_wait_s=0, max_queued=None,
        answer=lambda _: None,
    )  # fmt: skip
    yield made
    made.close()


def run(batcher: Batcher, folder: Path, scenario: str, **changes: Any) -> Outcome:
    given: dict[str, Any] = {
        "scenario": scenario, "duration_s": 0.2, "min_queries": 20, "rate_per_s": 100,
        "limit_s": 0.5 if scenario == "server" else None, **changes,
    }  # fmt: skip
    return loadgen.run(Rules(**given), batcher, NUM_SAMPLES, folder / "logs")


class Stalls(FakeModels):
    """It takes 100 ms once."""

    is_over = False

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        if not self.is_over and len(self.sizes_seen) == 10:
            self.is_over = True
            time.sleep(0.1)
        return super().__call__(images_NCHW)


def test_a_stall_of_the_model_is_in_the_latency_of_all_that_arrived_meanwhile(
    tmp_path: Path,
) -> None:
    """No coordinated omission: at 200 queries/s some 20 arrive in 100 ms."""
    batcher = Batcher(FakeLoader(), Stalls(1), max_wait_s=0, max_queued=None, answer=lambda _: None)
    try:
        outcome = run(batcher, tmp_path, "server", rate_per_s=200, duration_s=0.5)
    finally:
        batcher.close()
    latency_s = outcome.times.latency_s
    assert latency_s.max() > 0.095
    # Each that came in the first half of the stall waited for at least the other half.
    assert (latency_s > 0.045).sum() >= 4
    slow = details_of(Rules(scenario="server", duration_s=1, min_queries=1, rate_per_s=1),
                      outcome, batcher.batches, NAMES, None, None)["slowest"][0]  # fmt: skip
    assert slow.latency_s == pytest.approx(latency_s.max())
    assert slow.parts.total_s == pytest.approx(slow.latency_s, rel=0.01)


def test_a_query_that_could_not_be_handed_over_in_time_has_waited_since_it_was_due(
    batcher: Batcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoadGen's own thread is blocked for 100 ms."""
    take, calls = batcher.take, iter(range(10**6))

    def blocked(asked: Sequence[tuple[int, int]]) -> Any:
        if next(calls) == 10:
            time.sleep(0.1)
        return take(asked)

    monkeypatch.setattr(batcher, "take", blocked)
    outcome = run(batcher, tmp_path, "server", rate_per_s=200, duration_s=0.5)
    times = outcome.times
    assert (times.latency_s > 0.045).sum() >= 4
    assert times.issue_s.max() > 0.05
    assert (times.latency_s >= times.issue_s).all()
    gaps_s = np.diff(times.arrival_s)
    assert gaps_s.max() < 0.1  # arrivals are as scheduled, not as they could be issued
    assert len(gaps_s) / gaps_s.sum() == pytest.approx(200, rel=0.5)


def test_the_percentile_of_a_model_that_sleeps(tmp_path: Path) -> None:
    models = FakeModels(1, takes_s=0.01)
    batcher = Batcher(FakeLoader(), models, max_wait_s=0, max_queued=None, answer=lambda _: None)
    try:
        outcome = run(batcher, tmp_path, "single-stream", min_queries=30)
    finally:
        batcher.close()
    assert np.percentile(outcome.times.latency_s, 20) == pytest.approx(0.0105, rel=0.15)
    assert outcome.latency_s["90"] == pytest.approx(percentile_of(outcome.times.latency_s, 90))
    assert outcome.latency_s["min"] >= 0.01
    # One after the other.
    ends_s = outcome.times.arrival_s + outcome.times.latency_s
    assert (outcome.times.arrival_s[1:] >= ends_s[:-1] - 1e-4).all()


@pytest.mark.parametrize("scenario", ["server", "single-stream", "multi-stream", "offline"])
def test_what_it_says_is_what_the_queries_say(
    scenario: Scenario, batcher: Batcher, tmp_path: Path
) -> None:
    images = 4 if scenario == "multi-stream" else 1
    rate_per_s = 100 if scenario == "server" else 1000
    outcome = run(batcher, tmp_path, scenario, images_per_query=images, rate_per_s=rate_per_s)
    limit_s = 0.5 if scenario == "server" else None
    rules = Rules(scenario=scenario, duration_s=0.2, min_queries=20, rate_per_s=rate_per_s,
                  images_per_query=images, limit_s=limit_s)  # fmt: skip
    made = run_of("only", rules, outcome, "logs")
    latencies_s = details_of(rules, outcome, batcher.batches, NAMES, None, None)["latencies_s"]
    assert len(latencies_s) == made.num_queries
    assert made.num_images == made.num_queries * images == sum(batcher.batches)
    for name, stated_s in made.latency_s.items():
        if name == "mean":
            right = np.mean(latencies_s)
        elif name in ("min", "max"):
            right = getattr(np, name)(latencies_s)
        else:
            right = percentile_of(np.array(latencies_s), float(name))
        assert stated_s == pytest.approx(right, abs=2e-6), name
    assert {"50", "90", "99", "99.9"} <= made.latency_s.keys()
    assert made.is_valid is not bool(made.why_not)
    assert all(query.prediction == query.sample for query in outcome.queries)
    if scenario == "server":
        assert made.scheduled_per_s == pytest.approx(
            made.num_queries / outcome.times.arrival_s[-1], rel=0.15
        )


def test_each_image_once(batcher: Batcher, tmp_path: Path) -> None:
    outcome = run(batcher, tmp_path, "offline", each_once=True, min_queries=1, duration_s=0)
    assert outcome.answers == {i: i for i in range(NUM_SAMPLES)}
    assert sorted(query.sample for query in outcome.queries) == [*range(NUM_SAMPLES)]


def test_its_logs_are_kept_but_not_the_trace(
    batcher: Batcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audit.config").write_text("*.*.mode = 2\n*.*.min_query_count = 7\n")
    run(batcher, tmp_path, "server")
    names = {path.name for path in (tmp_path / "logs").iterdir()}
    assert names == {f"mlperf_log_{x}" for x in ("accuracy.json", "detail.txt", "summary.txt")}
    summary = (tmp_path / "logs/mlperf_log_summary.txt").read_text()
    assert "min_query_count : 20" in summary  # the file in the current folder is not read


def test_the_same_seed_asks_for_the_same_images_at_the_same_times(
    batcher: Batcher, tmp_path: Path
) -> None:
    first, again, other = (
        run(batcher, tmp_path / str(i), "server", seed=seed).times
        for i, seed in enumerate((0, 0, 1))
    )
    assert first.sample.tolist() == again.sample.tolist() != other.sample.tolist()
    assert first.arrival_s == pytest.approx(again.arrival_s, abs=1e-5)


def test_the_seconds_and_queries_so_far_are_told(batcher: Batcher, tmp_path: Path) -> None:
    told: list[tuple[float, int]] = []
    rules = Rules(scenario="server", duration_s=0.5, min_queries=1, rate_per_s=100, limit_s=1.0)
    loadgen.run(rules, batcher, NUM_SAMPLES, tmp_path, lambda *now: told.append(now))
    assert told
    assert told == sorted(told)


def test_a_few_images_in_queries_of_more(batcher: Batcher, tmp_path: Path) -> None:
    rules = Rules(scenario="multi-stream", duration_s=0.05, min_queries=3, rate_per_s=400,
                  images_per_query=8)  # fmt: skip
    outcome = loadgen.run(rules, batcher, 3, tmp_path)
    assert len(outcome.queries) % 8 == 0
    assert {query.sample for query in outcome.queries} == {0, 1, 2}


# ------------------------------------------------------------------------------- its judgement


def test_it_is_not_valid_above_the_limit(batcher: Batcher, tmp_path: Path) -> None:
    outcome = run(batcher, tmp_path, "server", limit_s=1e-4)
    assert not outcome.is_valid
    assert "the latency limit was not kept" in outcome.why_not


def test_it_is_not_valid_with_too_few_queries(batcher: Batcher, tmp_path: Path) -> None:
    outcome = run(batcher, tmp_path, "server")
    assert not outcome.is_valid
    (why,) = outcome.why_not
    assert why.startswith("too few queries to be sure of the percentile (LoadGen: ")
    assert why.endswith(" queries)")


def test_it_is_valid(batcher: Batcher, tmp_path: Path) -> None:
    outcome = run(batcher, tmp_path, "single-stream", min_queries=64, rate_per_s=1000)
    assert (outcome.is_valid, outcome.why_not) == (True, [])


def said(**changes: Any) -> Outcome:
    none = np.zeros(0)
    times = Times(query=none, sample=none, arrival_s=none, issue_s=none, latency_s=none)
    return Outcome(said={"result_validity": "INVALID", **changes}, times=times, queries=[])


def test_its_reasons_in_words() -> None:
    assert said(result_min_duration_met=False).why_not == ["it was shorter than it had to be"]
    assert said(result_min_queries_met=False).why_not == [
        "it had fewer queries than it had to have"
    ]
    text = (
        " * Only processed 3 queries.\n * Need to process at least 64 queries for early stopping."
    )
    assert said(early_stopping_met=False, early_stopping_result=text).why_not == [
        "too few queries to be sure of the percentile (LoadGen: process at least 64 queries)"
    ]
    assert said(early_stopping_met=False).why_not == [
        "too few queries to be sure of the percentile"
    ]


def test_the_percentile_is_loadgens() -> None:
    values = np.arange(100)[::-1] / 100
    assert [percentile_of(values, pct) for pct in (50, 90, 99, 99.9)] == [0.5, 0.9, 0.99, 0.99]
    assert percentile_of(np.array([3.0]), 99) == 3.0


# ------------------------------------------------------------------------------- what goes wrong


def test_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlperf_loadgen", None)
    with pytest.raises(InstallationError, match=r'pip install "fastbench\[loadgen\]"'):
        loadgen.check_installed()


def test_it_has_made_too_few_queries_beforehand(tmp_path: Path) -> None:
    """The images come ten times as fast as was expected."""
    batcher = Batcher(
        FakeLoader(), FakeModels(1), max_wait_s=0, max_queued=None, answer=lambda _: None
    )
    try:
        with pytest.raises(FastbenchError, match=r"LoadGen ended early: .*detail\.txt"):
            run(batcher, tmp_path, "single-stream", rate_per_s=50, duration_s=0.4, min_queries=1)
    finally:
        batcher.close()


def test_no_thread_is_left(batcher: Batcher, tmp_path: Path) -> None:
    run(batcher, tmp_path, "server")
    assert not [x for x in threading.enumerate() if x.name == "fastbench-loadgen"]
