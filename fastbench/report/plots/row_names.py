"""What is each row of a plot called among the others? By what tells it from them, in words.

That is its model, loader, machine and so on, where rows differ in it. Nothing is drawn here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from fastbench.records.validity import find_contradictions
from fastbench.report.plots.record_in_words import KEYS, NAMING, RATHER_NOTED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fastbench.records.record import Record

__all__ = [
    "configuration_key",
    "list_names",
    "names",
    "parts",
    "text_of",
    "valid_records",
    "varying",
]

_MOST_NAMED: Final = 3
_NAME_CHARS: Final = 60
_NEARLY_ALL: Final = 0.8


def text_of(record: Record, field: str) -> str:
    """What a record is in one of the fields of `varying`, as people call it."""
    return NAMING[field](record)


def varying(records: Sequence[Record]) -> list[str]:
    """What the rows are told apart by, of `model`, `weights`, `loader`, `machine` and so on.

    Weights differ between models anyhow: they count where one model has several. Other images or
    another page cache count where they are not rare (see `caption.py`).
    """
    found = [name for name, key in KEYS.items() if len({key(r) for r in records} - {""}) > 1]
    num_models = len({record.model for record in records})
    if "weights" in found and len({(r.model, r.weights) for r in records}) == num_models:
        found.remove("weights")
    return [name for name in found if not (name in RATHER_NOTED and _is_rare(records, name))]


def _is_rare(records: Sequence[Record], name: str) -> bool:
    """Whether nearly all rows are alike in a field, and but a few are not."""
    counts = Counter(key for record in records if (key := KEYS[name](record)))
    return counts.most_common(1)[0][1] >= _NEARLY_ALL * counts.total()


def configuration_key(record: Record, without: Collection[str] = ()) -> tuple[str, ...]:
    """Equal for rows that are alike in all of those fields but `without`."""
    return tuple(key(record) for name, key in KEYS.items() if name not in without)


def parts(
    records: Sequence[Record], *, always: Collection[str] = (), without: Collection[str] = ()
) -> list[list[str]]:
    """What each row is called among the others, part by part.

    `always` are fields that are there though all rows share them; `without`, those that stand
    elsewhere in the plot.
    """
    telling = {*varying(records), *always} - {*without}
    return [
        [text for name, read in NAMING.items() if name in telling and (text := read(record))]
        for record in records
    ]


def names(
    records: Sequence[Record], *, always: Collection[str] = (), without: str | None = None
) -> list[list[str]]:
    """As `parts`, told apart: by loader settings, else by time, else by number.

    Rows that differ in `without` are told apart by that.
    """
    found = parts(records, always=always, without=(without,) if without else ())
    aside = [KEYS[without](record) if without else "" for record in records]
    for more in (_settings, _times, _numbers):
        of_name: dict[tuple[str, ...], list[int]] = {}
        for i, name in enumerate(found):
            of_name.setdefault((aside[i], *name), []).append(i)
        for same in of_name.values():
            if len(same) > 1:
                for i, text in zip(same, more([records[i] for i in same]), strict=True):
                    found[i] += [text] if text else []
    return found


def _settings(same: list[Record]) -> list[str]:
    """The loaders' settings, where they differ in one or two."""
    known = [record.loader_settings for record in same]
    fields = sorted({name for settings in known for name in settings})
    differing = [x for x in fields if len({str(s.get(x)) for s in known}) > 1]
    if len(differing) > 2:
        return [""] * len(same)
    return [", ".join(f"{x} {s[x]}" for x in differing if x in s) for s in known]


def _times(same: list[Record]) -> list[str]:
    return [record.created[:16].replace("T", " ") for record in same]


def _numbers(same: list[Record]) -> list[str]:
    return [f"run {number}" for number, _ in enumerate(same, 1)]


def valid_records(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The records that are measurements, and a sentence on those that are INVALID, if any."""
    found = [record for record in records if not find_contradictions(record)]
    invalid = [
        " ".join(name)
        for name, r in zip(names(records, always=("model",), without="data"), records, strict=True)
        if find_contradictions(r)
    ]
    return found, [f"Left out as INVALID: {list_names(invalid)}."] if invalid else []


def list_names(found: Sequence[str]) -> str:
    """Some names in a sentence: `a, b, c and 4 more`."""
    short = [x if len(x) <= _NAME_CHARS else x[: _NAME_CHARS - 1] + "…" for x in found]
    rest = len(short) - _MOST_NAMED
    return ", ".join(short[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
