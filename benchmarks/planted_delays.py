"""Do fastbench's figures come out right where the truth is known?

Delays are planted: a loader that sleeps a known time for each batch, before a model that does too.
The real passes of `fastbench.measure.passes` measure them with the clock of the CPU, and a `Record`
is made of what they say, as of a run. Each figure that fastbench derives is held against the truth.

The truth is twofold. *Planned* is what was planted, by arithmetic on paper. *Took place* is the
same with the delays that were really slept: `time.sleep` never wakes early, and on a busy machine
it wakes late, so each delay is timed by the loader or the model itself, and a simulation of the
pipeline (`replay`: a thread, a queue of two batches, a consumer) says what must follow from them.
It sees nothing that fastbench measured. The time that the consumer spends between delays
(fastbench's own loop, and whatever keeps it from the core) and the time that a thread takes to wake
when the other one lets it go on are noted by loader and model and replayed as well; the former has
a bound of its own, so that it hides nothing. A figure passes when it is near what took place;
verdict and advice when they are what those figures ask for, by rules written once more here.

    rates                  3 %
    efficiency, stall      3 points, and the spread of the windows too
    p50, p90, p99, max     3 %, and what `time.sleep(0.002)` is late at the same percentile, which
                           is found first, on the same machine
    median sleeps          3 % and the median lateness, from the plan: so that what took place is
                           what was planned
    between delays         0.5 ms a batch, the median

What contradicts itself in a doctored record, and which record asks for which advice, are matters of
arithmetic: tests/records/test_validity.py and tests/records/test_advice.py.

One line a figure; the exit code is 1 if any fails. About a minute, nearly all of it asleep.

    uv run python benchmarks/planted_delays.py --output benchmarks/records/planted_delays.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import queue
import shlex
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `fastbench run`, before torch is loaded

import msgspec
import torch
from rich.console import Console
from rich.table import Table

from fastbench.core.atomic_files import write_text
from fastbench.core.stats import MIN_SAMPLES
from fastbench.loaders.base import Batch, Setting
from fastbench.measure import machine
from fastbench.measure.clock import Clock
from fastbench.measure.durations import Durations
from fastbench.measure.passes import end_to_end
from fastbench.measure.rounds import Rounds
from fastbench.measure.tally import Tally, check_each_once
from fastbench.records.accuracy import Accuracy
from fastbench.records.advice import advise
from fastbench.records.record import Record
from fastbench.records.speed import Latency
from fastbench.records.store import SCHEMA_VERSION
from fastbench.records.validity import find_contradictions
from fastbench.records.verdict import bound_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BATCH_SIZE: Final = 10
DEPTH: Final = 2
"""Batches that the loader's queue holds; one more waits in its thread."""
RATES: Final = 0.03
SHARES: Final = 0.03
BETWEEN_S: Final = 0.0005
PERCENTILES: Final = (50, 90, 99, 100)


# What is planted


@dataclass(frozen=True)
class Now:
    """What a delay may depend on: batches so far, seconds since the first, the window (0: none)."""

    number: int
    since_s: float
    window: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """Delays, and what must come out on paper, in ms: `steps_ms` are p50, p90, p99 and max.

    `loader_ms` and `model_ms` are mean delays. `advice` is what must be advised.
    """

    name: str
    loader: Callable[[int], float]
    model: Callable[[Now], float]
    loader_ms: float
    model_ms: float
    step_ms: float
    steps_ms: tuple[float, float, float, float]
    efficiency: float
    stall: float
    verdict: str
    advice: tuple[str, ...]
    spread: float = 0.0
    prefetches: bool = True
    shares_lock: bool = False
    num_samples: int = 10 * BATCH_SIZE
    is_settled: bool | None = None
    warm_up_s: tuple[float, float] | None = None
    durations: Mapping[str, float] = field(default_factory=dict)

    @property
    def num_batches(self) -> int:
        return -(-self.num_samples // BATCH_SIZE)


def even(ms: float) -> Callable[[object], float]:
    return lambda _: ms / 1000


def with_bursts(number: int) -> float:
    return 0.020 if number % 20 == 19 else 0.002


def drifting(now: Now) -> float:
    """Five times as long at first, falling in a straight line for a second."""
    return 0.008 * (1 + 4 * max(0.0, 1 - now.since_s))


def dropping(now: Now) -> float:
    return 0.020 if now.window == 2 else 0.010


CASES: Final = (
    Case(
        name="loader slow",
        loader=even(20), model=even(8), loader_ms=20, model_ms=8, step_ms=20,
        steps_ms=(20, 20, 20, 20), efficiency=1, stall=12 / 20,
        verdict="loader-bound", advice=("loader-bound",),
    ),
    Case(
        name="model slow",
        loader=even(8), model=even(20), loader_ms=8, model_ms=20, step_ms=20,
        steps_ms=(20, 20, 20, 20), efficiency=1, stall=0,
        verdict="model-bound", advice=("model-bound",),
    ),
    Case(
        name="balanced",
        loader=even(15), model=even(15), loader_ms=15, model_ms=15, step_ms=15,
        steps_ms=(15, 15, 15, 15), efficiency=1, stall=0,
        verdict="balanced", advice=(),
    ),
    Case(
        name="one lock",
        loader=even(10), model=even(12), loader_ms=10, model_ms=12, step_ms=22,
        steps_ms=(22, 22, 22, 22), efficiency=12 / 22, stall=0,
        verdict="model-bound, contended", advice=("contended",), shares_lock=True,
    ),
    Case(
        name="no prefetching",
        loader=even(10), model=even(12), loader_ms=10, model_ms=12, step_ms=22,
        steps_ms=(22, 22, 22, 22), efficiency=12 / 22, stall=10 / 22,
        verdict="model-bound, serial", advice=("serial",), prefetches=False,
    ),
    # 19 of 20 batches in 2 ms, then one in 20: 700 steps, of which 35 are long.
    Case(
        name="bursts",
        loader=with_bursts, model=even(1), loader_ms=2.9, model_ms=1, step_ms=2.9,
        steps_ms=(2, 2, 20, 20), efficiency=1, stall=1.9 / 2.9,
        verdict="loader-bound", advice=("loader-bound",), num_samples=20 * BATCH_SIZE,
        durations={"min_batches": 700, "num_windows": 1},
    ),
    Case(
        name="drift, waited for",
        loader=even(4), model=drifting, loader_ms=4, model_ms=8, step_ms=8,
        steps_ms=(8, 8, 8, 8), efficiency=1, stall=0,
        verdict="model-bound", advice=("model-bound",),
        # It is settled when most steps of the quarter before the last half are even. The drift is
        # within a tenth of its end at 0.975 s, so that after t seconds (t/2 - 0.975) / 0.0083 of
        # those steps are, and ln((5 - t) / 1.1) / 0.032 are not: as many at t = 2.4.
        is_settled=True, warm_up_s=(0.97, 2.5), durations={"settle_seconds": 10},
    ),
    Case(
        name="drift, not waited for",
        loader=even(4), model=drifting, loader_ms=4, model_ms=8, step_ms=math.nan,
        steps_ms=(math.nan,) * 4, efficiency=math.nan, stall=0,
        verdict="model-bound, contended", advice=("unsettled", "contended", "model-bound"),
        # One window, so that all of the rest of the drift is in it; it ends with the first second.
        is_settled=False, warm_up_s=(0.3, 0.4),
        durations={"settle_seconds": 0.3, "num_windows": 1, "min_seconds": 0.5},
    ),
    Case(
        name="half speed in one window",
        loader=even(3), model=dropping, loader_ms=3, model_ms=10, step_ms=10,
        steps_ms=(10, 20, 20, 20), efficiency=1, stall=0, spread=0.5,
        verdict="model-bound", advice=("noisy", "model-bound"), durations={"min_seconds": 0.6},
    ),
    # 15 images are two batches, and the model takes as long for the partial one.
    Case(
        name="half of the last batch is padding",
        loader=even(8), model=even(20), loader_ms=8 * 20 / 15, model_ms=20, step_ms=20 * 20 / 15,
        steps_ms=(20, 20, 20, 20), efficiency=1, stall=0,
        verdict="model-bound", advice=("model-bound",), num_samples=15,
    ),
)  # fmt: skip


class FairLock:
    """A lock that is given in the order of asking; says since when it could be had."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._last = self._served = 0
        self._free_since = 0.0

    def __enter__(self) -> float:
        asked = time.perf_counter()
        with self._changed:
            ticket, self._last = self._last, self._last + 1
            self._changed.wait_for(lambda: self._served == ticket)
        return max(asked, self._free_since)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._served += 1
            self._free_since = time.perf_counter()
            self._changed.notify_all()


class NoLock:
    """For loaders and models that share nothing."""

    def __enter__(self) -> float:
        return time.perf_counter()

    def __exit__(self, *_: object) -> None:
        pass


Lock = FairLock | NoLock


class Sleeper:
    """Sleeps, and notes how long it took."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        start = time.perf_counter()
        time.sleep(seconds)
        self.slept_s.append(time.perf_counter() - start)


class PlantedLoader(Sleeper):
    """Batches whose pixels are the sample's id, each after a delay that `delays_s` notes.

    `asked` and `given` are times at which the consumer came for a batch and left with it, `had`
    those at which the queue had it; `late_s` is how long the thread took to put it there, not
    counting how long the queue was full.
    """

    reads_images = True
    settings: Mapping[str, Setting] = {}

    def __init__(self, case: Case, lock: Lock) -> None:
        super().__init__()
        self.case, self.lock = case, lock
        self.delays_s: list[float] = []
        self.late_s: list[float] = []
        self.had: list[float] = []
        self.asked: list[float] = []
        self.given: list[float] = []
        self._queue: queue.Queue[Batch] = queue.Queue(DEPTH)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        if case.prefetches:
            self._thread.start()

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.case.num_batches):
            self.asked.append(time.perf_counter())
            batch = self._queue.get() if self.case.prefetches else self._make()
            self.given.append(time.perf_counter())
            yield batch

    def close(self) -> None:
        self._is_closed.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue

    def _fill(self) -> None:
        began = time.perf_counter()
        while not self._is_closed.is_set():
            batch = self._make()
            was_full, free_since = self._queue.full(), time.perf_counter()
            if not self.case.shares_lock:
                self.delays_s[-1] = free_since - began  # nothing of the thread's time is left out
            self._queue.put(batch)
            number = len(self.had)
            began = time.perf_counter()
            self.had.append(began)
            if was_full and number >= DEPTH:
                # The consumer may not have noted yet that it left.
                free_since = [*self.given[number - DEPTH : number - DEPTH + 1], self.had[-1]][0]
            self.late_s.append(max(0.0, self.had[-1] - free_since))

    def _make(self) -> Batch:
        with self.lock as start:
            number = len(self.delays_s)
            self.sleep(self.case.loader(number))
            first = number % self.case.num_batches * BATCH_SIZE
            ids_N = torch.arange(first, min(first + BATCH_SIZE, self.case.num_samples))
            batch = Batch(ids_N.view(-1, 1, 1, 1).float(), ids_N, len(ids_N))
            self.delays_s.append(time.perf_counter() - start)
        return batch


class PlantedModel(Sleeper):
    """Predicts the sample's own id, after a delay that `delays_s` notes; watches the windows.

    `came` and `left` are times of a call's beginning and end, all three by the number of the
    loader's batch. `alone_s` are the delays of batches that are no loader's.
    """

    batch_size = BATCH_SIZE

    def __init__(self, case: Case, lock: Lock, loader: PlantedLoader) -> None:
        super().__init__()
        self.case, self.lock, self.loader = case, lock, loader
        self.delays_s: dict[int, float] = {}
        self.came: dict[int, float] = {}
        self.left: dict[int, float] = {}
        self.alone_s: list[float] = []
        self.resident_NCHW = torch.zeros(BATCH_SIZE, 1, 1, 1)
        self.began = math.nan
        self.window = self.num_windows = 0
        self._logits_MM = torch.eye(case.num_samples)

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        came = time.perf_counter()
        with self.lock as start:
            if math.isnan(self.began):
                self.began = start
            number = len(self.delays_s) + len(self.alone_s)
            now = Now(number, start - self.began, self.window)
            self.sleep(self.case.model(now))
            logits = self._logits_MM[images_NCHW.flatten().long()]
            delay_s = time.perf_counter() - start
        if images_NCHW is self.resident_NCHW:
            self.alone_s.append(delay_s)
        else:
            batch = len(self.loader.given) - 1
            self.came[batch], self.delays_s[batch] = came, delay_s
            self.left[batch] = time.perf_counter()
        return logits

    def look_around(self) -> None:
        """A planted pipeline has no processes."""

    def begin(self) -> None:
        self.num_windows += 1
        self.window = self.num_windows

    def end(self, num_images: int) -> None:
        self.window = 0


class NotingClock(Clock):
    """The clock itself; it notes which batches each window has: the loader's, the model's alone."""

    def __init__(self, loader: PlantedLoader, model: PlantedModel) -> None:
        super().__init__()
        self.spans: list[tuple[range, range]] = []
        self._given, self._alone_s = loader.given, model.alone_s
        self._first = (0, 0)

    def start(self) -> None:
        self._first = (len(self._given), len(self._alone_s))
        super().start()

    def stop(self) -> float:
        wall_s = super().stop()
        loaded, alone = map(range, self._first, (len(self._given), len(self._alone_s)))
        self.spans.append((loaded, alone))
        return wall_s


# What must follow


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The figures that must come out; times in seconds, rates in images/s."""

    loader: float
    model: float
    rates: list[float]
    stall: float
    steps_s: list[float]
    efficiency: float

    @property
    def rate(self) -> float:
        return quantile(self.rates, 50)

    @property
    def spread(self) -> float:
        return (max(self.rates) - min(self.rates)) / self.rate


def replay(
    loader: PlantedLoader, model: PlantedModel, case: Case
) -> tuple[list[float], list[float], list[float]]:
    """When each batch ends, how long it was waited for, and the time between delays.

    Seconds; the ends are from the beginning. Some batches are the loader's alone.
    """
    ends: list[float] = []
    waits: list[float] = []
    between_s: list[float] = []
    taken: list[float] = []
    put = end = 0.0
    before = loader.asked[0]
    for k, given in enumerate(loader.given):
        loading, running, came, left = loader.delays_s[k], 0.0, given, given
        if k in model.delays_s:
            running, came, left = model.delays_s[k], model.came[k], model.left[k]
        between_s.append(loader.asked[k] - before + came - given)
        before = left
        asked = end + between_s[k]
        if case.shares_lock:
            # The queue was full at first, and one of each in turn leaves it so. While the loader
            # has the lock, the consumer comes for its next turn.
            taken.append(asked)
            waits.append(0.0)
            end = max(asked, end + loading) + running
        else:
            waking = 0.0
            if not case.prefetches:
                put = asked + loading
            else:
                put = max(put + loading, taken[k - DEPTH] if k >= DEPTH else 0.0) + loader.late_s[k]
                waking = max(0.0, loader.given[k] - max(loader.asked[k], loader.had[k]))
            taken.append(max(put, asked) + waking)
            waits.append(taken[-1] - asked)
            end = taken[-1] + running
        ends.append(end)
    return ends, waits, between_s


def hodges_lehmann(whole: Sequence[float], part: Sequence[float]) -> float:
    """The median of all means of two log ratios, back from the logarithm."""
    logs = [math.log(a / b) for a, b in zip(whole, part, strict=True)]
    means = [(x + y) / 2 for i, x in enumerate(logs) for y in logs[i:]]
    return math.exp(quantile(means, 50))


def quantile(samples: Sequence[float], pct: float) -> float:
    """Linear between order statistics, written here once more so as to be another's."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * pct / 100
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place % 1)


def judge(loader: float, model: float, efficiency: float, *, is_serial: bool) -> str:
    """The verdict's words without its figure."""
    slow = "loader" if loader < model else "model"
    words = "balanced" if max(loader, model) / min(loader, model) < 1.1 else f"{slow}-bound"
    together = "serial" if is_serial else "contended"
    return words + (f", {together}" if efficiency < 0.85 else "")


def judge_advice(
    case: Case,
    loader: float,
    model: float,
    efficiency: float,
    spread: float,
    *,
    is_serial: bool,
    is_above: bool,
) -> str:
    """The names of what must be advised."""
    ratio = max(loader, model) / min(loader, model)
    bound = "loader-bound" if loader < model else "model-bound"
    found = {
        "above-ceiling": is_above,
        "contended": efficiency < 0.85 and not is_serial,
        "serial": efficiency < 0.85 and is_serial,
        bound: ratio >= 1.25,
        "noisy": spread >= 0.1,
        "unsettled": case.is_settled is False,
        "padded": case.num_samples / (case.num_batches * BATCH_SIZE) < 0.95,
    }
    return ", ".join(sorted(name for name, is_due in found.items() if is_due)) or "none"


def shorten(verdict: str | None) -> str:
    """What `judge` says, out of a record's own words."""
    first, _, second = (verdict or "").partition("; ")
    return first.partition(",")[0] + (f", {second.partition(',')[0]}" if second else "")


# What came out


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table; numbers as they are, their unit in the name."""

    case: str
    name: str
    planned: float | str | None
    took_place: float | str | None
    measured: float | str | None
    bound: str
    passes: bool


def near(
    case: str,
    name: str,
    planned: float | None,
    took_place: float | None,
    measured: float | None,
    relative: float = 0.0,
    absolute: float = 0.0,
) -> Figure:
    if took_place is None or measured is None:
        passes = took_place is measured
    else:
        passes = abs(measured - took_place) <= relative * abs(took_place) + absolute
    parts = [f"{100 * relative:g} %"] if relative else []
    parts += [f"{absolute:.3g}"] if absolute else []
    return Figure(
        case=case,
        name=name,
        planned=None if planned is None or math.isnan(planned) else planned,
        took_place=took_place,
        measured=measured,
        bound=" + ".join(parts),
        passes=passes,
    )


def same(case: str, name: str, wanted: object, measured: object, planned: object = None) -> Figure:
    return Figure(
        case=case,
        name=name,
        planned=str(wanted if planned is None else planned),
        took_place=str(wanted),
        measured=str(measured),
        bound="the same",
        passes=wanted == measured,
    )


def calibrate(num: int = 500, seconds: float = 0.002) -> dict[int, float]:
    """How late `time.sleep` is, at each percentile, seconds."""
    late = []
    for _ in range(num):
        start = time.perf_counter()
        time.sleep(seconds)
        late.append(time.perf_counter() - start - seconds)
    return {pct: quantile(late, pct) for pct in PERCENTILES}


def measure(case: Case) -> tuple[Record, Truth, list[Figure], dict[str, float]]:
    """The passes of `fastbench run`, in its order; the record, the truth, and what they noted."""
    lock = FairLock() if case.shares_lock else NoLock()
    settings: dict[str, float] = {
        "min_seconds": 0.5,
        "min_batches": 24,
        "num_windows": 3,
        "warm_up_batches": 10,
        "warm_up_seconds": 0.0,
        "round_seconds": 0.4,
        "latency_batches": 0,
        "latency_seconds": 0.0,
        **case.durations,
    }
    durations = Durations(**settings)  # type: ignore[arg-type]

    loader = PlantedLoader(case, lock)
    model = PlantedModel(case, lock, loader)
    while case.prefetches and not loader._queue.full():
        time.sleep(0.001)
    tally = Tally(case.num_samples, tuple(range(case.num_samples)), "cpu")
    clock = NotingClock(loader, model)
    watch: Any = model  # which has begin() and end(), too
    num_queued = DEPTH + 1 if case.prefetches else 0  # one more waits in the loader's thread
    rounds = Rounds(
        model,
        Tally(case.num_samples, None, "cpu"),
        model.resident_NCHW,
        clock,
        durations.round_seconds,
        durations.rounds_seconds,
        num_queued=num_queued,
        num_workers=1,
    )
    warm_up, throughput, _ = end_to_end(
        loader, model, tally, clock, durations, case.num_batches,
        num_queued=num_queued, watch=watch, rounds=rounds,
    )  # fmt: skip
    scores = tally.read()
    check_each_once(
        scores, throughput.num_epochs, [str(i) for i in range(case.num_samples)], case.name
    )
    loader.close()
    ends, waits, between_s = replay(loader, model, case)
    padding = case.num_samples / (case.num_batches * BATCH_SIZE)

    def wall_of(span: range) -> float:
        return ends[span.stop - 1] - ends[span.start - 1]

    # Of each window: itself, then end to end, loader, model, model, loader, end to end.
    windows = [loaded for loaded, _ in clock.spans[::7]]
    walls = [wall_of(span) for span in windows]
    per_s: dict[str, list[float]] = {"end to end": [], "loader": [], "model": []}
    num, took_s = {"loader": 0, "model": 0}, {"loader": 0.0, "model": 0.0}
    for place, (loaded, alone) in enumerate(clock.spans):
        if place % 7 == 0:
            continue
        part = ("", "end to end", "loader", "model", "model", "loader", "end to end")[place % 7]
        its_s = sum(pick(model.alone_s, alone)) if part == "model" else wall_of(loaded)
        steps = len(alone) if part == "model" else len(loaded)
        per_s[part].append(steps / its_s)
        if part in num:
            num[part] += steps
            took_s[part] += its_s
    loader_rate, model_rate = (num[part] / took_s[part] for part in ("loader", "model"))
    lower = "loader" if loader_rate * padding < model_rate * padding else "model"
    truth = Truth(
        loader=padding * BATCH_SIZE * loader_rate,
        model=BATCH_SIZE * model_rate,
        efficiency=hodges_lehmann(per_s["end to end"], per_s[lower]),
        rates=[padding * BATCH_SIZE * len(s) / w for s, w in zip(windows, walls, strict=True)],
        stall=sum(sum(pick(waits, span)) for span in windows) / sum(walls),
        steps_s=[ends[k] - ends[k - 1] for span in windows for k in span],
    )
    hits = (scores.hits or [(0, 0)])[-1]
    record = record_of(
        case,
        warm_up=warm_up,
        throughput=throughput,
        loader_ceiling=rounds.loader_ceiling,
        model_ceiling=rounds.model_ceiling,
        rounds=rounds.rounds,
        accuracy=Accuracy(num_samples=case.num_samples, top1_correct=hits[0], top5_correct=hits[1]),
    )
    counts = [
        same(
            case.name,
            "images in windows",
            round(padding * BATCH_SIZE * sum(map(len, windows))),
            throughput.num_images,
        ),
        same(case.name, "top-1 hits", case.num_samples, hits[0]),
    ]
    noted = {
        "loader": quantile(loader.slept_s, 50),
        "model": quantile(model.slept_s, 50),
        "between": quantile([between_s[k] for span in windows for k in span], 50),
    }
    return record, truth, counts, noted


def pick(values: Sequence[float], span: range) -> Sequence[float]:
    return values[span.start : span.stop]


def check(case: Case, late_s: Mapping[int, float]) -> tuple[list[Figure], Record, Truth]:
    record, truth, counts, noted = measure(case)
    throughput, name = record.throughput, case.name
    padding = case.num_samples / (case.num_batches * BATCH_SIZE)
    assert record.loader_ceiling is not None
    assert record.model_ceiling is not None
    # Verdict and advice must follow from the figures that are held against the truth here; from the
    # truth itself they would differ wherever noise brings a figure near to one of their limits.
    rates = record.loader_ceiling.images_per_s, record.model_ceiling.images_per_s * padding
    assert record.overlap is not None
    overlap, interval = record.overlap
    is_above = overlap >= 1.1 or (interval is not None and interval[0] > 1)
    followed = (*rates, overlap)
    is_serial = not case.prefetches
    figures = [
        near(
            name, "loader alone, images/s", 1000 * BATCH_SIZE / case.loader_ms, truth.loader,
            record.loader_ceiling.images_per_s, RATES,
        ),
        near(
            name, "model alone, images/s", 1000 * BATCH_SIZE / case.model_ms, truth.model,
            record.model_ceiling.images_per_s, RATES,
        ),
        near(
            name, "throughput, images/s", 1000 * BATCH_SIZE / case.step_ms, truth.rate,
            throughput.images_per_s, RATES,
        ),
        near(
            name, "overlap efficiency", case.efficiency, truth.efficiency,
            record.overlap_efficiency, 0, SHARES,
        ),
        near(name, "stall share", case.stall, truth.stall, throughput.stall_share, 0, SHARES),
        near(name, "spread of windows", case.spread, truth.spread, throughput.spread, 0, SHARES),
        same(
            name, "verdict", judge(*followed, is_serial=is_serial), shorten(bound_in_words(record)),
            case.verdict,
        ),
    ]  # fmt: skip
    for pct, planned_ms in zip(PERCENTILES, case.steps_ms, strict=True):
        is_supported = pct == 100 or len(truth.steps_s) >= MIN_SAMPLES[pct]
        measured_s = (
            throughput.step_time_s(pct) if pct < 100 else max(throughput.step_times_s)
        )  # fmt: skip
        figures.append(
            near(
                name,
                f"step p{pct}, ms" if pct < 100 else "longest step, ms",
                planned_ms if is_supported else None,
                1000 * quantile(truth.steps_s, pct) if is_supported else None,
                None if measured_s is None else 1000 * measured_s,
                RATES,
                1000 * late_s[pct],
            )
        )
    planned_s = {
        "loader": quantile([case.loader(k) for k in range(1000)], 50),
        "model": case.model(Now(1000, math.inf, 0)),
    }
    figures += [
        near(
            name, f"median sleep of the {side}, ms", 1000 * planned_s[side],
            1000 * planned_s[side], 1000 * noted[side], RATES, 1000 * late_s[50],
        )
        for side in ("loader", "model")
    ]  # fmt: skip
    figures.append(
        Figure(
            case=name,
            name="between delays, ms",
            planned=None,
            took_place=None,
            measured=1000 * noted["between"],
            bound=f"{1000 * BETWEEN_S:g} at most",
            passes=noted["between"] <= BETWEEN_S,
        )
    )
    figures += counts
    if case.warm_up_s is not None:
        low, high = case.warm_up_s
        wall_s = record.warm_up.wall_s
        # A step that is under way when the time is up is finished.
        late = 1000 * late_s[100]
        figures += [
            same(name, "settled", case.is_settled, throughput.is_settled),
            Figure(
                case=name,
                name="warm-up, s",
                planned=f"{low:g} to {high:g}",
                took_place=None,
                measured=wall_s,
                bound=f"high end + {late:.3g} ms",
                passes=low <= wall_s <= high + late / 1000,
            ),
        ]
    figures += [
        same(
            name, "advice",
            judge_advice(
                case, *followed, throughput.spread, is_serial=is_serial, is_above=is_above
            ),
            ", ".join(sorted(advice.name for advice in advise(record))) or "none",
            ", ".join(sorted(case.advice)) or "none",
        ),
        same(name, "contradictions", [], find_contradictions(record)),
    ]  # fmt: skip
    return figures, record, truth


def record_of(case: Case, **measured: Any) -> Record:
    """A record with what was measured, and nothing else to be said of it."""
    return Record(
        schema_version=SCHEMA_VERSION,
        created="",
        command="planted_delays",
        loader="planted",
        model="planted",
        weights="planted",
        device="cuda:0",  # whose loader and model do not share the cores
        dtype="float32",
        compile_mode=None,
        batch_size=BATCH_SIZE,
        num_threads=1,
        config={},
        environment={},
        data={"num_samples": case.num_samples, "page_cache": "warm"},
        preprocess={},
        loader_settings={},
        labels="planted",
        tuning=[],
        compilation=None,
        latency=Latency(batch_size=BATCH_SIZE, samples_s=[]),
        published=None,
        parity=None,
        notes=[],
        **measured,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    load_before = os.getloadavg()
    late_s = calibrate()
    figures: list[Figure] = []
    cases = []
    for case in CASES:
        found, record, truth = check(case, late_s)
        figures += found
        cases.append(
            {
                "case": case.name,
                "loader_ms": case.loader_ms,
                "model_ms": case.model_ms,
                "verdict": bound_in_words(record),
                "figures": [dataclasses.asdict(figure) for figure in found],
                "took_place": dataclasses.asdict(truth),
                "measured": {
                    "throughput": msgspec.to_builtins(record.throughput),
                    "loader_ceiling": msgspec.to_builtins(record.loader_ceiling),
                    "model_ceiling": msgspec.to_builtins(record.model_ceiling),
                    "rounds": msgspec.to_builtins(record.rounds),
                    "warm_up": msgspec.to_builtins(record.warm_up),
                },
            }
        )
    num_failed = sum(not figure.passes for figure in figures)
    wall_s = time.perf_counter() - began

    Console(width=190).print(render(figures, late_s))
    print(f"{num_failed} of {len(figures)} figures fail; {wall_s:.0f} s")
    if arguments.output:
        result = {
            "benchmark": "planted_delays",
            "command": shlex.join(["uv", "run", "python", "benchmarks/planted_delays.py",
                                   *sys.argv[1:]]),
            "environment": machine.describe(),
            "load_average": {"before": load_before, "after": os.getloadavg()},
            "wall_s": wall_s,
            "batch_size": BATCH_SIZE,
            "queue_depth": DEPTH,
            "sleep_late_s": {f"p{pct}": value for pct, value in late_s.items()},
            "bounds": {"rates": RATES, "shares": SHARES},
            "num_figures": len(figures),
            "num_failed": num_failed,
            "cases": cases,
        }  # fmt: skip
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=1, allow_nan=False)
        write_text("The figures", arguments.output, text + "\n")
    sys.exit(1 if num_failed else 0)


def render(figures: Sequence[Figure], late_s: Mapping[int, float]) -> Table:
    late = ", ".join(f"p{pct} {1000 * value:.2f}" for pct, value in late_s.items())
    table = Table(
        title="Planted delays: what fastbench says of them",
        caption=f"time.sleep(0.002) is late by, ms: {late}. A bound counts from what took place.",
    )
    for name in ("case", "figure"):
        table.add_column(name, no_wrap=True)
    for name in ("planned", "took place", "measured", "bound"):
        table.add_column(name, justify="right", max_width=38, no_wrap=True)
    table.add_column("")
    previous = ""
    for figure in figures:
        if figure.case != previous:
            table.add_section()
        table.add_row(
            figure.case if figure.case != previous else "",
            figure.name,
            *(show(value) for value in (figure.planned, figure.took_place, figure.measured)),
            figure.bound,
            "[green]PASS[/green]" if figure.passes else "[bold red]FAIL[/bold red]",
        )
        previous = figure.case
    return table


def show(value: float | str | None) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, str):
        return value.replace("[", "(").replace("]", ")")  # brackets are rich's markup
    return f"{value:,.1f}" if value >= 100 else f"{value:.3f}"


if __name__ == "__main__":
    main()
