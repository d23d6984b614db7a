"""From what LoadGen and the batcher say to a record: latencies, and where their time went."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from builders.load_records import make_load_record

from fastbench.records.load import LoadRecord
from fastbench.scenarios.batcher import TURNED_AWAY, Query
from fastbench.scenarios.loadgen import Outcome, Rules, Times
from fastbench.scenarios.run_of_record import (
    details_of,
    fewest_queries,
    is_surely_over,
    most_over,
    run_of,
)

OTHER_DAY_S = 5e4
"""The batcher's clock shows another time than LoadGen's."""
PARTS = ("issue_s", "queue_s", "decode_s", "batch_s", "model_s", "answer_s")
NAMES = [f"{i}.jpg" for i in range(10)]
SAID = {
    "result_validity": "VALID",
    "result_mean_latency_ns": 2e6,
    "result_min_latency_ns": 1e6,
    "result_max_latency_ns": 9e6,
    "result_99.00_percentile_latency_ns": 8e6,
}


def rules_of(scenario: str = "server", **changes: Any) -> Rules:
    made: dict[str, Any] = {
        "scenario": scenario, "duration_s": 1, "min_queries": 1, "rate_per_s": 100,
        "limit_s": 0.05 if scenario == "server" else None, **changes,
    }  # fmt: skip
    return Rules(**made)


def outcome_of(parts_NP: Sequence[Sequence[float]] | np.ndarray, images: int = 1) -> Outcome:
    """Images whose time went like this, in queries of so many, ten milliseconds apart."""
    table_NP = np.array(parts_NP, float)
    num = len(table_NP)
    query_N = np.arange(num) // images
    arrival_N = 0.01 * query_N
    queries = []
    for i, (issue, queue, decode, batch, model, _) in enumerate(table_NP.tolist()):
        made = Query(1000 + i, i % len(NAMES), OTHER_DAY_S + arrival_N[i] + issue)
        made.begun_s = made.arrived_s + queue
        made.decoded_s = made.begun_s + decode
        made.batched_s = made.decoded_s + batch
        made.modelled_s = made.batched_s + model
        made.prediction = made.sample
        queries.append(made)
    times = Times(
        query=query_N,
        sample=np.array([x.sample for x in queries]),
        arrival_s=arrival_N,
        issue_s=table_NP[:, 0],
        latency_s=table_NP.sum(1),
    )
    return Outcome(said=dict(SAID), times=times, queries=queries)


def random_parts(num: int) -> np.ndarray:
    return np.random.default_rng(num).exponential(0.002, (num, 6))


def details(rules: Rules, outcome: Outcome, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "batches": [1] * len(outcome.queries),
        "names": NAMES,
        "labels": [*range(10)],
        "predictions": [*range(10)],
        **changes,
    }
    return details_of(rules, outcome, **given)


def test_the_parts_add_up_to_the_latency() -> None:
    parts_NP = random_parts(700)
    outcome = outcome_of(parts_NP)
    found = details(rules_of(), outcome)
    every = found["parts"]["all"]
    assert every.num_queries == 700
    assert every.total_s == pytest.approx(outcome.times.latency_s.mean())
    assert list(every.by_name.values()) == pytest.approx(parts_NP.mean(0).tolist())
    for slow in found["slowest"]:
        assert slow.parts.total_s == pytest.approx(slow.latency_s)
    in_order = sorted(outcome.times.latency_s, reverse=True)
    assert [slow.latency_s for slow in found["slowest"]] == in_order[:5]


def test_the_groups_are_the_queries_around_a_percentile() -> None:
    parts_NP = np.zeros((1000, 6))
    parts_NP[:, 4] = np.random.default_rng(0).permutation(1000) / 1000
    parts = details(rules_of(), outcome_of(parts_NP))["parts"]
    assert parts["p50"].model_s == pytest.approx(0.5, abs=0.001)
    assert parts["p50"].num_queries == 101
    assert parts["p99"].model_s == pytest.approx(0.99, abs=0.001)
    assert parts["p99"].num_queries == 11
    few = details(rules_of(), outcome_of(parts_NP[:661]))["parts"]
    assert list(few) == ["all", "p50"]  # 661 queries say nothing of p99


def test_a_part_is_never_negative() -> None:
    """The two clocks may differ by some nanoseconds."""
    outcome = outcome_of([[0.0, 0.0, 0.001, 0.0, 0.002, -1e-9]] * 3)
    assert details(rules_of(), outcome)["parts"]["all"].answer_s == 0


def test_a_query_of_multi_stream_takes_as_long_as_its_last_image() -> None:
    parts_NP = random_parts(40)
    outcome = outcome_of(parts_NP, images=4)
    rules = rules_of("multi-stream", images_per_query=4)
    found = details(rules, outcome)
    latency_QI = outcome.times.latency_s.reshape(10, 4)
    assert found["latencies_s"] == latency_QI.max(1).tolist()
    every = found["parts"]["all"]
    assert every.num_queries == 10
    last = [4 * i + each for i, each in enumerate(latency_QI.argmax(1))]
    assert list(every.by_name.values()) == pytest.approx(parts_NP[last].mean(0).tolist())
    run = run_of("only", rules, outcome, "logs")
    assert (run.num_queries, run.num_images, run.offered_per_s) == (10, 40, None)
    assert run.completed_per_s == pytest.approx(40 / outcome.times.wall_s)


def test_in_offline_each_image_is_a_query() -> None:
    outcome = outcome_of(random_parts(30), images=30)  # LoadGen has one, of all images
    run = run_of("only", rules_of("offline"), outcome, "logs")
    assert (run.num_queries, run.num_images) == (30, 30)
    assert details(rules_of("offline"), outcome)["latencies_s"] == outcome.times.latency_s.tolist()


def test_of_many_queries_every_nth_latency_is_stored() -> None:
    for num, nth in ((100_000, 1), (100_001, 2), (200_001, 3)):
        outcome = outcome_of(np.tile(random_parts(10), (num // 10 + 1, 1))[:num])
        found = details(rules_of(), outcome, predictions=None)
        assert found["nth"] == nth
        assert found["latencies_s"] == outcome.times.latency_s[::nth].tolist()
        assert len(found["latencies_s"]) == -(-num // nth)


def test_what_was_over_the_limit() -> None:
    parts_NP = np.zeros((1000, 6))
    parts_NP[:, 4] = np.arange(1000) / 1000
    run = run_of("only", rules_of(limit_s=0.95, pct=99), outcome_of(parts_NP), "logs/a")
    assert run.num_over == 49
    assert run.limit_s == pytest.approx(0.99)
    assert (run.is_valid, run.why_not, run.logs) == (True, [], "logs/a")
    assert run.latency_s == pytest.approx({"mean": 2e-3, "min": 1e-3, "max": 9e-3, "99": 8e-3})


def failed(outcome: Outcome, errors: dict[int, str]) -> Outcome:
    for index, why in errors.items():
        outcome.queries[index].error = why
        outcome.queries[index].prediction = -1
    return outcome


def test_queries_without_an_answer_are_counted_and_named() -> None:
    """And are in no share of the time."""
    parts_NP = random_parts(100)
    errors = {3: TURNED_AWAY, 13: TURNED_AWAY, 5: "it is cut off", 7: "it is cut off"}
    outcome = failed(outcome_of(parts_NP), errors)
    run = run_of("only", rules_of(), outcome, "logs")
    assert (run.num_turned_away, run.num_failed, run.is_valid) == (2, 2, False)
    assert run.why_not == [
        "2 queries were turned away, for too many waited",
        "2 queries could not be answered",
    ]
    found = details(rules_of(), outcome)
    assert found["parts"]["all"].num_queries == 96
    assert [(x.name, x.why, x.count) for x in found["failed"]] == [
        ("3.jpg", TURNED_AWAY, 2),
        ("5.jpg", "it is cut off", 1),
        ("7.jpg", "it is cut off", 1),
    ]
    assert found["served"].num_images == 96


def test_a_query_of_several_images_fails_once() -> None:
    """However many of its images could not be answered."""
    errors = {4: "it is cut off", 5: "it is cut off", 6: "it is cut off"}
    outcome = failed(outcome_of(random_parts(8), images=4), errors)
    run = run_of("only", rules_of("multi-stream", images_per_query=4), outcome, "logs")
    assert (run.num_queries, run.num_failed) == (2, 1)
    assert run.why_not == ["1 query could not be answered"]


def test_no_query_was_answered() -> None:
    outcome = failed(outcome_of(random_parts(5)), dict.fromkeys(range(5), TURNED_AWAY))
    found = details(rules_of(), outcome)
    assert (found["parts"], found["served"], found["slowest"]) == ({}, None, [])


def test_the_predictions_of_the_queries_served() -> None:
    outcome = outcome_of(random_parts(20))
    outcome.queries[4].prediction = 0
    served = details(rules_of(), outcome, labels=[9, *range(1, 10)])["served"]
    # Each image twice: the label of the first is another, one query of another was changed.
    assert (served.num_images, served.top1_correct, served.num_changed) == (20, 17, 1)
    assert details(rules_of(), outcome, labels=None)["served"].top1_correct is None
    assert details(rules_of(), outcome, predictions=None)["served"] is None


def test_batches_are_counted_by_size() -> None:
    outcome = outcome_of(random_parts(20))
    found = details(rules_of(), outcome, batches=[8, 1, 8, 3])
    assert found["batches"] == {"1": 1, "3": 1, "8": 2}


def test_the_fields_are_those_of_a_record() -> None:
    fields = set(LoadRecord.__struct_fields__)
    assert details(rules_of(), outcome_of(random_parts(3))).keys() <= fields
    assert make_load_record().parts["all"].by_name.keys() == {x.removesuffix("_s") for x in PARTS}


# ------------------------------------------------------------------------------- early stopping


@pytest.mark.parametrize(("pct", "num"), [(90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_the_fewest_queries_are_loadgens(pct: float, num: int) -> None:
    assert fewest_queries(pct) == num


def test_the_fewest_queries_of_other_percentiles_lie_between() -> None:
    found = [fewest_queries(pct) for pct in (50, 70, 85, 90, 92, 95, 97, 99, 99.5, 99.9, 99.99)]
    assert found == sorted(found)
    assert len({*found}) == len(found)
    assert found[0] > 5


@pytest.mark.parametrize("pct", [50, 90, 97, 99, 99.9])
def test_so_many_may_be_over_the_limit(pct: float) -> None:
    """By the sum of the binomial distribution, written out."""
    num = fewest_queries(pct)
    assert most_over(num, pct) >= 1
    assert most_over(num // 4, pct) <= 0
    found = [most_over(n, pct) for n in (num, 2 * num, 5 * num, 20 * num)]
    assert found == sorted(found)
    share = 1 - pct / 100
    assert found[-1] < 20 * num * share
    random = np.random.default_rng(1).binomial(20 * num, share, 200_000)
    assert (random <= found[-1]).mean() == pytest.approx(0.0085, abs=0.0025)


@pytest.mark.parametrize(
    ("num_over", "num", "pct", "is_sure"),
    [
        (0, 100, 99, False),
        (1, 100, 99, False),  # as many as there may be
        (5, 100, 99, False),
        (8, 100, 99, True),
        (100, 100, 99, True),
        (20, 100, 90, False),
        (30, 100, 90, True),
        (0, 3000, 99.9, False),
        (1500, 3000, 99.9, True),  # of numbers that a float cannot hold
        (3000, 3000, 50, True),
        (1500, 3000, 50, False),
    ],
)
def test_whether_so_many_are_over_by_chance(
    num_over: int, num: int, pct: float, is_sure: bool
) -> None:
    assert is_surely_over(num_over, num, pct) is is_sure
