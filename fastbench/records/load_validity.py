"""Whether the raw numbers of a record of `fastbench loadtest` contradict each other.

As `validity.py` has it of a row: percentiles, counts and rates are checked against the latencies
and batches that they are said to be of. What the load generator states it has counted itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from fastbench.records.load import SERVER
from fastbench.records.validity import contradictions_of_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.records.load import LoadRecord, LoadRun, SlowQuery

_SAME_S: Final = 1e-6
"""The load generator rounds to nanoseconds, and subtracts large ones."""
_RATE: Final = 0.02
_SIGMAS: Final = 5.0
_SHARE: Final = 0.01


def find_contradictions_under_load(record: LoadRecord) -> list[str]:
    """The contradictions, each with its figures; none if the record is valid."""
    found = [
        f"run {number}: {text}"
        for number, run in enumerate(record.runs, 1)
        for text in _of_run(run, record)
    ]
    return [
        *found,
        *_of_latencies(record),
        *_of_batches(record),
        *_of_parts(record),
        *_of_search(record),
        *_of_served(record),
        *contradictions_of_predictions(record),
    ]


def _of_run(run: LoadRun, record: LoadRecord) -> Iterator[str]:
    stated = {float(name): s for name, s in run.latency_s.items() if name[:1].isdigit()}
    least, most = (run.latency_s.get(name) for name in ("min", "max"))
    in_order = [least, *(stated[pct] for pct in sorted(stated)), most]
    known = [seconds for seconds in in_order if seconds is not None]
    if known != sorted(known):
        yield f"the percentiles of the latency are not in order: {', '.join(map(_ms, known))}"
    mean = run.latency_s.get("mean")
    if mean is not None and known and not known[0] - _SAME_S <= mean <= known[-1] + _SAME_S:
        yield f"the mean latency is {_ms(mean)}, and all lie in {_ms(known[0])} to {_ms(known[-1])}"
    if run.num_images != run.num_queries * record.images_per_query:
        yield (
            f"{run.num_queries:,} queries of {record.images_per_query:,} images are not "
            f"{run.num_images:,} images"
        )
    if (run.offered_per_s is None) == (record.scenario == SERVER):
        yield f"it is of {record.scenario}, and its rate of queries is {run.offered_per_s}"
    if (run.num_over or 0) > run.num_queries:
        yield f"{run.num_over:,} of {run.num_queries:,} queries took longer than the limit"
    of_limit = stated.get(record.limit.pct) if record.limit else None
    if of_limit is not None and run.limit_s is not None and of_limit != run.limit_s:
        yield f"the percentile of the limit is {_ms(of_limit)} and {_ms(run.limit_s)}"
    if run.is_valid == bool(run.why_not):
        yield ("it is valid, and has reasons why not" if run.is_valid else "it is not valid: why?")
    if run.num_turned_away + run.num_failed > run.num_queries:
        yield f"{run.num_turned_away + run.num_failed:,} of {run.num_queries:,} queries failed"
    answered = run.completed_per_s * run.wall_s
    if abs(answered / run.num_images - 1) > _RATE and not (run.num_turned_away or run.num_failed):
        yield (
            f"{run.completed_per_s:,.1f} images/s in {run.wall_s:.3f} s are not "
            f"{run.num_images:,} images"
        )
    if (rate := run.offered_per_s) is not None:
        # The last of n arrivals at random comes after n / rate, give or take n**0.5 / rate.
        off = _SIGMAS * math.sqrt(run.num_queries)
        late = rate * (most or 0.0)
        if not -off <= rate * run.wall_s - run.num_queries <= off + late + rate * _SAME_S:
            yield (
                f"{run.num_queries:,} queries came in {run.wall_s:.3f} s, and {rate:,.1f} were to "
                f"come each second"
            )


def _of_latencies(record: LoadRecord) -> Iterator[str]:
    """What the last run states, against its latencies."""
    run, ordered = record.result, sorted(record.latencies_s)
    if len(ordered) != -(-run.num_queries // record.nth):
        yield f"{run.num_queries:,} queries have {len(ordered):,} latencies"
        return
    if record.nth > 1:  # LoadGen's figures are of all of them
        return
    expected = {"min": ordered[0], "max": ordered[-1], "mean": math.fsum(ordered) / len(ordered)}
    for name, stated in run.latency_s.items():
        if name in expected:
            low = high = expected[name]
        else:
            low, high = _at(ordered, float(name))
        if not low - _SAME_S <= stated <= high + _SAME_S:
            what = name if name in expected else f"p{name}"
            yield f"{what} of the latencies is {_ms(low)}, and {_ms(stated)} is stated"
    if record.limit is None:
        return
    if run.limit_s is not None:
        low, high = _at(ordered, record.limit.pct)
        if not low - _SAME_S <= run.limit_s <= high + _SAME_S:
            yield (
                f"p{record.limit.pct:g} of the latencies is {_ms(low)}, and {_ms(run.limit_s)} is "
                f"held against the limit"
            )
    num_over = sum(seconds > record.limit.seconds for seconds in ordered)
    if run.num_over is not None and run.num_over != num_over:
        yield f"{num_over:,} latencies are over the limit, and {run.num_over:,} are counted"


def _at(ordered: Sequence[float], pct: float) -> tuple[float, float]:
    """The latencies of rank n * p, and of its neighbours: a float may fall on either side."""
    rank = len(ordered) * pct / 100
    places = (math.floor(rank - 1e-6), math.floor(rank + 1e-6))
    low, high = (min(max(place, 0), len(ordered) - 1) for place in places)
    return ordered[low], ordered[high]


def _of_batches(record: LoadRecord) -> Iterator[str]:
    run = record.result
    sizes = {int(size): count for size, count in record.batches.items()}
    if max(sizes, default=0) > record.batch_size or min(sizes, default=1) < 1:
        yield f"there are batches of {max(sizes)}, and the largest is {record.batch_size}"
    if max(record.batch_sizes, default=0) != record.batch_size:
        yield (
            f"the model was made ready for batches of {max(record.batch_sizes, default=0)}, and "
            f"the largest is {record.batch_size}"
        )
    num = sum(size * count for size, count in sizes.items())
    lost = (run.num_turned_away + run.num_failed) * record.images_per_query
    if not run.num_images - lost <= num <= run.num_images:
        yield f"the batches have {num:,} images, and the queries {run.num_images:,}"


def _of_parts(record: LoadRecord) -> Iterator[str]:
    run, every = record.result, record.parts.get("all")
    is_whole = not run.num_turned_away and not run.num_failed
    if every is not None and is_whole and record.latencies_s and record.nth == 1:
        mean = math.fsum(record.latencies_s) / len(record.latencies_s)
        if not _alike(every.total_s, mean):
            yield f"the parts add up to {_ms(every.total_s)}, and the mean latency is {_ms(mean)}"
        if every.num_queries != run.num_queries:
            yield f"the parts are of {every.num_queries:,} of {run.num_queries:,} queries"
    most = run.latency_s.get("max", max(record.latencies_s, default=0.0))
    for name, each in record.parts.items():
        if each.num_queries > run.num_queries:
            yield f"the parts of {name} are of {each.num_queries:,} of {run.num_queries:,} queries"
        if each.total_s > most * (1 + _SHARE) + _SAME_S:
            yield f"the parts of {name} add up to {_ms(each.total_s)}, above any latency"
    for query in record.slowest:
        yield from _of_slow(query, most, run)


def _of_slow(query: SlowQuery, most: float, run: LoadRun) -> Iterator[str]:
    if query.latency_s > most + _SAME_S or query.arrived_s > run.wall_s:
        yield (
            f"a query of {query.name} took {_ms(query.latency_s)} from {query.arrived_s:.3f} s on, "
            f"and none took more than {_ms(most)} in {run.wall_s:.3f} s"
        )
    if not _alike(query.parts.total_s, query.latency_s):
        yield (
            f"a query of {query.name} took {_ms(query.latency_s)}, and its parts "
            f"{_ms(query.parts.total_s)}"
        )


def _alike(a: float, b: float) -> bool:
    """Two clocks: the parts are this process's, the latency is the load generator's."""
    return abs(a - b) <= _SHARE * max(a, b) + 1e-4


def _of_search(record: LoadRecord) -> Iterator[str]:
    rate, most = record.result.offered_per_s, record.estimate_per_s
    if rate is not None and most is not None and rate > most * 1.000001:
        yield f"{rate:,.1f} queries/s are confirmed, and short runs say {most:,.1f} at most"


def _of_served(record: LoadRecord) -> Iterator[str]:
    if (served := record.served) is None:
        return
    run = record.result
    lost = (run.num_turned_away + run.num_failed) * record.images_per_query
    if not run.num_images - lost <= served.num_images <= run.num_images:
        yield f"{served.num_images:,} images were served of {run.num_images:,}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f} ms"
