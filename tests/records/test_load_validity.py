"""Records under load that contradict themselves are found out, each by what is wrong with it."""

from collections.abc import Callable

import msgspec
import pytest
from builders.load_records import make_load_record, parts

from fastbench.records.gates import failures_of
from fastbench.records.load import LoadRecord
from fastbench.records.load_validity import find_contradictions_under_load

replace = msgspec.structs.replace


def ran(**changes: object) -> Callable[[LoadRecord], LoadRecord]:
    """The last run with these changes."""
    return lambda record: replace(
        record, runs=[*record.runs[:-1], replace(record.result, **changes)]
    )


def stated(**changes: float) -> Callable[[LoadRecord], LoadRecord]:
    """Other percentiles of the last run; `p99` for 99."""
    named = {name.removeprefix("p").replace("_", "."): value for name, value in changes.items()}
    return lambda record: ran(latency_s={**record.result.latency_s, **named})(record)


def changed(**changes: object) -> Callable[[LoadRecord], LoadRecord]:
    return lambda record: replace(record, **changes)


def served(**changes: object) -> Callable[[LoadRecord], LoadRecord]:
    return lambda record: replace(record, served=replace(record.served, **changes))


@pytest.mark.parametrize("scenario", ["server", "single-stream", "multi-stream", "offline"])
def test_what_was_simulated_has_no_contradiction(scenario: str) -> None:
    record = make_load_record(scenario)  # type: ignore[arg-type]
    assert find_contradictions_under_load(record) == []
    assert failures_of(record) == []


@pytest.mark.parametrize(
    ("mutate", "said"),
    [
        (stated(p90=0.5), "percentiles of the latency are not in order"),
        (stated(p99=0.0138), "p99 of the latencies is"),
        (stated(mean=0.0001), "the mean latency is 0.100 ms, and all lie in"),
        (stated(max=3.0), "max of the latencies is"),
        (ran(num_images=1999), "2,000 queries of 1 images are not 1,999 images"),
        (ran(is_valid=False), "it is not valid: why?"),
        (ran(why_not=["it was"]), "it is valid, and has reasons"),
        (ran(num_failed=2001), "2,001 of 2,000 queries failed"),
        (ran(completed_per_s=400.0), "400.0 images/s in"),
        (ran(offered_per_s=800.0), "and 800.0 were to come each second"),
        (ran(offered_per_s=300.0), "and 300.0 were to come each second"),
        (ran(num_over=1999), "and 1,999 are counted"),
        (ran(limit_s=0.001), "is held against the limit"),
        (ran(limit_s=0.001), "the percentile of the limit is"),
        (ran(num_over=2001), "2,001 of 2,000 queries took longer than the limit"),
        (ran(offered_per_s=None), "it is of server, and its rate of queries is None"),
        (changed(parts={"p50": parts(2001)}), "the parts of p50 are of 2,001 of 2,000"),
        (changed(latencies_s=[0.01] * 1999), "2,000 queries have 1,999 latencies"),
        (changed(batches={"1": 1999}), "the batches have 1,999 images, and the queries 2,000"),
        (changed(batches={"17": 117, "11": 1}), "batches of 17, and the largest is 16"),
        (changed(batch_sizes=[1, 8]), "made ready for batches of 8, and the largest is 16"),
        (changed(parts={"all": parts(2000, model_s=0.004)}), "the parts add up to 4.000 ms"),
        (changed(parts={"p99": parts(10, model_s=0.4)}), "the parts of p99 add up to 400.000 ms"),
        (changed(estimate_per_s=100.0), "are confirmed, and short runs say 100.0 at most"),
        (served(num_images=1998), "1,998 images were served of 2,000"),
        (served(top1_correct=2001), "with 2,001 hits"),
        (served(num_changed=2001), "2,001 changed predictions"),
        (changed(data={"num_samples": 999}), "1,000 samples are scored of 999"),
    ],
)
def test_each_contradiction_is_found(mutate: Callable[[LoadRecord], LoadRecord], said: str) -> None:
    found = find_contradictions_under_load(mutate(make_load_record()))
    assert any(said in text for text in found), found


def test_a_slow_query_is_one_of_the_run() -> None:
    record = make_load_record()
    slow = record.slowest[0]
    late = replace(record, slowest=[replace(slow, arrived_s=1e4)])
    unlike = replace(record, slowest=[replace(slow, parts=parts(model_s=1.0))])
    assert "from 10000.000 s on" in find_contradictions_under_load(late)[0]
    assert "and its parts 1000.000 ms" in find_contradictions_under_load(unlike)[0]


def test_queries_that_were_not_answered_are_in_no_batch() -> None:
    record = ran(num_turned_away=3, is_valid=False, why_not=["3 turned away"])(make_load_record())
    fewer = dict(record.batches)
    fewer["1"] -= 3
    lost = replace(record, batches=fewer, served=replace(record.served, num_images=1997))
    assert find_contradictions_under_load(lost) == []
    fewer["1"] -= 1
    assert find_contradictions_under_load(replace(lost, batches=fewer))


def test_predictions_that_change_under_load_fail_a_gate() -> None:
    failing = served(num_changed=100)(make_load_record())
    assert any("the queries served agree" in text for text in failures_of(failing))
