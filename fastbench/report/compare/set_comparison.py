"""Compares two sets of runs: what changed, how many rows are slower, and by how much?

A row is a pair of configurations (`pairing.py`), compared by itself (`pair_comparison.py`). The
mean is the geometric one of the ratios of all rows that are valid and alike, with Student's
interval of the logarithms. Its unit is the row: it has the scatter from run to run, and what a
change does to one row and not to another. It is an answer for rows like these.

A drift that all of B shares, measured after all of A, looks like a change. Of equal rows one in
twenty looks faster or slower at 95 % by chance.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.stats import geometric_mean_interval
from fastbench.core.units import counted
from fastbench.records import naming
from fastbench.records.differences import Difference, facts_of_environment
from fastbench.report.compare.load_comparison import LoadSet
from fastbench.report.compare.pair_comparison import (
    EQUAL,
    FASTER,
    INVALID_PAIR,
    SLOWER,
    UNLIKE,
    UNSURE,
    PairComparison,
    compare_runs,
    format_interval,
    format_ratio,
)
from fastbench.report.compare.worsening import find_worsening
from fastbench.report.read import refusing_damage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.records.record import Record
    from fastbench.report.compare.pairing import Lone, Pair, PairedSets

_MANY_VALUES: Final = 3


@dataclass(frozen=True, kw_only=True)
class ComparedPair:
    """One pair, compared; `label` is what its configuration is called among the other rows.

    `ratio`, `interval`, `verdict` and `in_words` are those of `comparison`.
    """

    pair: Pair
    comparison: PairComparison
    label: str

    @property
    def ratio(self) -> float:
        """The throughput of B over that of A."""
        return self.comparison.ratio

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the ratio; None where there is none."""
        return self.comparison.interval

    @property
    def verdict(self) -> str:
        """`slower`, `faster`, `equal` (no difference found), `unsure`, `unlike` or `invalid`."""
        return self.comparison.word

    @property
    def in_words(self) -> str:
        """The answer in one line."""
        return self.comparison.verdict

    @property
    def configuration(self) -> dict[str, Any]:
        """A's."""
        return self.pair.a[0].configuration

    @functools.cached_property
    def worse(self) -> list[str]:
        """How predictions got worse beyond chance, in words; of valid and alike runs only."""
        if self.comparison.word in (INVALID_PAIR, UNLIKE):
            return []
        return find_worsening(self.comparison)


@dataclass(frozen=True)
class SharedDifference(Difference):
    """Something that is not the same in `num_rows` rows, and how; `various` for many ways."""

    num_rows: int


@dataclass(frozen=True, kw_only=True)
class SetComparison:
    """All rows, and what has no partner; `name_a` and `name_b` are what the sets are called.

    `shared` says what all rows have in common, in words.
    """

    name_a: str
    name_b: str
    rows: list[ComparedPair]
    only_a: list[Lone]
    only_b: list[Lone]
    shared: list[str]
    under_load: LoadSet = field(default_factory=LoadSet)

    @property
    def comparable(self) -> list[ComparedPair]:
        """The rows that are valid and alike."""
        return [row for row in self.rows if row.comparison.word not in (INVALID_PAIR, UNLIKE)]

    @property
    def counts(self) -> Counter[str]:
        """How many rows there are of each verdict."""
        return Counter(row.comparison.word for row in self.rows)

    @property
    def mean(self) -> tuple[float, tuple[float, float] | None] | None:
        """The geometric mean of the comparable rows' ratios, and its interval; None without any."""
        ratios = [row.comparison.ratio for row in self.comparable]
        return geometric_mean_interval(ratios) if ratios else None

    @property
    def differences(self) -> list[SharedDifference]:
        """What is not the same in environment and settings, each once, and in how many rows."""
        of_rows = [
            difference
            for part in ("environment", "settings", "unlike")
            for row in self.rows
            for difference in getattr(row.comparison, part)
        ]
        return list(_shared(of_rows))

    @property
    def mixed(self) -> list[str]:
        """In what a set is not of one machine and software, in words."""
        return [
            f"{letter} is of several: {name} {', '.join(map(str, values))}"
            for letter, runs in (("A", self.records("a")), ("B", self.records("b")))
            for name, values in _several(runs)
        ]

    @property
    def headline(self) -> str:
        """The answer in a few words: `2 of 12 rows slower, predictions worse in 1`."""
        num_worse = sum(bool(row.worse) for row in self.rows)
        said = [self._pace + (f", predictions worse in {num_worse}" if num_worse else "")]
        if self.under_load.rows:
            said = [*(said if self.rows else []), self.under_load.headline]
        return "; ".join(said)

    @property
    def _pace(self) -> str:
        counts, of = self.counts, f"of {counted(len(self.rows), 'row')}"
        if not self.comparable:
            return "not comparable"
        if counts[SLOWER]:
            return f"{counts[SLOWER]:,} {of} slower"
        # Where none is slower, it is said of how many rows nobody knows.
        open_ = counts[UNSURE] + counts[UNLIKE] + counts[INVALID_PAIR]
        rest = f", {open_:,} {of} not judged" if open_ else ""
        if counts[FASTER]:
            return f"{counts[FASTER]:,} {of} faster, none slower{rest}"
        return f"no difference found{rest}" if counts[EQUAL] else "no interval, no verdict"

    @property
    def summary(self) -> str:
        """How many rows of each kind, and the geometric mean of the ratios."""
        num = len(self.rows)
        if not num:
            return self.under_load.headline
        parts = ", ".join(
            f"{self.counts[word]:,} {word}"
            for word in (SLOWER, FASTER, EQUAL, UNSURE, UNLIKE, INVALID_PAIR)
            if self.counts[word] or word in (SLOWER, FASTER)
        )
        text = f"{counted(num, 'row')}: {parts}"
        if self.mean is None:
            return text
        ratio, interval = self.mean
        text += f"; geometric mean of B / A {format_ratio(ratio, interval)}"
        if interval is not None:
            text += f" (95 %: {format_interval(interval)})"
        left_out = num - len(self.comparable)
        return f"{text}, {counted(len(self.comparable), 'row')} of it" if left_out else text

    def records(self, side: str) -> list[Record]:
        """All records of side `a` or `b` that have a partner."""
        return [run.record for row in self.rows for run in getattr(row.pair, side)]

    def sorted_rows(self, by: str) -> list[ComparedPair]:
        """The rows, the slowest first and what does not compare last; or by `configuration`."""
        if by == "configuration":
            return sorted(self.rows, key=lambda row: _order(row.configuration))
        last = {UNLIKE: 1, INVALID_PAIR: 2}
        return sorted(
            self.rows, key=lambda row: (last.get(row.comparison.word, 0), row.comparison.ratio)
        )


def compare_sets(found: PairedSets, name_a: str, name_b: str) -> SetComparison:
    """Compare every pair. Raises `RecordError` for a damaged record."""
    with refusing_damage("A record under load is damaged"):
        _ = [(row.verdict, row.worse) for row in found.under_load.rows]
    labels = naming.names([pair.a[0].record for pair in found.pairs])
    every = [side[0].record for pair in found.pairs for side in (pair.a, pair.b)]
    return SetComparison(
        name_a=name_a,
        name_b=name_b,
        rows=[
            ComparedPair(pair=pair, comparison=_compare(pair), label=" · ".join(label))
            for pair, label in zip(found.pairs, labels, strict=True)
        ],
        only_a=found.only_a,
        only_b=found.only_b,
        shared=naming.shared(every, (*naming.CALLED, "threads", "images")),
        under_load=found.under_load,
    )


def _compare(pair: Pair) -> PairComparison:
    paths = f"{pair.a[0].path} and {pair.b[0].path}"
    with refusing_damage(f"{paths} cannot be compared: one of them is damaged"):
        comparison = compare_runs([run.record for run in pair.a], [run.record for run in pair.b])
        _ = comparison.invalid  # it fails on the same damage
    return comparison


def _order(configuration: dict[str, Any]) -> list[tuple[int, float, str]]:
    """A key that sorts configurations as people do: numbers by value."""
    return [
        (0, value, "") if isinstance(value, int) else (1, 0, str(value))
        for value in configuration.values()
    ]


def _shared(differences: Iterable[Difference]) -> Iterable[SharedDifference]:
    """Each difference once, by name; what differs in many ways is `various`."""
    by_name: dict[str, dict[str, list[Difference]]] = {}
    for difference in differences:
        ways = by_name.setdefault(difference.name, {})
        ways.setdefault(repr((difference.a, difference.b)), []).append(difference)
    for name, ways in by_name.items():
        if len(ways) > _MANY_VALUES:
            num = sum(map(len, ways.values()))
            yield SharedDifference(name, "various", "various", num)
            continue
        for alike in ways.values():
            yield SharedDifference(name, alike[0].a, alike[0].b, len(alike))


def _several(records: Sequence[Record]) -> Iterable[tuple[str, list[Any]]]:
    """In what machine or software these records are not alike, and the values of each."""
    facts = [facts_of_environment(record) for record in records]
    for name in dict.fromkeys(name for each in facts for name in each):
        known = dict.fromkeys(value for each in facts if (value := each.get(name)) is not None)
        if len(known) > 1:
            yield name, sorted(known, key=str)
