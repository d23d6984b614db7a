"""Pairs the runs of A and B that have the same configuration.

A side is a file, or a folder with all records in it and in its sub-folders. Two single records are
a pair whatever they are. Otherwise configurations are paired in three steps; each step pairs only
what is left and is unique on both sides:

1. the same settings on the same machine;
2. the same settings: rows on two machines;
3. the same model, weights, loader, dtype, engine, quantisation, image size, batch size, ranks and
   kind of device: rows that differ in images or page cache, say, are paired too, and come out as
   unlike.

Records of a side that agree in all of step 1 are repeats. A copy of a record is no repeat and
counts once. Names of files mean nothing: `fastbench run` numbers them as they come.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import RecordError
from fastbench.core.units import and_more, counted
from fastbench.records.facts import FACTS, PREPROCESS
from fastbench.records.naming import CONFIGURATION
from fastbench.report.compare.load_comparison import LoadSet, differs_from_nearest, pair_load
from fastbench.report.read import read_rows, refusing_damage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row
    from fastbench.report.columns.load import LoadRow

_MACHINE: Final = "device"
_KIND: Final = "kind of device"
_SIZE: Final = "image size"
_CALLED: Final = (
    *("model", "weights", "loader", "dtype", "engine", "quantize"),
    *(_SIZE, "batch size", "ranks", _KIND),
)
_SET_UP: Final = tuple(
    dict.fromkeys((*CONFIGURATION, "threads", "images", *PREPROCESS, "reference"))
)
_NAMED: Final = 3


@dataclass(frozen=True)
class Run:
    """One record, where it came from, and its `configuration`."""

    path: Path
    record: Record
    configuration: dict[str, Any]


@dataclass(frozen=True)
class Side:
    """The runs of a side, and its rows under load."""

    runs: list[Run]
    under_load: Sequence[LoadRow]


@dataclass(frozen=True)
class Pair:
    """The runs of one configuration on each side, in the order in which they were made."""

    a: Sequence[Run]
    b: Sequence[Run]


@dataclass(frozen=True)
class Lone:
    """The runs of a configuration that the other side does not have.

    `differs_in` names what differs in the nearest one there.
    """

    runs: Sequence[Run]
    differs_in: Sequence[str]

    @property
    def files(self) -> str:
        """The first run's file, and how many repeats there are."""
        repeats = len(self.runs) - 1
        more = f" and {counted(repeats, 'repeat')}" if repeats else ""
        return f"{self.runs[0].path}{more}"

    @property
    def nearest(self) -> str:
        """How far the nearest one is, in words."""
        if not self.differs_in:
            return "there is nothing to hold it against"
        return f"the nearest differs in {and_more(self.differs_in, _NAMED)}"


@dataclass(frozen=True, kw_only=True)
class PairedSets:
    """All pairs, and what has no partner on the other side; rows under load by themselves."""

    pairs: list[Pair]
    only_a: list[Lone]
    only_b: list[Lone]
    under_load: LoadSet = field(default_factory=LoadSet)


def pair_up(a: Path, b: Path) -> PairedSets:
    """Find and read what is to be compared.

    Raises `RecordError` for a file that is no record, a folder without one, a side that holds the
    other, and two sides that have no configuration in common.
    """
    for outer, inner in ((a, b), (b, a)):
        if os.path.realpath(inner).startswith(os.path.join(os.path.realpath(outer), "")):
            raise RecordError(
                f"{inner} is inside of {outer}, so that its records would be on both sides. "
                f"Name two folders that lie beside each other."
            )
    return pair_sides(read_side(a), read_side(b), str(a), str(b))


def pair_sides(a: Side, b: Side, name_a: str, name_b: str) -> PairedSets:
    """Pair the runs of two sides, and their rows under load; the names are what errors call them.

    Raises `RecordError` for two sides that have no configuration in common.
    """
    under_load = pair_load(a.under_load, b.under_load)
    found = _pair_runs(a.runs, b.runs)
    if not found.pairs and not under_load.rows:
        why = ""
        if found.only_a and found.only_b:
            lone = found.only_a[0]
            differing = ", ".join(lone.differs_in)
            why = f": {lone.runs[0].path} differs from the nearest in {differing}"
        elif under_load.only_a and under_load.only_b:
            row = under_load.only_a[0]
            differing = ", ".join(differs_from_nearest(row, under_load.only_b))
            why = f": {row.path} differs from the nearest in {differing}"
        raise RecordError(
            f"No record in {name_a} has the configuration of one in {name_b}{why}. Name two "
            f"files, one of each."
        )
    return dataclasses.replace(found, under_load=under_load)


def _pair_runs(runs_a: list[Run], runs_b: list[Run]) -> PairedSets:
    if len(runs_a) == len(runs_b) == 1:
        return PairedSets(pairs=[Pair(runs_a, runs_b)], only_a=[], only_b=[])
    if not runs_a and not runs_b:
        return PairedSets(pairs=[], only_a=[], only_b=[])
    every = list((runs_a or runs_b)[0].configuration)
    set_up = [name for name in every if name != _MACHINE]
    groups_a, groups_b = _groups(runs_a, every), _groups(runs_b, every)
    left_a, left_b = groups_a, groups_b
    pairs: list[Pair] = []
    for names in (every, set_up, _CALLED):
        of_a, of_b = _unique(left_a, names), _unique(left_b, names)
        found = [Pair(of_a[key], of_b[key]) for key in of_a if key in of_b]
        paired = {id(side) for pair in found for side in (pair.a, pair.b)}
        left_a, left_b = ([x for x in left if id(x) not in paired] for left in (left_a, left_b))
        pairs += found
    return PairedSets(
        pairs=pairs,
        only_a=[Lone(group, _nearest(group, groups_b)) for group in left_a],
        only_b=[Lone(group, _nearest(group, groups_a)) for group in left_b],
    )


def configuration(record: Record) -> dict[str, Any]:
    """What makes a record a repeat of another, by name."""
    facts = (FACTS[name] for name in _SET_UP)
    kind = record.device.partition(":")[0]
    size = record.preprocess.get("crop")
    return {**{fact.heading: fact.of(record) for fact in facts}, _SIZE: size, _KIND: kind}


def read_side(path: Path) -> Side:
    """The runs of a side, and its rows under load, in the order in which they were made.

    Raises `RecordError` for a file that is no record, and a folder without one.
    """
    found = read_rows([path])
    if found.complaints:
        raise RecordError(found.complaints[0])
    if not found.rows and not found.under_load and found.comparisons:
        raise RecordError(
            f"{path} has compared two already, by --ab: {found.comparisons[0]} "
            f"Name records of `fastbench run`."
        )
    if not found.rows and not found.under_load:
        raise RecordError(
            f"The folder {path} holds no records. Name one that `fastbench run` wrote."
        )
    return Side(runs_of(found.rows), found.under_load)


def runs_of(rows: Iterable[Row]) -> list[Run]:
    """Rows as the runs of a side. Raises `RecordError` for a damaged record."""
    return list(_without_copies(map(_run, rows)))


def _without_copies(runs: Iterable[Run]) -> Iterator[Run]:
    """Each record once: of two runs not a single time is the same, and a copy does not scatter."""
    seen: dict[str, list[Record]] = {}
    for run in runs:
        others = seen.setdefault(str(run.record.created), [])
        if run.record not in others:
            others.append(run.record)
            yield run


def _run(row: Row) -> Run:
    with refusing_damage(f"{row.path} is a damaged record"):
        _ = row.doubts  # which the notes read later
        return Run(row.path, row.record, configuration(row.record))


def _key(run: Run, names: Iterable[str]) -> str:
    return repr([run.configuration[name] for name in names])


def _groups(runs: Iterable[Run], names: Sequence[str]) -> list[list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(_key(run, names), []).append(run)
    return list(found.values())


def _unique(groups: Iterable[list[Run]], names: Sequence[str]) -> dict[str, list[Run]]:
    """The groups that are alone in these values."""
    found: dict[str, list[list[Run]]] = {}
    for group in groups:
        found.setdefault(_key(group[0], names), []).append(group)
    return {key: alike[0] for key, alike in found.items() if len(alike) == 1}


def _nearest(group: Sequence[Run], others: Iterable[Sequence[Run]]) -> list[str]:
    """What differs in the nearest configuration of `others`."""
    own = group[0].configuration
    ways = (
        [name for name, value in own.items() if other[0].configuration[name] != value]
        for other in others
    )
    return min(ways, key=len, default=[])
