"""Compares rows under load: one figure a row, and whether B's is certainly worse than A's.

    server, searched  latency-bounded throughput; each is known as far as its short runs agree
    server, one rate  the percentile of the limit at that rate
    single-stream     p90 of the query latency, as MLPerf has it; multi-stream: p99
    offline           images/s

A row is a single run. What differs from run to run is in no interval: that of a percentile is
between order statistics, as if queries did not depend on each other, and that of images/s is not
known. Rows are paired by their configuration and how queries arrive; of repeats the latest counts.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import independent_difference_interval, percentile_interval
from fastbench.core.units import counted, format_milliseconds, format_rate
from fastbench.records import naming
from fastbench.records.differences import Difference, split_unlike
from fastbench.records.facts import FACTS
from fastbench.records.load import OFFLINE, SERVER
from fastbench.report.compare.pair_comparison import (
    EQUAL,
    FASTER,
    INVALID_PAIR,
    SLOWER,
    UNLIKE,
    UNSURE,
    format_ratio,
)
from fastbench.report.compare.worsening import find_worsening

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.records.load import LoadRecord
    from fastbench.report.columns.load import LoadRow

_TOLERANCE: Final = 0.02
"""Of a search that does not state its own."""
_ALIKE: Final = ("scenario", "images-per-query", "rate", "latency-limit")
"""The facts under load in which rows must not differ."""
_PERCENTILES: Final = {"single-stream": 90.0, "multi-stream": 99.0}

Bounds = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figure of a row: its value and its 95 % interval, None where they are not known.

    `unit` is `queries/s`, `images/s` or `s`, of which less is better.
    """

    name: str
    unit: str
    value: float | None
    bounds: Bounds

    @property
    def text(self) -> str:
        """As people read it."""
        if self.value is None:
            return "none"
        if self.unit == "s":
            return f"{format_milliseconds(self.value)} ms"
        return f"{format_rate(self.value)} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class ComparedLoad:
    """A row under load of B held against that of A; `label` is what its configuration is called.

    `speed` is how many times as fast B is: of latencies that is A over B.
    """

    a: LoadRow
    b: LoadRow
    label: str

    @functools.cached_property
    def figures(self) -> tuple[Measured, Measured]:
        """The figure of A and of B."""
        return measured(self.a), measured(self.b)

    @property
    def runs_a(self) -> Sequence[LoadRecord]:
        """A's record."""
        return [self.a.record]

    @property
    def runs_b(self) -> Sequence[LoadRecord]:
        """B's record."""
        return [self.b.record]

    @functools.cached_property
    def unlike(self) -> list[Difference]:
        """What must not differ and does."""
        a, b = self.a.record, self.b.record
        found = [
            Difference(FACTS[name].heading, FACTS[name].of(a), FACTS[name].of(b))
            for name in _ALIKE
            if FACTS[name].of(a) != FACTS[name].of(b)
        ]
        return [*split_unlike(a, b)[0], *found]

    @property
    def invalid(self) -> list[str]:
        """Why a record is INVALID, in words."""
        return [
            f"{letter} is INVALID: {reason}"
            for letter, row in (("A", self.a), ("B", self.b))
            for reason in row.invalid
        ]

    @property
    def is_one_figure(self) -> bool:
        """Whether A and B have the same figure: no rate has a ratio to a latency."""
        a, b = self.figures
        return (a.name, a.unit) == (b.name, b.unit)

    @property
    def figure(self) -> str:
        """What the figure is called, or the two that A and B have."""
        a, b = self.figures
        return a.name if self.is_one_figure else f"{a.name}, {b.name}"

    @property
    def ratio(self) -> float | None:
        """B's figure over A's."""
        a, b = self.figures
        return b.value / a.value if a.value and b.value and self.is_one_figure else None

    @property
    def speed(self) -> float | None:
        """How many times as fast B is; 0 where it holds the limit at no rate and A does."""
        a, _ = self.figures
        if self.ratio is None:
            return 0.0 if a.value and a.unit != "s" and self.is_one_figure else None
        return 1 / self.ratio if a.unit == "s" else self.ratio

    @property
    def interval(self) -> Bounds:
        """The range of `speed` that the two intervals leave."""
        a, b = self.figures
        if self.speed == 0:
            return 0.0, 0.0
        if self.ratio is None or a.bounds is None or b.bounds is None:
            return None
        if min(a.bounds[0], b.bounds[0]) <= 0:  # a rate of which nothing is known
            return None
        low, high = b.bounds[0] / a.bounds[1], b.bounds[1] / a.bounds[0]
        return (1 / high, 1 / low) if a.unit == "s" else (low, high)

    @property
    def verdict(self) -> str:
        """`slower`, `faster`, `equal` (no difference found), `unsure`, `unlike` or `invalid`."""
        if self.invalid:
            return INVALID_PAIR
        if self.unlike:
            return UNLIKE
        a, b = self.figures
        if self.interval is None:
            # Only B holds the limit at any rate.
            return FASTER if a.unit != "s" and b.value and a.value is None else UNSURE
        low, high = self.interval
        return SLOWER if high < 1 else FASTER if low > 1 else EQUAL

    @functools.cached_property
    def worse(self) -> list[str]:
        """How predictions got worse beyond chance, in words; of valid and alike rows only."""
        if self.verdict in (INVALID_PAIR, UNLIKE):
            return []
        return [*find_worsening(self), *_worse_served(self.a.record, self.b.record)]

    @property
    def in_words(self) -> str:
        """The answer in one line: `p99 14.1 ms to 17.0 ms, 1.21x: slower`."""
        a, b = self.figures
        by = "" if self.ratio is None else f", {format_ratio(self.ratio)}"
        return f"{self.figure} {a.text} to {b.text}{by}: {self.verdict}"

    def as_json(self) -> dict[str, Any]:
        """All of it in SI units, nothing rounded."""
        a, b = self.figures
        return {
            "configuration": self.label,
            "a": str(self.a.path),
            "b": str(self.b.path),
            "figure": {
                "name": self.figure,
                "unit": a.unit if self.is_one_figure else None,
                "a": a.value,
                "b": b.value,
            },
            "bounds": {"a": a.bounds, "b": b.bounds},
            "ratio": self.ratio,
            "speed": self.speed,
            "speed_interval": self.interval,
            "verdict": self.verdict,
            "invalid": self.invalid,
            "unlike": [{"name": x.name, "a": x.a, "b": x.b} for x in self.unlike],
            "worse_predictions": self.worse,
        }


@dataclass(frozen=True, kw_only=True)
class LoadSet:
    """All rows under load that have a partner, and those that have none."""

    rows: list[ComparedLoad] = field(default_factory=list)
    only_a: list[LoadRow] = field(default_factory=list)
    only_b: list[LoadRow] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is any row, paired or not."""
        return bool(self.rows or self.only_a or self.only_b)

    @property
    def headline(self) -> str:
        """The answer in a few words: `1 of 3 rows under load slower`."""
        counts = Counter(row.verdict for row in self.rows)
        of = f"of {counted(len(self.rows), 'row')} under load"
        said = [f"{counts[word]} {of} {word}" for word in (SLOWER, FASTER) if counts[word]]
        worse = sum(bool(row.worse) for row in self.rows)
        said += [f"predictions worse in {worse}"] if worse else []
        return ", ".join(said) or f"no difference found {of.replace('of', 'in', 1)}"


def pair_load(a: Sequence[LoadRow], b: Sequence[LoadRow]) -> LoadSet:
    """Pair rows that have the same configuration, on the same machine first; a lone two at any."""
    if len(a) == len(b) == 1:
        return LoadSet(rows=_labelled([(a[0], b[0])]))
    left_a, left_b = _latest(a), _latest(b)
    pairs: list[tuple[LoadRow, LoadRow]] = []
    for without in ((), ("device",)):
        of_a, of_b = _unique(left_a, without), _unique(left_b, without)
        found = [(of_a[key], of_b[key]) for key in of_a if key in of_b]
        taken = {id(row) for pair in found for row in pair}
        left_a, left_b = ([x for x in left if id(x) not in taken] for left in (left_a, left_b))
        pairs += found
    return LoadSet(rows=_labelled(pairs), only_a=left_a, only_b=left_b)


def differs_from_nearest(row: LoadRow, others: Iterable[LoadRow]) -> list[str]:
    """What differs in the row of `others` that is most like this one."""
    known = [FACTS[name] for name in (*naming.CONFIGURATION, *naming.UNDER_LOAD, "images")]
    ways = (
        [fact.heading for fact in known if fact.of(row.record) != fact.of(other.record)]
        for other in others
    )
    return min(ways, key=len, default=[])


def _labelled(pairs: Sequence[tuple[LoadRow, LoadRow]]) -> list[ComparedLoad]:
    names = naming.names([a.record for a, _ in pairs], always=("loader", "scenario"))
    return [
        ComparedLoad(a=a, b=b, label=" · ".join(name))
        for (a, b), name in zip(pairs, names, strict=True)
    ]


def _key(row: LoadRow, without: Sequence[str]) -> tuple[Any, ...]:
    facts = (*naming.UNDER_LOAD, "images", "digest")
    its = (FACTS[name].of(row.record) for name in facts)
    return (*naming.configuration_key(row.record, without), *its)


def _latest(rows: Iterable[LoadRow]) -> list[LoadRow]:
    """Of repeats, which agree in all, the one that was measured last."""
    found = {_key(row, ()): row for row in sorted(rows, key=lambda row: row.record.created)}
    return list(found.values())


def _unique(rows: Iterable[LoadRow], without: Sequence[str]) -> dict[tuple[Any, ...], LoadRow]:
    found: dict[tuple[Any, ...], list[LoadRow]] = {}
    for row in rows:
        found.setdefault(_key(row, without), []).append(row)
    return {key: alike[0] for key, alike in found.items() if len(alike) == 1}


def measured(row: LoadRow) -> Measured:
    """The figure that rows of this scenario are compared by."""
    record = row.record
    if record.scenario == SERVER and record.is_search:
        rate = record.latency_bounded_per_s
        known = (record.reach, record.rate_tolerance, _TOLERANCE)
        off = next(each for each in known if each is not None)
        bounds = None if rate is None else (rate * (1 - off), rate * (1 + off))
        return Measured(name="in limit", unit="queries/s", value=rate, bounds=bounds)
    if record.scenario == OFFLINE:
        rate = record.result.completed_per_s
        return Measured(name="throughput", unit="images/s", value=rate, bounds=None)
    pct = record.limit.pct if record.limit else _PERCENTILES.get(record.scenario, 99.0)
    seconds = record.result.percentile_s(pct)
    if seconds is None and record.limit is not None:
        seconds = record.result.limit_s
    bounds = percentile_interval(row.latencies_s, pct)
    return Measured(name=f"p{pct:g}", unit="s", value=seconds, bounds=bounds)


def _worse_served(a: LoadRecord, b: LoadRecord) -> list[str]:
    """Fewer hits, or more changed predictions, among the queries served, beyond chance."""
    if a.served is None or b.served is None:
        return []
    num_a, num_b = a.served.num_images, b.served.num_images
    counts = {
        "top-1 of the queries served": (a.served.top1_correct, b.served.top1_correct),
        "agreement of the queries served with a pass over all images": (
            num_a - a.served.num_changed,
            num_b - b.served.num_changed,
        ),
    }
    return [
        f"{what} fell from {100 * of_a / num_a:.2f} to {100 * of_b / num_b:.2f} %"
        for what, (of_a, of_b) in counts.items()
        if of_a is not None and of_b is not None
        if independent_difference_interval((of_a, num_a), (of_b, num_b))[1] < 0
    ]
