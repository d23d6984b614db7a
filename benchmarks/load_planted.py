"""Do the figures of a load test come out right where the truth is known?

Service times are planted: a model that sleeps, behind a loader that costs nothing. The generator,
the batcher and the search are fastbench's own, and what they say is held against the truth.

    single-stream   a model that sleeps 10 ms: p90 within 10 % of the time that one query takes
    multi-stream    a burst of 8 images, batch 1: p50 within 10 % of 8 services
    server          Poisson arrivals at a model of 2 ms, batch 1, are an M/D/1 queue. The search
                    for the highest rate with p99 under a limit within 5 % of theory
    stall           1 ms a query at 100/s, and the model stands still for 100 ms every second.
                    Queries go on arriving: p99 within 10 % of a simulation of that queue. A
                    generator that waits for answers would show one slow query a second

*Theory*: in an M/D/1 queue with services of D seconds at a rate of r the wait is at most t with
probability (1 - rD) sum_k (-r(t - kD))^k / k! exp(r(t - kD)), k from 0 to t/D (A. K. Erlang, 1909;
see H. C. Tijms, "A First Course in Stochastic Models" (2003), section 9.2). D is the mean service
that took place: `time.sleep` wakes late. What the threads take to hand a query on is no service: it
is added to the latency, as it was found with one query at a time.

It also says what the batcher costs: CPU seconds of a core at 500 queries/s, of the generator with a
bare queue and a thread that answers, and of the generator with the batcher.

One line a figure; the exit code is 1 if any fails. About a quarter of an hour, mostly asleep.

    uv run python benchmarks/load_planted.py --output benchmarks/records/load_planted.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import queue
import shlex
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from fastbench.core.atomic_files import write_text
from fastbench.measure import machine
from fastbench.scenarios import loadgen
from fastbench.scenarios.batcher import Batcher
from fastbench.scenarios.highest_rate import find_highest
from fastbench.scenarios.loadgen import Rules
from fastbench.scenarios.run_of_record import fewest_queries, run_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastbench.records.load import LoadRun, Purpose

SERVICE_S: Final = 0.010
QUEUED_S: Final = 0.002
CASES: Final = ("cost", "streams", "stall", "server")
BURST: Final = 8
STALL_S: Final = 0.1
NUM_SAMPLES: Final = 64
OF_SERVICE: Final = 0.10
OF_RATE: Final = 0.05
OF_CORE: Final = 0.05
RATE_OF_COST: Final = 500.0


class NoWork:
    """A loader that hands on the ids."""

    num_callers = 1
    most_at_once = 1
    reads_images = True
    settings: Mapping[str, Any] = MappingProxyType({})

    def decode(self, samples: Sequence[int]) -> Sequence[int]:
        return samples

    def collate(self, decoded: Sequence[Any], size: int) -> torch.Tensor:
        return _IMAGES[size - 1]

    def close(self) -> None:
        pass


_IMAGES: Final = [torch.zeros(size, 3, 1, 1) for size in range(1, 65)]
_LOGITS: Final = [torch.zeros(size, 2) for size in range(1, 65)]


class Sleeps:
    """A model that sleeps `seconds()` a batch, and notes how long that took."""

    def __init__(self, largest: int, seconds: Callable[[], float]) -> None:
        self.largest = largest
        self.took_s: list[float] = []
        self._seconds = seconds

    def size_for(self, num: int) -> int:
        return num

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        if (seconds := self._seconds()) > 0:
            time.sleep(seconds)
        self.took_s.append(time.perf_counter() - start)
        return _LOGITS[len(images_NCHW) - 1]


@dataclasses.dataclass(frozen=True)
class Figure:
    """What was measured, the truth, and how far off it may be, as a share (None: at most)."""

    case: str
    name: str
    expected: float
    measured: float
    bound: float | None

    @property
    def passes(self) -> bool:
        if self.bound is None:
            return self.measured <= self.expected
        return abs(self.measured / self.expected - 1) <= self.bound


class Bench:
    """Runs of the generator over one batcher."""

    def __init__(self, model: Sleeps, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.runs: list[LoadRun] = []
        self.batcher = Batcher(
            NoWork(), model, max_wait_s=0, max_queued=None, answer=lambda _: None
        )

    def run(self, purpose: Purpose, rules: Rules) -> LoadRun:
        self.model.took_s.clear()
        where = self.folder / f"{len(list(self.folder.iterdir())):03}"
        rules = dataclasses.replace(rules, seed=len(self.runs))
        outcome = loadgen.run(rules, self.batcher, NUM_SAMPLES, where)
        found = run_of(purpose, rules, outcome, where.name)
        self.runs.append(found)
        return found


def rules_of(scenario: Any, duration_s: float, rate_per_s: float, **more: Any) -> Rules:
    fewest = more.pop("min_queries", 100)
    return Rules(
        scenario=scenario,
        duration_s=duration_s,
        min_queries=fewest,
        rate_per_s=rate_per_s,
        **more,
    )


def streams(folder: Path, seconds: float) -> list[Figure]:
    """Single and multi-stream."""
    bench = Bench(Sleeps(1, lambda: SERVICE_S), folder)
    single = bench.run("only", rules_of("single-stream", seconds, 2 / SERVICE_S))
    figures = [
        Figure(
            "single-stream", "p90, ms", 1e3 * SERVICE_S, 1e3 * single.latency_s["90"], OF_SERVICE
        )
    ]
    multi = bench.run(
        "only", rules_of("multi-stream", seconds, 2 / SERVICE_S, images_per_query=BURST)
    )
    expected = BURST * SERVICE_S
    figures.append(
        Figure("burst of 8", "p50, ms", 1e3 * expected, 1e3 * multi.latency_s["50"], OF_SERVICE)
    )
    bench.batcher.close()
    return figures


def wait_within(t: float, rate_per_s: float, service_s: float) -> float:
    """Erlang's distribution of the wait in an M/D/1 queue."""
    total = 0.0
    for k in range(int(t / service_s) + 1):
        x = rate_per_s * (t - k * service_s)
        total += (-x) ** k / math.factorial(k) * math.exp(x)
    return (1 - rate_per_s * service_s) * total


def highest_in_theory(limit_s: float, alone_s: float, service_s: float, pct: float) -> float:
    """The highest rate at which the wait leaves the percentile of the latency under the limit."""
    low, high = 0.0, 1 / service_s
    for _ in range(60):
        rate = (low + high) / 2
        if wait_within(limit_s - alone_s, rate, service_s) >= pct / 100:
            low = rate
        else:
            high = rate
    return low


def server(
    folder: Path, duration_s: float, limits_ms: Sequence[float]
) -> tuple[list[Figure], list[Any]]:
    figures, cases = [], []
    for limit_s in (limit_ms / 1000 for limit_ms in limits_ms):
        bench = Bench(Sleeps(1, lambda: QUEUED_S), folder)
        alone = bench.run("only", rules_of("single-stream", 3, 2 / QUEUED_S))
        alone_s = alone.latency_s["50"]
        offline = bench.run("only", rules_of("offline", 5, 1 / QUEUED_S, min_queries=1))
        capacity = offline.completed_per_s
        rules = rules_of(
            "server", duration_s, 1, limit_s=limit_s, pct=99.0, min_queries=fewest_queries(99)
        )
        found = find_highest(
            bench.run, rules, capacity_per_s=capacity, alone_s=alone_s, tolerance=0.02
        )
        # A service is all that keeps the model's thread from the next query.
        expected = highest_in_theory(limit_s, alone_s, 1 / capacity, 99.0)
        name = f"M/D/1, p99 under {1e3 * limit_s:g} ms"
        estimate, confirmed = found.estimate_per_s or 0.0, found.rate_per_s or 0.0
        figures.append(Figure(name, "queries/s, short runs", expected, estimate, OF_RATE))
        figures.append(Figure(name, "queries/s, confirmed", expected, confirmed, OF_RATE))
        cases.append(
            {
                "limit_s": limit_s,
                "alone_s": alone_s,
                "capacity_per_s": capacity,
                "expected_per_s": expected,
                "estimate_per_s": found.estimate_per_s,
                "reach": found.reach,
                "confirmed_per_s": found.rate_per_s,
                "ended": found.ended,
                "runs": [
                    [x.purpose, x.offered_per_s, x.num_queries, x.limit_s, x.is_valid]
                    for x in bench.runs
                ],
            }
        )
        bench.batcher.close()
    return figures, cases


def stall(folder: Path, seconds: float) -> list[Figure]:
    """The model stands still for the first 100 ms of every second of the clock."""

    def service() -> float:
        into = time.time() % 1.0
        return (STALL_S - into if into < STALL_S else 0.0) + 0.001

    bench = Bench(Sleeps(1, service), folder)
    found = bench.run(
        "only", rules_of("server", seconds, 100, limit_s=0.5, pct=99.0, min_queries=662)
    )
    bench.batcher.close()
    expected = stalled_p99(rate_per_s=100, service_s=0.0011, seconds=20_000)
    return [
        Figure(
            "stall of 100 ms", "p99, ms", 1e3 * expected, 1e3 * found.latency_s["99"], OF_SERVICE
        )
    ]


def stalled_p99(rate_per_s: float, service_s: float, seconds: float) -> float:
    """p99 of the latency in that queue, by simulation in virtual time."""
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.exponential(1 / rate_per_s, int(rate_per_s * seconds)))
    free, latencies = 0.0, []
    for arrival in arrivals:
        start = max(arrival, free)
        into = start % 1.0
        free = start + (STALL_S - into if into < STALL_S else 0.0) + service_s
        latencies.append(free - arrival)
    return float(np.quantile(latencies, 0.99))


def cost(folder: Path, seconds: float) -> tuple[list[Figure], dict[str, float]]:
    """Shares of a core at 500 queries/s: the generator with a bare queue, and with the batcher."""
    rules = rules_of("server", seconds, RATE_OF_COST, limit_s=0.5, pct=99.0)
    shares: dict[str, list[float]] = {"bare": [], "batcher": []}
    for number in range(3):
        for name in ("bare", "batcher")[:: -1 if number % 2 else 1]:
            taker: Any = Bare() if name == "bare" else None
            if taker is None:
                taker = Bench(Sleeps(16, lambda: 0.0), folder).batcher
            before, start = time.process_time(), time.perf_counter()
            where = folder / f"cost-{name}-{number}"
            generate(rules, taker, where)
            shares[name].append((time.process_time() - before) / (time.perf_counter() - start))
            taker.close()
    bare, batcher = (float(np.median(shares[name])) for name in ("bare", "batcher"))
    figure = Figure(
        "cost at 500 queries/s", "batcher alone, % of a core", 100 * OF_CORE,
        100 * (batcher - bare), None,
    )  # fmt: skip
    return [figure], {"generator_with_a_bare_queue": bare, "generator_with_the_batcher": batcher}


class Bare:
    """A queue, and a thread that answers what is in it."""

    def __init__(self) -> None:
        self.answer: Any = None
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def take(self, asked: Any) -> list[Any]:
        from fastbench.scenarios.batcher import Query

        now = time.monotonic()
        queries = [Query(number, sample, now) for number, sample in asked]
        for query in queries:
            self._queue.put(query)
        return queries

    def work(self, _: Any) -> None:
        while (query := self._queue.get()) is not None:
            self.answer([query])

    def wake(self) -> None:
        self._queue.put(None)

    def close(self) -> None:
        pass


def generate(rules: Rules, taker: Any, where: Path) -> None:
    """A run of which nothing is read but the time: reading logs is no part of the load."""
    where.mkdir()
    done = threading.Event()

    def work() -> None:
        loadgen._start(rules, taker, NUM_SAMPLES, where, [])
        done.set()
        taker.wake()

    threading.Thread(target=work).start()
    taker.work(done.is_set)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--duration", type=float, default=120.0, help="seconds of a confirming run")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="what is run")
    parser.add_argument(
        "--limits", nargs="+", type=float, default=[10.0, 16.0], help="of M/D/1, in ms"
    )
    arguments = parser.parse_args()
    figures: list[Figure] = []
    shares: dict[str, float] = {}
    cases: list[Any] = []
    brief_s = min(20.0, arguments.duration)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "cost" in arguments.cases:
            found, shares = cost(folder, brief_s)
            figures += found
        if "streams" in arguments.cases:
            figures += streams(folder, brief_s)
        if "stall" in arguments.cases:
            figures += stall(folder, arguments.duration)
        if "server" in arguments.cases:
            found, cases = server(folder, arguments.duration, arguments.limits)
            figures += found
    Console().print(render(figures, shares))
    num_failed = sum(not figure.passes for figure in figures)
    if arguments.output is not None:
        result = {
            "benchmark": "load_planted",
            "command": shlex.join(["python", *sys.argv]),
            "environment": machine.describe([]),
            "shares_of_a_core": shares,
            "figures": [{**dataclasses.asdict(x), "passes": x.passes} for x in figures],
            "num_failed": num_failed,
            "searches": cases,
        }  # fmt: skip
        text = json.dumps(result, indent=1, allow_nan=False)
        write_text("The figures", arguments.output, text + "\n")
    sys.exit(1 if num_failed else 0)


def render(figures: Sequence[Figure], shares: dict[str, float]) -> Table:
    said = ", ".join(f"{name.replace('_', ' ')} {100 * x:.1f} %" for name, x in shares.items())
    table = Table(title="Planted load", caption=said and f"Of a core at 500 queries/s: {said}.")
    table.add_column("case")
    table.add_column("figure")
    for name in ("expected", "measured", "off by", "bound"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in figures:
        off = f"{100 * (each.measured / each.expected - 1):+.1f} %"
        table.add_row(
            each.case,
            each.name,
            f"{each.expected:.2f}",
            f"{each.measured:.2f}",
            off if each.bound is not None else "",
            f"{100 * each.bound:g} %" if each.bound is not None else "at most",
            "PASS" if each.passes else "FAIL",
        )
    return table


if __name__ == "__main__":
    main()
