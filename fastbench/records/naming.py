"""The names of rows: by the facts of `facts.py` in which they differ.

Rows are records, or configurations that are not measured yet, so a table, a plot and the plan of a
run use the same names.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS, RunConfig
from fastbench.core.units import format_value
from fastbench.records.fact_values import folder_of
from fastbench.records.facts import FACTS, OF_OPTIONS
from fastbench.records.load_facts import OF_LOAD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from fastbench.records.fact import Fact
    from fastbench.records.record import Described

    Rows = Sequence[Described] | Sequence[RunConfig]

UNDER_LOAD: Final = tuple(fact.name for fact in OF_LOAD)
_OFTEN: Final = (
    "model",
    "weights",
    "loader",
    "device",
    "dtype",
    "engine",
    "quantize",
    "batch",
    "ranks",
    *UNDER_LOAD,
)
_SELDOM: Final = ("digest", "page-cache", "process", *(fact.name for fact in OF_OPTIONS))
"""If nearly all rows are alike in one of these, it is no part of their names: the few others have a
footnote.
"""
CALLED: Final = (*_OFTEN, "image-size", *_SELDOM, "loader-option")
"""The facts of a row's name, in this order, if rows differ in them."""
_IN_TURN: Final = (*_SELDOM, *(name for name in FACTS if name not in {*CALLED, "date"}))
"""Further facts for rows that still have the same name, one after the other."""
_MEASURED: Final = {
    fact.name for fact in OF_OPTIONS if OPTIONS[fact.options[0]].changes == "measurement"
} - {"quick"}
CONFIGURATION: Final = tuple(name for name in CALLED if name not in {*_MEASURED, *UNDER_LOAD})
"""The facts of a configuration: rows that are alike in them run the same, however it is measured.
`--quick` is among them, since a first look is no result.
"""
_NEARLY_ALL: Final = 0.8

FIRST_LOOK: Final = "Measured with --quick: a first look, not a result."
"""The footnote of a row with `--quick`."""


def differs(rows: Rows, fact: Fact) -> bool:
    """Whether rows differ in a fact that are alike in what it is `within`."""
    values: dict[tuple[Any, ...], set[Any]] = {}
    for row in rows:
        key = tuple(FACTS[name].of(row) for name in fact.within)
        values.setdefault(key, set()).add(fact.of(row))
    # What a record of an old version does not know is not taken for a difference.
    return any(len(known - {None}) > 1 for known in values.values())


def varying(rows: Rows) -> list[str]:
    """The facts that rows are called by, without those in which nearly all are alike."""
    return [
        name
        for name in CALLED
        if differs(rows, FACTS[name]) and not (name in _SELDOM and _is_rare(rows, FACTS[name]))
    ]


def _is_rare(rows: Rows, fact: Fact) -> bool:
    counts = Counter(value for row in rows if (value := fact.of(row)) is not None)
    return counts.most_common(1)[0][1] >= _NEARLY_ALL * counts.total()


def names(
    rows: Rows, *, always: Collection[str] = (), without: Collection[str] = ()
) -> list[list[str]]:
    """The name of each row among the others, part by part.

    `always` are facts to include though all rows share them, `without` those that are shown
    elsewhere. Rows that still have the same name get further facts in turn, then the settings of
    their loaders, their date, and a number.
    """
    telling = {*varying(rows), *always} - {*without}
    found = [parts(row, telling) for row in rows]
    aside = [tuple(FACTS[name].text(row) for name in without) for row in rows]
    for name in _IN_TURN:
        if not (alike := [*_look_alike(found, aside)]):
            return found
        for same in alike:
            its_rows = [rows[i] for i in same]
            if differs(its_rows, FACTS[name]):  # type: ignore[arg-type]
                _add(found, same, [FACTS[name].text(row) for row in its_rows])
    for add in (_settings, _dates, _numbers):
        for same in _look_alike(found, aside):
            _add(found, same, add([rows[i] for i in same]))  # type: ignore[arg-type]
    return found


def parts(row: Described | RunConfig, names: Collection[str]) -> list[str]:
    """A row's name by these facts."""
    return [text for name in CALLED if name in names and (text := _text(row, name))]


def _text(row: Described | RunConfig, name: str) -> str:
    """A fact in words; images by their folder, which says more than a digest."""
    if name == "digest" and not isinstance(row, RunConfig):
        return ", ".join(filter(None, (folder_of(row), f"{row.data['num_samples']:,} JPEGs")))
    return FACTS[name].text(row)


def _look_alike(found: list[list[str]], aside: Sequence[tuple[str, ...]]) -> Iterator[list[int]]:
    """The rows of each name that several rows have."""
    of_name: dict[tuple[Any, ...], list[int]] = {}
    for i, name in enumerate(found):
        of_name.setdefault((aside[i], *name), []).append(i)
    return (same for same in of_name.values() if len(same) > 1)


def _add(found: list[list[str]], rows: Iterable[int], texts: Iterable[str]) -> None:
    for i, text in zip(rows, texts, strict=True):
        found[i] += [text] if text else []


def _settings(same: Rows) -> list[str]:
    """The loaders' settings, if one or two differ."""
    known = [{} if isinstance(row, RunConfig) else row.loader_settings for row in same]
    fields = sorted({name for settings in known for name in settings})
    differing = [x for x in fields if len({str(s.get(x)) for s in known}) > 1]
    if len(differing) > 2:
        return [""] * len(same)
    return [", ".join(f"{x} {format_value(s[x])}" for x in differing if x in s) for s in known]


def _dates(same: Rows) -> list[str]:
    date = FACTS["date"]
    tells_apart = differs(same, date)  # asked once: it looks at all rows
    return [date.text(row) if tells_apart else "" for row in same]


def _numbers(same: Rows) -> list[str]:
    return [f"run {number}" for number, _ in enumerate(same, 1)]


def configuration_key(row: Described, without: Collection[str] = ()) -> tuple[Any, ...]:
    """Equal for rows of the same configuration, the facts in `without` left out."""
    return tuple(
        FACTS[name].of(row)
        for name in CONFIGURATION
        if name not in without and not {*FACTS[name].within} & {*without}
    )


def full_name(row: Described | RunConfig) -> str:
    """The name of a row by itself: `resnet50 · dali · NVIDIA H200 · float16 · eager · batch 8`."""
    return " · ".join(filter(None, (FACTS[name].text(row) for name in _OFTEN)))


def in_order(values: Iterable[Any]) -> list[Any]:
    """The values, each once: numbers within a text count as such, and None comes last.

    Plots and pages number their colours so: a GPU has the same one in all of them.
    """

    def natural(value: Any) -> list[tuple[float, str]]:
        parts = re.split(r"([0-9]+)", str(value).casefold())
        return [(float(x), "") if x.isdecimal() else (-1.0, x) for x in parts] + [(0, str(value))]

    found = set(values)
    return sorted(found - {None}, key=natural) + [None] * (None in found)


def shared(rows: Rows, names: Iterable[str]) -> list[str]:
    """The facts, in words, in which all rows that know them are alike."""
    found = []
    for name in names:
        values = {FACTS[name].of(row) for row in rows} - {None}
        if len(values) == 1:
            found.append(FACTS[name].words(values.pop()))
    return [text for text in found if text]
