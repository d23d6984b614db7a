"""The search for the highest rate, on queues that are simulated in no time.

Queries arrive at random and are served one by one in a fixed time: M/D/1, whose waiting time
A. K. Erlang gave in closed form (1909; N. U. Prabhu, "Queues and Inventories", 1965).
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.special import bdtr

from fastbench.core.units import format_quantity
from fastbench.records.load import LoadRun, Purpose
from fastbench.scenarios.highest_rate import Highest, find_highest
from fastbench.scenarios.loadgen import Rules, percentile_of
from fastbench.scenarios.run_of_record import fewest_queries
from fastbench.scenarios.search import Seen, confirm
from fastbench.scenarios.search import search as search_rates

SERVICE_S = 0.01


def share_within(rate: float, limit_s: float) -> float:
    """Of the queries of M/D/1, those whose wait and service take at most so long."""
    wait_s = limit_s - SERVICE_S
    if wait_s < 0 or rate * SERVICE_S >= 1:
        return 0.0
    at = [rate * (k * SERVICE_S - wait_s) for k in range(int(wait_s / SERVICE_S) + 1)]
    terms = [x**k / math.factorial(k) * math.exp(-x) for k, x in enumerate(at)]
    return (1 - rate * SERVICE_S) * math.fsum(terms)


def truth(limit_s: float, pct: float) -> float:
    """The highest rate that holds the limit, by bisection."""
    low, high = 0.0, 1 / SERVICE_S
    for _ in range(50):
        rate = (low + high) / 2
        low, high = (rate, high) if share_within(rate, limit_s) >= pct / 100 else (low, rate)
    return low


@dataclass
class Queue:
    """Runs of LoadGen in front of one server; `slower_later` is its service time's factor in runs
    that confirm. Beyond `max_queued` queries that wait others are turned away.
    """

    seed: int = 0
    slower_later: float = 1.0
    max_queued: int | None = None
    service_s: float = SERVICE_S
    runs: list[LoadRun] = field(default_factory=list)
    rules: list[Rules] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def __call__(self, purpose: Purpose, rules: Rules) -> LoadRun:
        assert rules.limit_s is not None
        service_s = self.service_s * (self.slower_later if purpose == "confirm" else 1)
        num = max(rules.min_queries, round(rules.duration_s * rules.rate_per_s))
        gaps_s = self.random.exponential(1 / rules.rate_per_s, num)
        # Lindley's recursion, W' = max(0, W + S - A), from 0 on.
        walk_s = np.concatenate([[0.0], np.cumsum(service_s - gaps_s[1:])])
        latency_s = walk_s - np.minimum.accumulate(walk_s) + service_s
        num_over = int((latency_s > rules.limit_s).sum())
        wall_s = float((np.cumsum(gaps_s) + latency_s).max())
        turned_away = 0
        if self.max_queued is not None:
            turned_away = int((latency_s > self.max_queued * service_s).sum())
        # LoadGen's early stopping: so few over the limit are no chance, with 99 % confidence.
        is_sure = bdtr(num_over, num, 1 - rules.pct / 100) <= 0.01
        why = [] if is_sure and not turned_away else ["the latency limit was not kept"]
        run = LoadRun(
            purpose=purpose,
            offered_per_s=rules.rate_per_s,
            scheduled_per_s=num / float(gaps_s.sum()),
            completed_per_s=num / wall_s,
            num_queries=num,
            num_images=num,
            wall_s=wall_s,
            latency_s={"mean": float(latency_s.mean())},
            limit_s=percentile_of(latency_s, rules.pct),
            is_valid=not why,
            why_not=why,
            num_over=num_over,
            num_turned_away=turned_away,
            num_failed=0,
        )
        self.runs.append(run)
        self.rules.append(rules)
        return run

    def of(self, purpose: Purpose) -> list[LoadRun]:
        return [run for run in self.runs if run.purpose == purpose]


def search(
    queue: Queue,
    limit_s: float,
    pct: float = 99.0,
    *,
    duration_s: float = 600.0,
    alone_s: float = SERVICE_S,
    is_quick: bool = False,
    tolerance: float = 0.02,
) -> Highest:
    rules = Rules(
        scenario="server", duration_s=duration_s, min_queries=1, rate_per_s=1, limit_s=limit_s,
        pct=pct,
    )  # fmt: skip
    return find_highest(
        queue, rules, capacity_per_s=1 / SERVICE_S, alone_s=alone_s, tolerance=tolerance,
        is_quick=is_quick,
    )  # fmt: skip


def test_the_theory_is_that_of_the_simulated_queue() -> None:
    queue = Queue()
    rate = truth(0.04, 99)
    run = queue(
        "only",
        Rules(
            scenario="server", duration_s=1e4, min_queries=1, rate_per_s=rate, limit_s=0.04, pct=99
        ),
    )
    assert run.num_over is not None
    assert run.num_over / run.num_queries == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("limit_s", "pct"),
    [(0.05, 99), (0.08, 99), (0.15, 99), (0.03, 95), (0.04, 90), (0.02, 50), (0.04, 50)],
)
def test_the_highest_rate_is_found_within_5_percent_of_theory(
    limit_s: float, pct: float, seed: int
) -> None:
    queue, right = Queue(seed), truth(limit_s, pct)
    found = search(queue, limit_s, pct)
    assert found.estimate_per_s is not None
    assert found.rate_per_s is not None
    assert found.estimate_per_s == pytest.approx(right, rel=0.05)
    assert 0.93 * right < found.rate_per_s < 1.02 * right
    *_, last = queue.runs
    assert (last.purpose, last.is_valid, last.offered_per_s) == ("confirm", True, found.rate_per_s)
    assert queue.rules[-1].duration_s == 600
    assert last.num_queries >= 5 * fewest_queries(pct)
    assert len(queue.of("search")) < 20
    assert f"short runs say {format_quantity(found.estimate_per_s)} queries/s" in found.ended
    assert f"a long run confirms {format_quantity(found.rate_per_s)}" in found.ended


def test_how_far_the_estimate_reaches_is_how_far_it_is_off() -> None:
    """Of 20 answers most lie within the interval that they state, and few in a far wider one."""
    right, within, near = truth(0.05, 99), 0, 0
    for seed in range(20):
        found = search(Queue(seed), 0.05)
        assert found.reach is not None
        assert found.estimate_per_s is not None
        off = abs(found.estimate_per_s / right - 1)
        within += off <= found.reach
        near += found.reach < 0.05
    assert within >= 13
    assert near >= 16


@pytest.mark.parametrize("seed", range(6))
def test_a_quick_search_is_near(seed: int) -> None:
    queue = Queue(seed)
    found = search(queue, 0.05, duration_s=10.0, is_quick=True)
    assert found.estimate_per_s == pytest.approx(truth(0.05, 99), rel=0.2)
    assert len(queue.of("search")) <= 12


def test_one_query_alone_is_over_the_limit() -> None:
    queue = Queue()
    found = search(queue, 0.005)
    assert (found.rate_per_s, found.estimate_per_s, found.reach) == (None, None, None)
    assert "no rate holds 5 ms at p99: one query alone takes 10 ms" in found.ended
    assert "--latency" in found.ended
    (run,) = queue.runs  # the record is of it
    assert not run.is_valid
    assert run.wall_s < 70


def test_not_even_the_lowest_rate_holds() -> None:
    """Though a query alone does."""
    queue = Queue()
    found = search(queue, 0.0101, 99.9, alone_s=0.0100)
    assert (found.rate_per_s, found.estimate_per_s) == (None, None)
    least = min(run.offered_per_s or 0 for run in queue.runs)
    assert found.ended.startswith(
        f"no rate holds 10.1 ms at p99.9, not even {least:.1f} queries/s."
    )
    assert not queue.of("confirm")
    assert len(queue.runs) < 30


@pytest.mark.parametrize("seed", range(3))
def test_queries_that_are_turned_away_are_a_miss(seed: int) -> None:
    """Though the percentile of those that were answered holds."""
    queue = Queue(seed, max_queued=5)
    found = search(queue, 0.3)
    assert found.estimate_per_s is not None
    # Of those that find five waiting 1 % are turned away where p99 of the latency is five times
    # the service.
    assert found.estimate_per_s == pytest.approx(truth(5 * SERVICE_S, 99), rel=0.06)
    assert truth(0.3, 99) > 1.4 * found.estimate_per_s


def test_a_long_run_confirms_a_rate_a_little_lower() -> None:
    """On a machine that became slower meanwhile."""
    queue = Queue(slower_later=1.03)
    found = search(queue, 0.05)
    *missed, last = queue.of("confirm")
    assert missed
    assert found.rate_per_s == last.offered_per_s
    rates = [run.offered_per_s or 0 for run in queue.of("confirm")]
    assert rates == sorted(rates, reverse=True)
    slower = truth(0.05 / 1.03, 99) / 1.03
    assert 0.88 * slower < (found.rate_per_s or 0) < 1.02 * slower


def test_no_long_run_confirms_what_short_ones_found() -> None:
    queue = Queue(slower_later=3.0)
    found = search(queue, 0.04)
    assert found.rate_per_s is None
    assert found.estimate_per_s == pytest.approx(truth(0.04, 99), rel=0.08)
    assert "no long run confirms that or a lower rate: the machine was not the same" in found.ended
    assert 1 < len(queue.of("confirm")) < 10


@pytest.mark.parametrize("pct", [99, 99.9])
def test_a_rate_that_is_far_over_is_told_by_fewer_queries(pct: float) -> None:
    """Its fewest queries take long; any number of them may be over the limit."""
    queue = Queue()
    limit_s = 0.06
    search(queue, limit_s, pct, duration_s=30.0)
    few = [run for run in queue.of("search") if run.num_queries < fewest_queries(pct)]
    assert max((run.num_over or 0) / run.num_queries for run in few) > 0.1


# ------------------------------------------------------------------------------- its parts


@pytest.mark.parametrize("start", [3.0, 70.0, 90.0, 5000.0])
def test_the_search_starts_anywhere(start: float) -> None:
    """Far below what holds, near it, or far above; without noise it is right."""

    def run(rate: float) -> Seen:
        return Seen(rate, round(100_000 * min(1.0, 0.01 * (rate / 83) ** 12)), 100_000)

    found = search_rates(run, start, 1.0, 0.01, 0.02, most=1e4)
    assert found.highest() == pytest.approx(83, rel=0.01)
    assert found.reach < 0.02
    assert len(found.runs) < 30


def test_nothing_is_repeated_where_nothing_or_everything_holds() -> None:
    never = search_rates(lambda rate: Seen(rate, 100, 100), 100.0, 7.0, 0.01, 0.02, most=1e4)
    rates = [each.rate for each in never.runs]
    assert rates[-1] == min(rates) == 7.0
    assert len({*rates}) == len(rates)
    assert never.highest() is None
    assert never.reach == math.inf
    always = search_rates(lambda rate: Seen(rate, 0, 100), 100.0, 7.0, 0.01, 0.02, most=1e4)
    rates = [each.rate for each in always.runs]
    assert always.highest() == rates[-1] == max(rates) == 1e4
    below = search_rates(lambda rate: Seen(rate, 100, 100), 1.0, 5.0, 0.01, 0.02, most=1e4)
    assert [each.rate for each in below.runs] == [5.0]


def test_no_rate_is_tried_below_the_least() -> None:
    """Also where the line through the runs says so: one of them held by chance."""
    shares = iter([0.5, 0.0, *[0.3] * 20])

    def run(rate: float) -> Seen:
        return Seen(rate, round(1000 * next(shares)), 1000)

    found = search_rates(run, 10.0, 7.0, 0.01, 0.02, most=1e4)
    assert min(each.rate for each in found.runs) >= 7.0
    assert len(found.runs) <= 12


def test_confirming_goes_down_as_it_is_told() -> None:
    tried: list[float] = []

    def run(rate: float) -> bool:
        tried.append(rate)
        return rate < 95

    assert confirm(run, 100.0, lambda rate: rate - 3) == 94
    assert tried == [100, 97, 94]
    assert confirm(lambda _: False, 100.0, lambda rate: rate - 3) is None


def test_no_rate_beyond_what_all_at_once_reach_is_tried() -> None:
    """A capacity that was measured too low, and every rate holds: it ends, and says so."""
    queue = Queue()
    queue.service_s = 1e-6
    found = search(queue, 0.05)
    assert found.ended == "every rate that was tried held"
    assert found.estimate_per_s is None
    assert max(run.offered_per_s or 0 for run in queue.runs) <= 2.1 / SERVICE_S
