"""What the rows of a table or a plot have in common, and footnotes at rows that stand apart.

A row has a footnote where it differs from the others in something that is neither a column, nor a
heading, nor a part of the rows' names.

A row that is in doubt (`records/advice.py`) has a footnote too.

Rows are ranked against each other only on the same images, which their loaders read, among the same
classes, with the same page cache, and not a first look against a result.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import and_more, span
from fastbench.records.advice import worst_of
from fastbench.records.fact_values import has_asked_size, images_of
from fastbench.records.facts import FACTS, OF_OPTIONS
from fastbench.records.naming import FIRST_LOOK, UNDER_LOAD, shared
from fastbench.records.record import Record
from fastbench.records.store import SCHEMA_VERSION
from fastbench.report.columns.column import Row
from fastbench.report.sheet.row_in_words import size_of_model

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from fastbench.records.advice import Advice
    from fastbench.records.record import Described

COMPARABLE: Final = (
    *("images", "digest", "contents", "reads-images", "among", "page-cache", "quick"),
)
MOST_VALUES: Final = 3
MOST_NAMED: Final = 6
_LETTERS: Final = "abcdefghijklmnoprstuvwxyz"
"""Without q, of which there is no superscript."""
SUPERSCRIPTS: Final = str.maketrans(_LETTERS, "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ")
"""How a mark is written where nothing can be raised."""
_VERSION: Final = "schema version"

_LINES: Final = (
    (
        *("model", "weights", "loader", "device", "dtype", "batch"),
        *("engine", "quantize", "ranks", "image-size", "threads", "process"),
        *(*UNDER_LOAD, "page-cache", *(fact.name for fact in OF_OPTIONS)),
    ),
    ("cores", "power-limit", "torch", "torchvision", "dali", "driver", "cuda"),
)
"""The facts that stand above the table where all rows are alike in them, line by line."""
_UNSAID: Final = (
    *("decoder", "labels", "memory", "os", "fastbench", "cudnn", "python"),
    *("affinity", "instruction-set", "omp-wait-policy", "commit", "date"),
)
"""Facts that no table has a footnote for: they say little of a row, or others say it too."""
_SENTENCES: Final = {
    "among": "Predicted among the classes that the images have, not all of the model's.",
    "quick": FIRST_LOOK,
}


@dataclass(frozen=True)
class Footnote:
    """What is said of the rows that carry its mark; `is_doubt` where it is from `advice.py`."""

    mark: str
    text: str
    is_doubt: bool = False


def facts(record: Described, version: int = SCHEMA_VERSION) -> dict[str, Any]:
    """What rows of one table should have in common, by the fact's name; None where it is unknown.

    `version` is that of the record's file.
    """
    found = {name: fact.of(record) for name, fact in FACTS.items() if name not in _UNSAID}
    if record.device == "cpu":  # which is the device, and named as such
        found["cpu"] = None
    return {**found, _VERSION: version}


def usual(every: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What most rows have, by the fact's name; the first of what is equally frequent.

    Where a row was measured without `--quick`, that is usual, and rows with it are not counted.
    Where a loader reads the images, that is usual. The newest schema is the usual one.
    """
    return {name: _usual(every, name) for name in every[0]}


def _usual(every: Sequence[dict[str, Any]], name: str) -> Any:
    values = [its[name] for its in every]
    match name:
        case "quick":
            return all(values)
        case "reads-images":
            return any(values)
        case "schema version":
            return max(values)
    voters = [its[name] for its in every if not its["quick"]] or values
    known = [value for value in voters if value is not None]
    return Counter(known).most_common(1)[0][0] if known else None


def why_not_comparable(its: dict[str, Any], common: dict[str, Any]) -> list[str]:
    """Why a row may not be ranked with those that `common` is usual of, in words."""
    return [
        _say(name, [its[name]], common[name])
        for name in COMPARABLE
        if stands_apart(its[name], common[name])
        and not any(stands_apart(its[x], common[x]) for x in FACTS[name].within)
    ]


def make_footnotes(
    every: Sequence[dict[str, Any]], shown: Collection[str], doubts: Sequence[Sequence[Advice]]
) -> tuple[list[Footnote], list[list[Footnote]]]:
    """All footnotes, and those of each row; `shown` are the facts in sight, which need none.

    `doubts` are those of each row. Rows share the footnote of a doubt, which has the worst figure.
    """
    notes: dict[str, Footnote] = {}
    of_rows: list[list[Footnote]] = [[] for _ in every]
    for name in every[0]:
        if name in shown and name != "quick":  # which says more than its column
            continue
        for group in _groups(every, name):
            for number, text in _apart(every, group, name):
                note = notes.setdefault(text, Footnote(_mark(len(notes)), text))
                of_rows[number].append(note)
    for _, worst in worst_of(doubts):
        note = Footnote(_mark(len(notes)), worst.in_doubt, is_doubt=True)
        notes[note.text] = note
        for its_notes, its_doubts in zip(of_rows, doubts, strict=True):
            its_notes += [note for doubt in its_doubts if doubt.kind == worst.kind]
    return list(notes.values()), of_rows


def _groups(every: Sequence[dict[str, Any]], name: str) -> Iterable[list[int]]:
    """The rows among which a fact should be the same: all, or those alike in others."""
    within = FACTS[name].within if name in FACTS else ()
    found: dict[tuple[Any, ...], list[int]] = {}
    for number, its in enumerate(every):
        found.setdefault(tuple(its[each] for each in within), []).append(number)
    return found.values()


def _apart(
    every: Sequence[dict[str, Any]], group: Sequence[int], name: str
) -> Iterator[tuple[int, str]]:
    main = _usual([every[number] for number in group], name)
    apart = {n: value for n in group if stands_apart(value := every[n][name], main)}
    values = list(dict.fromkeys(apart.values()))
    for number, value in apart.items():
        # Many values share a footnote.
        yield number, _say(name, [value] if len(values) <= MOST_VALUES else values, main)


def what_is_common(records: Sequence[Described], told: Collection[str]) -> list[str]:
    """Lines above a table: the facts in which its rows are alike, without those in `told`."""
    hidden = {*told, *_SENTENCES}
    if not any(map(has_asked_size, records)):
        hidden.add("image-size")
    run, machine = (shared(records, (x for x in line if x not in hidden)) for line in _LINES)
    if "cpu" not in told:  # a CPU that is the device was named as such
        machine = shared([r for r in records if r.device != "cpu"], ["cpu"]) + machine
    images = {", ".join(images_of(record)) for record in records}
    rows = [record for record in records if isinstance(record, Record)]
    sizes = {size_of_model(Row(record=record)) for record in rows} - {""}
    days = span([record.created[:10] for record in records])
    lines = [
        " · ".join([*_the_only(images), *run, *_the_only(sizes)]),
        " · ".join([*machine, *([] if "date" in told else [days])]),
    ]
    for name, sentence in _SENTENCES.items():
        if name not in told and shared(records, [name]):
            lines.append(sentence)
    return [line for line in lines if line]


def _the_only(values: Collection[str]) -> Collection[str]:
    return values if len(values) == 1 else []


def stands_apart(value: Any, main: Any) -> bool:
    """Whether two values are known and differ: a record of an old version may not know its own."""
    return value is not None and main is not None and value != main


def _say(name: str, values: Sequence[Any], main: Any) -> str:
    unranked = "; not ranked with the others" if name in COMPARABLE else ""
    if name == _VERSION:
        return f"a record of schema version {values[0]}, which lacks what later ones have"
    fact = FACTS[name]
    if name == "quick":
        return f"{FIRST_LOOK[:1].lower()}{FIRST_LOOK[1:-1]}{unranked}"
    if name == "reads-images":
        return fact.words(values[0]) + unranked
    named = and_more([fact.show(value) for value in values], MOST_NAMED)
    return f"{fact.heading} {named} (others: {fact.show(main)}){unranked}"


def _mark(number: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    rest, last = divmod(number, len(_LETTERS))
    return (_mark(rest - 1) if rest else "") + _LETTERS[last]
