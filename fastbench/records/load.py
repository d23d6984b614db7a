"""What is measured under load: queries that arrive by themselves, and how long each takes.

A query asks for the predictions of one image, or of several, from their JPEGs. Its latency is from
the arrival that the load generator has scheduled to its answer, whether or not the query could be
begun then. LoadGen, the load generator of MLPerf Inference, is the clock and the judge.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from fastbench.core.stats import wilson_interval
from fastbench.records.accuracy import Accuracy, Parity, ProgramCheck, Published
from fastbench.records.fields import Amount, Count, Duration, Positive, Share, Stored
from fastbench.records.record import UNREAD, Described
from fastbench.records.speed import Compilation, Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterable

Scenario = Literal["server", "single-stream", "multi-stream", "offline"]
Purpose = Literal["search", "confirm", "only"]
SERVER: Final = "server"
OFFLINE: Final = "offline"
SHOWN: Final = (50.0, 90.0, 99.0, 99.9)
"""The percentiles of query latency that tables show."""


class Limit(Stored, frozen=True, kw_only=True):
    """A percentile of the query latency, and what it may be at most: 15 ms at p99."""

    seconds: Duration
    pct: float

    def __str__(self) -> str:
        return f"{1000 * self.seconds:g} ms at p{self.pct:g}"


class Parts(Stored, frozen=True, kw_only=True):
    """Where the time of queries goes: mean seconds of each part, which add up to their latency.

    `issue_s` is from the scheduled arrival until the load generator hands the query over, `queue_s`
    until its decoding begins, `decode_s` until it is decoded, `batch_s` until the model begins with
    its batch, `model_s` until its predictions are on the host, `answer_s` until the load generator
    has them.
    """

    num_queries: Positive
    issue_s: Amount
    queue_s: Amount
    decode_s: Amount
    batch_s: Amount
    model_s: Amount
    answer_s: Amount

    @property
    def by_name(self) -> dict[str, float]:
        """Seconds of each part, in the order in which a query goes through them."""
        return {
            name.removesuffix("_s"): seconds
            for name, seconds in msgspec.structs.asdict(self).items()
            if name.endswith("_s")
        }

    @property
    def total_s(self) -> float:
        """The mean latency of these queries."""
        return math.fsum(self.by_name.values())


class LoadRun(Stored, frozen=True, kw_only=True):
    """One run of the load generator.

    `purpose` is what it was for: one of a search for the highest rate, the long run that confirms
    what was found, or the only one. `offered_per_s` is the mean rate at which queries were to
    arrive, None where each waits for the one before; `scheduled_per_s` is the rate at which they
    did arrive, by chance, and `completed_per_s` the images that were answered, over the time from
    the first arrival to the last answer. `latency_s` has percentiles of the query latency by their
    number (`99`, `99.9`), and `mean`, `min` and `max`; `limit_s` is the one of the limit.
    Percentiles are the generator's: of n latencies in order, the one at n * p, counted from 0.
    `is_valid` is its judgement, and `why_not` its reasons in words. `num_over`
    queries took longer than the limit, `num_turned_away` were not begun because too many waited,
    `num_failed` could not be answered; both count as answered when that was clear, and a run with
    one is not valid. `early_stopping_s` is its estimate of the percentile that it judges
    `single-stream` and `multi-stream` by, which is MLPerf's figure; None where it has none. `logs`
    is the folder of its logs, below the record's.
    """

    purpose: Purpose
    offered_per_s: Amount | None
    scheduled_per_s: Amount | None = None
    completed_per_s: Amount
    num_queries: Positive
    num_images: Positive
    wall_s: Duration
    latency_s: dict[str, Amount]
    limit_s: Amount | None
    is_valid: bool
    why_not: list[str]
    num_over: Count | None
    num_turned_away: Count
    num_failed: Count
    early_stopping_s: Amount | None = None
    logs: str | None = None

    def percentile_s(self, pct: float) -> float | None:
        """A percentile of the query latency; None where the generator does not state it."""
        return self.latency_s.get(f"{pct:g}")

    def holds(self, limit: Limit) -> bool:
        """Whether the limit was kept, with every query answered; one run says it by chance."""
        is_whole = not self.num_turned_away and not self.num_failed
        return is_whole and self.limit_s is not None and self.limit_s <= limit.seconds


class Served(Stored, frozen=True, kw_only=True):
    """The predictions of the very queries that were timed, an image as often as it was asked for.

    `num_changed` are not what the same pipeline predicts for the image when all are scored once.
    The hits are None without labels.
    """

    num_images: Positive
    top1_correct: Count | None
    num_changed: Count

    @property
    def top1(self) -> float | None:
        """Top-1 as a share; None without labels."""
        return None if self.top1_correct is None else self.top1_correct / self.num_images

    @property
    def top1_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval, as if all queries were of different images."""
        hits = self.top1_correct
        return None if hits is None else wilson_interval(hits, self.num_images)


class SlowQuery(Stored, frozen=True, kw_only=True):
    """One of the slowest queries: its image, when it arrived after the first one, its latency."""

    name: str
    arrived_s: Amount
    latency_s: Amount
    parts: Parts


class FailedQueries(Stored, frozen=True, kw_only=True):
    """Queries of one image that could not be answered, and why."""

    name: str
    why: str
    count: Positive


class LoadRecord(Described, frozen=True, kw_only=True):
    """A model behind a loader under load, its latencies and its predictions.

    `batch_size` is the largest batch, `batch_sizes` those that the model was made ready for: others
    are padded to the next. `source` is where the bytes of a JPEG are when a query arrives.
    `max_wait_s` is how long a query waits for others to fill its batch, `max_queued` how many may
    wait. `images_per_query` is 1 but in `multi-stream`; in `offline` each image is a query, and
    all arrive at once.

    `runs` are in the order of measuring. The last one is what the record is of: `latencies_s` (of
    each query, in the order of their arrival), `batches` (how many of each size were formed),
    `parts` (of `all` queries, and of those around `p50` and `p99`), `slowest`, `failed` and
    `telemetry` are its. `search_ended` says in words how a search for the highest rate ended;
    None without one. `estimate_per_s` is the rate that its short runs say, `reach` the share of
    it by which the 95 % interval reaches to either side; None without them. `rules` are the load
    generator's settings, and `is_mlperf_length` says whether they are at least as long as MLPerf's.

    Of more than 100,000 queries `latencies_s` has every `nth`. `program` is as that of a row of
    `fastbench run`. `accuracy` and `parity` are of a pass in the generator's accuracy mode, each
    image once; `served` is of the last run. Without images that are read all three are None.
    """

    dtype: str
    compile_mode: str | None
    num_threads: Positive
    labels: str
    scenario: Scenario
    source: Literal["file", "memory"]
    limit: Limit | None
    max_wait_s: Amount
    max_queued: Positive
    batch_sizes: list[Positive]
    images_per_query: Positive
    runs: list[LoadRun]
    latencies_s: list[Amount]
    batches: dict[str, Count]
    parts: dict[str, Parts]
    served: Served | None
    accuracy: Accuracy | None
    parity: Parity | None
    published: Published | None
    rules: dict[str, int | float | str]
    is_mlperf_length: bool
    search_ended: str | None = None
    estimate_per_s: Amount | None = None
    reach: Amount | None = None
    is_finished: bool = True
    nth: Positive = 1
    program: ProgramCheck | None = None
    rate_tolerance: Share | None = None
    slowest: list[SlowQuery] = msgspec.field(default_factory=list)
    failed: list[FailedQueries] = msgspec.field(default_factory=list)
    compilation: Compilation | None = None
    telemetry: Telemetry | None = None
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def result(self) -> LoadRun:
        """The run that the record is of: the last."""
        return self.runs[-1]

    @property
    def is_search(self) -> bool:
        """Whether the highest rate was searched for."""
        return self.search_ended is not None

    @property
    def latency_bounded_per_s(self) -> float | None:
        """Queries a second that arrived while the limit was kept; None where it was not, and where
        queries do not arrive by themselves.

        Of a search it is the rate that a long run has confirmed.
        """
        run = self.result
        if self.scenario != SERVER or self.limit is None or not run.holds(self.limit):
            return None
        return run.offered_per_s

    @property
    def reads_images(self) -> bool:
        """Whether the loader reads the images; otherwise the predictions mean nothing."""
        return self.labels != UNREAD

    @property
    def top1(self) -> float | None:
        """Top-1 of each image once, as a share; None where it was not scored."""
        return self.accuracy.top1 if self.accuracy else None

    @property
    def mean_batch(self) -> float:
        """Images in the mean batch that was formed."""
        return mean_batch(self.batches)

    @property
    def by_rate(self) -> list[LoadRun]:
        """The runs with a rate of their own, the lowest first: what a plot over the rate shows."""
        found = [run for run in self.runs if run.offered_per_s is not None]
        return sorted(found, key=lambda run: run.offered_per_s or 0.0)


def mean_batch(batches: dict[str, int]) -> float:
    """Images in the mean batch, of batches counted by their size."""
    num = sum(batches.values())
    return sum(int(size) * count for size, count in batches.items()) / num if num else 0.0


def counted_by_size(sizes: Iterable[int]) -> dict[str, Any]:
    """How many batches there are of each size, by the size as text, the smallest first."""
    counts: dict[int, int] = {}
    for size in sizes:
        counts[size] = counts.get(size, 0) + 1
    return {str(size): counts[size] for size in sorted(counts)}
