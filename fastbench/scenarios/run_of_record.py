"""From what LoadGen and the batcher say of a run to its part of a record."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastbench.core.stats import MIN_SAMPLES
from fastbench.core.units import counted
from fastbench.records.load import (
    FailedQueries,
    LoadRun,
    Parts,
    Served,
    SlowQuery,
    counted_by_size,
)
from fastbench.scenarios.batcher import NO_CLASS, TURNED_AWAY
from fastbench.scenarios.loadgen import NS, percentile_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.records.load import Purpose
    from fastbench.scenarios.loadgen import Outcome, Rules

_MOST_SLOW: Final = 5
_SURE: Final = 1e-4
_CONFIDENCE: Final = 0.01
_MOST_STORED: Final = 100_000
_AROUND: Final = {"p50": (0.45, 0.55), "p99": (0.985, 0.995)}
"""Which queries stand for a percentile: those around it, in the order of their latency."""


def fewest_queries(pct: float) -> int:
    """Queries from which LoadGen can tell a percentile: two may be over it, with 99 % confidence.

    The smallest n for which at most one of n is over it with a probability of 1 % at most, as its
    early stopping has it (mlperf/inference, loadgen/early_stopping.cc).
    """
    if (known := MIN_SAMPLES.get(pct)) is not None and pct > 50:
        return known
    share, n = pct / 100, 1
    while share**n + n * (1 - share) * share ** (n - 1) > 0.01:
        n += max(1, n // 100)
    return n


def most_over(num: int, pct: float) -> int:
    """Queries of `num` that may be over a limit for LoadGen to say that its percentile holds; -1
    where `num` are too few for that.

    The most for which so few have a probability of 1 % at most, were the share over it as large as
    the percentile allows (mlperf/inference, loadgen/early_stopping.cc).
    """
    from scipy.special import bdtr

    low, high = -1, int(num * (1 - pct / 100))
    while low < high:
        middle = (low + high + 1) // 2
        if bdtr(middle, num, 1 - pct / 100) <= _CONFIDENCE:
            low = middle
        else:
            high = middle - 1
    return low


def is_surely_over(num_over: int, num: int, pct: float) -> bool:
    """Whether so many of `num` queries over a limit say that its percentile is over it.

    Where the share over it is as the percentile allows, so many would come by chance once in 10,000
    times: the upper tail of the binomial distribution. Late queries come in groups, so that a less
    strict test would be wrong too often.
    """
    from scipy.special import bdtrc

    return bool(bdtrc(num_over - 1, num, 1 - pct / 100) <= _SURE)


def latencies_of(rules: Rules, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Query latencies in the order of arrival, and each query's image that was answered last.

    In `offline` each image is a query, as LoadGen's percentiles have it.
    """
    if rules.scenario == "offline":
        return outcome.times.latency_s, np.arange(len(outcome.queries))
    return outcome.times.of_queries()


def run_of(purpose: Purpose, rules: Rules, outcome: Outcome, logs: str) -> LoadRun:
    """One run of a record. LoadGen does not know of queries that were not answered: it is told."""
    latency_s, _ = latencies_of(rules, outcome)
    is_offline = rules.scenario == "offline"
    numbers = range(len(latency_s)) if is_offline else outcome.times.query.tolist()
    whys = {number: x.error for number, x in zip(numbers, outcome.queries, strict=True) if x.error}
    errors = Counter(why == TURNED_AWAY for why in whys.values())
    limit_s = None if rules.limit_s is None else percentile_of(latency_s, rules.pct)
    why_not = list(outcome.why_not)
    if errors[True]:
        were = counted(errors[True], "query was", "queries were")
        why_not.append(f"{were} turned away, for too many waited")
    if errors[False]:
        why_not.append(f"{counted(errors[False], 'query', 'queries')} could not be answered")
    estimate = outcome.said.get(
        {
            "single-stream": "early_stopping_latency_ss",
            "multi-stream": "early_stopping_latency_ms",
        }.get(rules.scenario, "")
    )
    return LoadRun(
        purpose=purpose,
        offered_per_s=rules.rate_per_s if rules.scenario == "server" else None,
        scheduled_per_s=outcome.said.get("result_scheduled_samples_per_sec"),
        completed_per_s=len(outcome.queries) / outcome.times.wall_s,
        num_queries=len(latency_s),
        num_images=len(outcome.queries),
        wall_s=outcome.times.wall_s,
        latency_s=outcome.latency_s,
        limit_s=limit_s,
        is_valid=outcome.is_valid and not errors,
        why_not=why_not,
        num_over=None if rules.limit_s is None else int((latency_s > rules.limit_s).sum()),
        num_turned_away=errors[True],
        num_failed=errors[False],
        early_stopping_s=estimate * NS if estimate else None,
        logs=logs,
    )


def details_of(
    rules: Rules,
    outcome: Outcome,
    batches: Sequence[int],
    names: Sequence[str],
    labels: Sequence[int] | None,
    predictions: Sequence[int] | None,
) -> dict[str, Any]:
    """The fields of a record that are of its last run, by name.

    `labels` and `predictions` are of each image, when all were scored once; None without.
    """
    latency_s, last = latencies_of(rules, outcome)
    parts_NP = _parts(outcome)
    answered = np.array([query.error is None for query in outcome.queries])[last]
    slowest = sorted(np.flatnonzero(answered), key=lambda i: -latency_s[i])[:_MOST_SLOW]
    nth = -(-len(latency_s) // _MOST_STORED)
    failed = Counter((names[query.sample], query.error) for query in outcome.queries if query.error)
    return {
        "latencies_s": latency_s[::nth].tolist(),
        "nth": nth,
        "batches": counted_by_size(batches),
        "parts": {
            name: _mean(parts_NP[last[chosen]])
            for name, chosen in _groups(latency_s, answered).items()
            if len(chosen)
        },
        "served": _served(outcome, labels, predictions) if predictions is not None else None,
        "slowest": [
            SlowQuery(
                name=names[outcome.queries[last[i]].sample],
                arrived_s=float(outcome.times.arrival_s[last[i]]),
                latency_s=float(latency_s[i]),
                parts=_mean(parts_NP[[last[i]]]),
            )
            for i in slowest
        ],
        "failed": [
            FailedQueries(name=name, why=why, count=count)
            for (name, why), count in failed.most_common(_MOST_SLOW)
        ],
    }


def _parts(outcome: Outcome) -> np.ndarray:
    """Seconds of each part of each image's latency, (N, P) in the order of `Parts`.

    The clocks of LoadGen and of the batcher tell the same seconds, and not the same time of day: so
    the parts in between are the batcher's, the first and the sum are LoadGen's.
    """
    moments = np.array(
        [(x.arrived_s, x.begun_s, x.decoded_s, x.batched_s, x.modelled_s) for x in outcome.queries]
    )
    between = np.diff(moments, axis=1)
    times = outcome.times
    answer_s = times.latency_s - times.issue_s - between.sum(1)
    return np.column_stack([times.issue_s, between, answer_s]).clip(min=0)


def _mean(parts_NP: np.ndarray) -> Parts:
    names = [name for name in Parts.__struct_fields__ if name.endswith("_s")]
    means = dict(zip(names, parts_NP.mean(0).tolist(), strict=True))
    return Parts(num_queries=len(parts_NP), **means)


def _groups(latency_s: np.ndarray, answered: np.ndarray) -> dict[str, np.ndarray]:
    """The queries of each group by index, without those that were not answered."""
    order = np.argsort(latency_s, kind="stable")
    order = order[answered[order]]
    found = {"all": order}
    for name, (low, high) in _AROUND.items():
        if len(order) >= MIN_SAMPLES[float(name[1:])]:
            found[name] = order[int(low * len(order)) : int(high * len(order)) + 1]
    return found


def _served(
    outcome: Outcome, labels: Sequence[int] | None, predictions: Sequence[int]
) -> Served | None:
    """What was predicted for the queries that were answered; None if none was."""
    found = [(x.sample, x.prediction) for x in outcome.queries if x.prediction != NO_CLASS]
    if not found:
        return None
    return Served(
        num_images=len(found),
        top1_correct=None if labels is None else sum(labels[i] == x for i, x in found),
        num_changed=sum(predictions[i] != x for i, x in found),
    )
