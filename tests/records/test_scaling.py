"""How a row of ranks scales: shares that add up, their causes, the slowest rank, more ranks."""

import random
from collections.abc import Sequence

import msgspec
import pytest
from builders.ranks import of_ranks

from fastbench.core.stats import expected_largest
from fastbench.records.record import Record
from fastbench.records.scaling import (
    HOST,
    LOADER,
    OTHER,
    Scaling,
    Slowest,
    expected_efficiency,
    scaling_of,
    slowest_rank,
)
from fastbench.records.validity import find_contradictions


def scaling(record: Record, *alone: Record) -> Scaling:
    found = scaling_of(record, alone)
    assert found is not None
    assert find_contradictions(record) == []
    assert found.efficiency + found.waiting + found.slower == pytest.approx(1, abs=1e-12)
    return found


def slowest(record: Record) -> Slowest:
    found = slowest_rank(record)
    assert found is not None
    return found


def test_ranks_that_are_as_fast_as_one_alone_lose_nothing() -> None:
    found = scaling(of_ranks(100, 100, 100, 100), of_ranks(100))
    assert found.efficiency == pytest.approx(1)
    assert found.losses == pytest.approx({"waiting for stragglers": 0, OTHER: 0})
    assert str(found) == "scaling efficiency 100 %"
    assert found.brief == ""


@pytest.mark.parametrize("num", [2, 3, 5, 8])
def test_waiting_for_a_planted_straggler_is_what_the_others_lose(num: int) -> None:
    """All wait for a rank of 80 images/s, though each of the others has 100."""
    found = scaling(of_ranks(*[100] * (num - 1), 80), of_ranks(100))
    # Shares differ by an image, so not exactly.
    assert found.efficiency == pytest.approx(0.8, rel=0.01)
    assert found.waiting == pytest.approx(0.2 * (num - 1) / num, rel=0.01)
    assert found.slower == pytest.approx(0.2 / num, rel=0.01)


def test_what_ranks_lose_that_are_slower_than_one_has_one_cause() -> None:
    one = of_ranks(100, loader_alone=120, model_alone=130)

    def of_two(loader_alone: float, used: float, model_alone: float = 130) -> Scaling:
        record = of_ranks(70, 70, loader_alone=loader_alone, model_alone=model_alone, used=used)
        return scaling(record, one)

    # Of the 30 % that each rank is slower, the loader alone has lost 40 % or 10 %.
    loader = of_two(72, used=0.95)
    assert (loader.cause, loader.slower) == (LOADER, pytest.approx(0.3))
    assert str(loader) == "scaling efficiency 70 % (lost: 30 % loader)"
    assert of_two(108, used=0.95).cause == HOST
    assert of_two(108, used=0.85).cause == OTHER
    # A model-bound rank is not slower for its loader, whatever that has lost.
    assert of_two(75, used=0.5, model_alone=72).cause == OTHER
    both = scaling(of_ranks(90, 90, 60, loader_alone=118, model_alone=130), one)
    assert both.brief == "waiting 20, other 20"


def test_what_others_take_of_the_cores_is_used_up_too() -> None:
    record = of_ranks(70, 70, loader_alone=108, model_alone=130, used=0.5)
    assert record.telemetry is not None
    crowded = msgspec.structs.replace(record.telemetry, foreign_cpu_s=0.85 * record.telemetry.cpu_s)
    record = msgspec.structs.replace(record, telemetry=crowded)
    assert scaling(record, of_ranks(100, loader_alone=120, model_alone=130)).cause == HOST


def test_ranks_that_are_faster_than_one_alone_have_no_cause_of_a_loss() -> None:
    found = scaling(of_ranks(110, 110, loader_alone=112), of_ranks(100))
    assert (found.efficiency, found.slower) == (pytest.approx(1.1), pytest.approx(-0.1))
    assert found.cause == OTHER
    assert str(found) == "scaling efficiency 110 %, each rank faster than one alone"


def test_of_repeats_of_one_rank_the_geometric_mean_counts() -> None:
    found = scaling(of_ranks(100, 100), of_ranks(50), of_ranks(200))
    assert found.efficiency == pytest.approx(1)


def test_without_one_rank_or_several_there_is_no_scaling() -> None:
    assert scaling_of(of_ranks(100, 100), []) is None
    assert scaling_of(of_ranks(100), [of_ranks(100)]) is None


def test_the_slowest_rank_is_named_with_how_much_slower_it_is() -> None:
    found = slowest(
        of_ranks(100, 100, 100, 80, hosts=("node0", "node1"), loader_alone=[120] * 3 + [81])
    )
    assert (found.rank, found.host, found.bound) == (3, "node1", "loader")
    assert found.slower == pytest.approx(0.25)
    assert str(found) == "rank 3 on node1 is 25 % slower than the median rank: loader-bound"
    assert found.brief == "rank 3 on node1, 25 % slower, loader-bound"
    alone = slowest(of_ranks(80, 100, loader_alone=[81, 120]))
    assert str(alone) == "rank 0 is 25 % slower than the median rank: loader-bound"
    assert slowest_rank(of_ranks(100)) is None
    assert str(slowest(of_ranks(100, 100))) == "no rank is slower than the median rank"


def test_what_bound_the_slowest_rank() -> None:
    assert slowest(of_ranks(100, 80, loader_alone=120, model_alone=82)).bound == "model"
    # It is well below both, and nothing is left of its cores.
    assert (
        slowest(of_ranks(100, 60, loader_alone=120, model_alone=130, used=[0.5, 0.95])).bound
        == "host"
    )
    assert (
        slowest(of_ranks(100, 60, loader_alone=120, model_alone=130, used=[0.95, 0.5])).bound
        == "loader"
    )
    # 400 images of a rank are 40 batches without padding, 267 are 27 with three empty places.
    assert slowest(of_ranks(80, 80, 80, loader_alone=99.5, model_alone=100)).bound == "model"


def test_a_rank_that_was_slow_once_is_no_slow_rank() -> None:
    factors = [[1.0, 1.0, 3.0], [1.0, 1.1, 1.0], [1.0, 1.1, 1.0]]
    found = slowest(of_ranks(100, 100, 100, factors=factors))
    assert (found.rank, found.slower) == (1, pytest.approx(0.1, rel=0.02))


def drawn(times: Sequence[float], num: int) -> float:
    chance = random.Random(1)
    tries = 40_000
    return sum(max(chance.choices(times, k=num)) for _ in range(tries)) / tries


@pytest.mark.parametrize("num", [1, 2, 8, 64])
def test_the_expected_largest_is_that_of_many_draws(num: int) -> None:
    times = [0.9, 0.95, 1.0, 1.02, 1.2]
    assert expected_largest(times, num) == pytest.approx(drawn(times, num), rel=2e-3)


def test_the_largest_of_one_is_the_mean_and_of_very_many_the_largest() -> None:
    assert expected_largest([1.0, 3.0], 1) == 2
    assert expected_largest([1.0, 3.0], 2) == 2.5
    assert expected_largest([3.0, 1.0], 512) == pytest.approx(3)
    for values, num in (([], 1), ([1.0], 0)):
        with pytest.raises(ValueError, match="at least one"):
            expected_largest(values, num)


@pytest.mark.parametrize("num", [8, 64, 512])
def test_what_more_ranks_keep_by_planted_stragglers(num: int) -> None:
    """One of eight takes half as long again: so many ranks have none with a chance of (7/8)^n."""
    record = of_ranks(*[150] * 7, 100)
    found = expected_efficiency(record, num)
    longest = 1.5 - 0.5 * (7 / 8) ** num
    assert found == pytest.approx((7 + 1.5) / 8 / longest)
    assert expected_efficiency(of_ranks(100, 100), num) == pytest.approx(1)
    assert expected_efficiency(of_ranks(100), num) is None
