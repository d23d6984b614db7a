"""Records of `fastbench loadtest`, made up but of one piece: a queue is simulated, and all figures
follow from it.

Queries arrive at random, a model takes a fixed time for a batch and some for each image of it, and
the next batch is what has come meanwhile.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import Any

import msgspec

from builders.records import make, parity
from fastbench.records.load import (
    Limit,
    LoadRecord,
    LoadRun,
    Parts,
    Scenario,
    Served,
    SlowQuery,
    counted_by_size,
)
from fastbench.records.record import Described

LIMIT = Limit(seconds=0.015, pct=99.0)
SEARCHED = (100.0, 200.0, 400.0, 800.0, 566.0, 476.0, 519.0)
_DECODE_S, _BATCH_S, _IMAGE_S, _ANSWER_S = 0.0015, 0.0025, 0.0008, 0.0001
_PERCENTILES = (50, 90, 95, 97, 99, 99.9)
_SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Query:
    """When it arrived, how long it took, and where that time went."""

    arrived_s: float
    parts: Parts

    @property
    def latency_s(self) -> float:
        return self.parts.total_s


def parts(num: int = 1, **seconds: float) -> Parts:
    names = ("issue_s", "queue_s", "decode_s", "batch_s", "model_s", "answer_s")
    return Parts(num_queries=num, **{name: seconds.get(name, 0.0) for name in names})


def mean_of(queries: list[Query]) -> Parts:
    names = [name for name in Parts.__struct_fields__ if name.endswith("_s")]
    means = {
        name: math.fsum(getattr(x.parts, name) for x in queries) / len(queries) for name in names
    }
    return parts(len(queries), **means)


def simulate(
    arrivals: list[float], images: int, slowness: float
) -> tuple[list[Query], list[int], float]:
    """The queries, the sizes of the batches, and when the last answer came."""
    found: list[Query] = []
    sizes: list[int] = []
    free, left = 0.0, list(arrivals)
    while left:
        begun = max(free, left[0] + slowness * _DECODE_S)
        ready = [x for x in left if x + slowness * _DECODE_S <= begun][: max(1, 16 // images)]
        left = left[len(ready) :]
        size = len(ready) * images
        sizes.append(size)
        model_s = slowness * (_BATCH_S + _IMAGE_S * size)
        for at in ready:
            waited = begun - at - slowness * _DECODE_S
            its = parts(
                issue_s=1e-5,
                queue_s=0.2 * waited,
                decode_s=slowness * _DECODE_S,
                batch_s=0.8 * waited,
                model_s=model_s,
                answer_s=_ANSWER_S - 1e-5,
            )
            found.append(Query(at, its))
        free = begun + model_s
    return found, sizes, free + _ANSWER_S


def rank(ordered: list[float], pct: float) -> float:
    """The percentile as LoadGen has it."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * pct / 100))]


def run_of(
    latencies: list[float],
    images: int,
    wall_s: float,
    rate: float | None,
    purpose: str,
) -> LoadRun:
    ordered, is_server = sorted(latencies), rate is not None
    limit_s = rank(ordered, LIMIT.pct) if is_server else None
    holds = limit_s is None or limit_s <= LIMIT.seconds
    why = f"the 99th percentile of the latency is {1e3 * (limit_s or 0):.1f} ms, above 15 ms"
    return LoadRun(
        purpose=purpose,  # type: ignore[arg-type]
        offered_per_s=rate,
        completed_per_s=len(latencies) * images / wall_s,
        num_queries=len(latencies),
        num_images=len(latencies) * images,
        wall_s=wall_s,
        latency_s={
            **{f"{pct:g}": rank(ordered, pct) for pct in _PERCENTILES},
            "mean": math.fsum(ordered) / len(ordered),
            "min": ordered[0],
            "max": ordered[-1],
        },
        limit_s=limit_s,
        is_valid=holds,
        why_not=[] if holds else [why],
        num_over=sum(x > LIMIT.seconds for x in ordered) if is_server else None,
        num_turned_away=0,
        num_failed=0,
        logs="load-logs" if purpose != "search" else None,
    )


def make_load_record(
    scenario: Scenario = "server",
    *,
    rate: float | None = None,
    num: int = 2000,
    slowness: float = 1.0,
    seed: int = 0,
    **changes: Any,
) -> LoadRecord:
    """A record of `num` queries; of `server` a search without a `rate`.

    `slowness` stretches every time of the pipeline, and `changes` are fields.
    """
    drawn = random.Random(seed)
    images = {"server": 1, "single-stream": 1, "multi-stream": 8, "offline": 1}[scenario]
    search: list[LoadRun] = []
    ended = estimate = None
    if scenario == "server":
        if rate is None:
            rates = [x / slowness for x in SEARCHED]
            for each in rates:
                queries, _, wall_s = simulate(_poisson(drawn, each, num // 4), 1, slowness)
                found = [x.latency_s for x in queries]
                search.append(run_of(found, 1, wall_s, each, "search"))
            held = [x.offered_per_s or 0.0 for x in search if x.is_valid]
            over = [x.offered_per_s or 0.0 for x in search if not x.is_valid]
            estimate = min(max(held, default=rates[0]), min(over, default=math.inf))
            rate = 0.85 * estimate
            ended = "the highest rate that holds the limit is known to 2 %"
        queries, sizes, wall_s = simulate(_poisson(drawn, rate, num), 1, slowness)
    elif scenario == "offline":
        sizes = [16] * (num // 16) + [num % 16] * (num % 16 > 0)
        queries, wall_s = [], 0.0
        for size in sizes:
            model_s = slowness * (_BATCH_S + _IMAGE_S * size)
            queries += [Query(0.0, parts(queue_s=wall_s, model_s=model_s))] * size
            wall_s += model_s
    else:
        queries, sizes, wall_s = _streamed(drawn, images, num, slowness)
    latencies = [x.latency_s for x in queries]
    purpose = "confirm" if ended else "only"
    last = run_of(latencies, images, wall_s, rate, purpose)
    in_order = sorted(queries, key=lambda x: x.latency_s)
    around = {
        name: in_order[max(0, int(at * len(queries)) - 5) : int(at * len(queries)) + 5]
        for name, at in (("p50", 0.5), ("p99", 0.99))
    }
    row = make()
    shared = {name: getattr(row, name) for name in Described.__struct_fields__}
    num_images = last.num_images
    made = LoadRecord(
        **{
            **shared,
            "command": f"fastbench loadtest --scenario {scenario}",
            "batch_size": 16,
            "config": {"quick": False, "scenario": scenario, "batch_size": 16},
        },
        dtype="float32",
        compile_mode=None,
        num_threads=2,
        labels="mapped by class name",
        scenario=scenario,
        source="file",
        limit=LIMIT if scenario == "server" else None,
        max_wait_s=0.0,
        max_queued=1000,
        batch_sizes=list(_SIZES),
        images_per_query=images,
        runs=[*search, last],
        latencies_s=latencies,
        batches=counted_by_size(sizes),
        parts={"all": mean_of(queries), **{k: mean_of(x) for k, x in around.items() if x}},
        served=Served(
            num_images=num_images,
            top1_correct=round(0.92 * num_images),
            num_changed=num_images // 500,
        ),
        accuracy=row.accuracy,
        parity=parity(only_row_correct=1),
        published=None,
        rules={"min_duration_ms": 600_000, "min_query_count": 100, "samples_per_query": images},
        is_mlperf_length=False,
        search_ended=ended,
        estimate_per_s=estimate,
        reach=0.02 if ended else None,
        rate_tolerance=0.02 if ended else None,
        slowest=[
            SlowQuery(
                name=f"a/{number}.jpg",
                arrived_s=x.arrived_s,
                latency_s=x.latency_s,
                parts=x.parts,
            )
            for number, x in enumerate(reversed(in_order[-3:]))
        ],
    )
    return msgspec.structs.replace(made, **changes)


def _poisson(drawn: random.Random, rate: float, num: int) -> list[float]:
    """Arrivals at this mean rate, the first at 0."""
    gaps = (drawn.expovariate(rate) for _ in range(num - 1))
    return [0.0, *itertools.accumulate(gaps)]


def _streamed(
    drawn: random.Random, images: int, num: int, slowness: float
) -> tuple[list[Query], list[int], float]:
    """Each query after the one before; how long its decoding takes differs."""
    queries, at = [], 0.0
    for _ in range(num):
        its = parts(
            decode_s=slowness * _DECODE_S * (0.7 + drawn.expovariate(3)),
            model_s=slowness * (_BATCH_S + _IMAGE_S * images),
            answer_s=_ANSWER_S,
        )
        queries.append(Query(at, its))
        at += its.total_s
    return queries, [images] * num, at
