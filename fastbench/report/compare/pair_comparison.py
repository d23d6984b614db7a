"""Compares the runs of two configurations: is B faster than A, and by how much?

The ratio is of the throughputs, B over A, with a 95 % interval:

- One run a side: the interval has the scatter of the windows within the two runs. What differs from
  run to run (memory placement, clocks, neighbours) is not in it.
- Repeats: each run counts once, by the geometric mean of its windows, so the interval also has what
  differs from run to run. To pool the windows of all runs would count each of them as a run, and
  the interval would be too narrow: T. Kalibera and R. Jones, "Rigorous Benchmarking in Reasonable
  Time", ISMM 2013. A side with a single run is taken to scatter as the repeats of the other do.

A drift that all runs of B share, measured after all of A, is in no interval.
"""

from __future__ import annotations

import functools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.stats import log_ratio_interval, percentile
from fastbench.records.differences import (
    Difference,
    environment_differences,
    setting_differences,
    split_unlike,
)
from fastbench.records.validity import find_contradictions
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.records.record import Record
    from fastbench.report.columns.column import Column

SLOWER: Final = "slower"
FASTER: Final = "faster"
EQUAL: Final = "equal"
UNSURE: Final = "unsure"
UNLIKE: Final = "unlike"
INVALID_PAIR: Final = "invalid"

COMPARED: Final = (
    *("images/s", "step-p50", "step-p90", "step-p99", "batch-latency"),
    *("loader-ceiling", "model-ceiling", "of-ceiling", "stall", "cpu-s", "watts", "images/J"),
    *("top-1", "top-5", "agreement"),
)
"""The columns of a report that a comparison shows of both sides."""


@dataclass(frozen=True)
class Figure:
    """A column's raw value of both sides; None where a side does not have it."""

    column: Column
    a: float | None
    b: float | None

    @property
    def ratio(self) -> float | None:
        """B over A; None for shares, and where a side is missing or zero."""
        return self.b / self.a if self.column.unit != "share" and self.a and self.b else None

    @property
    def difference(self) -> float | None:
        """B less A, of shares; None for anything else, and where a side is missing."""
        if self.column.unit != "share" or self.a is None or self.b is None:
            return None
        return self.b - self.a


@dataclass(frozen=True, kw_only=True)
class PairComparison:
    """The runs of two configurations held against each other (see the module for `ratio`).

    `interval` is the ratio's 95 % interval, None for one run a side where one has one window.
    `figures` are the medians of each side's runs. `unlike` says what must not differ and does;
    `settings` and `environment` what else is not the same.
    """

    runs_a: Sequence[Record]
    runs_b: Sequence[Record]
    ratio: float
    interval: tuple[float, float] | None
    figures: list[Figure]
    unlike: list[Difference]
    settings: list[Difference]
    environment: list[Difference]

    @property
    def a(self) -> Record:
        """The first run of A: what its runs have in common is its."""
        return self.runs_a[0]

    @property
    def b(self) -> Record:
        """The first run of B."""
        return self.runs_b[0]

    @property
    def changed(self) -> list[Difference]:
        """What is not the same and may differ."""
        return [*self.settings, *self.environment]

    @property
    def has_repeats(self) -> bool:
        """Whether a side has more than one run."""
        return len(self.runs_a) > 1 or len(self.runs_b) > 1

    @functools.cached_property
    def invalid(self) -> list[str]:
        """Why a record is INVALID, in words, each with the side's letter."""
        return [
            f"{f'a run of {letter}' if len(runs) > 1 else letter} is INVALID: {reason}"
            for letter, runs in (("A", self.runs_a), ("B", self.runs_b))
            for record in runs
            for reason in find_contradictions(record)
        ]

    @property
    def word(self) -> str:
        """The verdict: `invalid`, `unlike`, `unsure` (no interval), `slower`, `faster` or `equal`.

        `equal` means that no difference was found; the interval says how large one may be.
        """
        if self.invalid:
            return INVALID_PAIR
        if self.unlike:
            return UNLIKE
        if self.interval is None:
            return UNSURE
        if not self.is_certain:
            return EQUAL
        return SLOWER if self.ratio < 1 else FASTER

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        ratio = format_ratio(self.ratio, self.interval)
        if self.interval is None:
            return f"B is {ratio} A; {self._windows()}: no interval"
        scope = f"95 %: {format_interval(self.interval)}"
        if self.has_repeats:
            scope += f"; {len(self.runs_a)} and {len(self.runs_b)} runs"
        if self.is_certain:
            return f"B is {ratio} A ({scope})"
        return f"no difference found (B is {ratio} A, {scope})"

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]

    def figure(self, name: str) -> Figure:
        """The figure of the column of this name."""
        return next(figure for figure in self.figures if figure.column.name == name)

    def _windows(self) -> str:
        num = {"A": len(self.a.throughput.rates), "B": len(self.b.throughput.rates)}
        single = [letter for letter, windows in num.items() if windows == 1]
        return "one window a side" if len(single) == 2 else f"one window in {single[0]}"


def compare_runs(a: Sequence[Record], b: Sequence[Record]) -> PairComparison:
    """Hold the runs of B against those of A; the runs of a side are of one configuration."""
    ratio, interval = _ratio(a, b)
    unlike, unknown = split_unlike(a[0], b[0])
    return PairComparison(
        runs_a=a,
        runs_b=b,
        ratio=ratio,
        interval=interval,
        figures=_figures(a, b),
        unlike=unlike,
        settings=[*setting_differences(a[0], b[0]), *unknown],
        environment=environment_differences(a, b),
    )


def format_ratio(ratio: float, interval: tuple[float, float] | None = None) -> str:
    """`1.25x`, `12.5x`; with a third decimal where the interval is very narrow or ends near 1."""
    if ratio >= 10:
        return f"{ratio:,.1f}x"
    low, high = interval or (0, math.inf)
    fine = ratio < 0.1 or high - low < 0.02 or min(abs(low - 1), abs(high - 1)) < 0.005
    return f"{ratio:.3f}x" if fine else f"{ratio:.2f}x"


def format_interval(interval: tuple[float, float]) -> str:
    """`0.94 to 1.02`, with the decimals of `format_ratio`."""
    return " to ".join(format_ratio(bound, interval)[:-1] for bound in interval)


def _ratio(a: Sequence[Record], b: Sequence[Record]) -> tuple[float, tuple[float, float] | None]:
    if len(a) == len(b) == 1:
        return log_ratio_interval(a[0].throughput.rates, b[0].throughput.rates)
    of_a, of_b = (
        [statistics.geometric_mean(run.throughput.rates) for run in runs] for runs in (a, b)
    )
    return log_ratio_interval(of_a, of_b, equal_variances=1 in (len(a), len(b)))


def _figures(a: Sequence[Record], b: Sequence[Record]) -> list[Figure]:
    of_a, of_b = ([Row(record=record) for record in runs] for runs in (a, b))
    columns = [COLUMNS[name] for name in COMPARED]
    return [Figure(column, _median(of_a, column), _median(of_b, column)) for column in columns]


def _median(runs: Sequence[Row], column: Column) -> float | None:
    """The median of the runs that have the figure; None where none has."""
    known = [value for run in runs if isinstance(value := run.value(column), int | float)]
    return percentile(known, 50) if known else None
