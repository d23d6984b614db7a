"""What do the rows of a plot share, and which row stands apart? The words below a picture.

What all rows share stands in the caption. Anything else that differs and is not in the rows' names
(threads, versions, driver; other images or a cold page cache in a few rows) is a footnote, marked
at the row: unlike rows are never mixed silently.

What it does not know: what a record of an old version did not keep; that differs from nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.report.plots.record_in_words import (
    HOW,
    NAMING,
    RATHER_NOTED,
    SOFTWARE,
    UNSAID,
    image_set,
    images,
    preprocess,
)
from fastbench.report.plots.row_names import varying

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fastbench.records.record import Record
    from fastbench.report.plots.record_in_words import Reader

__all__ = ["Caption", "caption_of"]

_MARKS: Final = "¹²³⁴⁵⁶⁷⁸⁹"
_MOST_VALUES: Final = 4
_OWN_PREPROCESS: Final = "each model's own resize and crop"


@dataclass(frozen=True, kw_only=True)
class Caption:
    """The caption's first paragraph, its footnotes, and each row's mark (empty for most)."""

    shared: str
    footnotes: list[str]
    marks: list[str]


def caption_of(records: Sequence[Record], *, without: Collection[str] = ()) -> Caption:
    """What all rows share, and what the few do not that rows are not told apart by.

    `without` are fields that stand elsewhere in the plot.
    """
    telling = [*varying(records), *without]
    first = records[0]
    noted = {name: read for name, read in RATHER_NOTED.items() if name not in telling}
    noted |= HOW | SOFTWARE
    how = {
        name: read
        for name, read in noted.items()
        if name not in without and _differs(records, read)
    }
    own_preprocess = "preprocess" in how and not _differs_within(records, preprocess)
    if own_preprocess:
        del how["preprocess"]

    def shared(*fields: str) -> str:
        readers = NAMING | HOW | SOFTWARE
        found = [_known(records, readers[x]) for x in fields if x not in telling and x not in how]
        return ", ".join(text for text in found if text not in UNSAID)

    model = first.model if first.weights == "embedded" else f"{first.model} ({first.weights})"
    texts = [
        shared("machine", "host", "power limit"),
        "" if "data" in telling else images(_usual(records)),
        shared("cache", "among"),
        "" if {"model", "weights"} & {*telling} else model,
        shared("loader", "dtype", "batch", "compile", "threads"),
        _OWN_PREPROCESS if own_preprocess else shared("preprocess"),
        shared("resize", "quick"),
        shared(*SOFTWARE),
        _dates(records),
    ]
    footnotes, marks = _footnotes(records, how)
    return Caption(
        shared=" · ".join(text for text in texts if text), footnotes=footnotes, marks=marks
    )


def _usual(records: Sequence[Record]) -> Record:
    """The first of the rows with the images that most have."""
    most = Counter(map(image_set, records)).most_common(1)[0][0]
    return next(record for record in records if image_set(record) == most)


def _differs(records: Sequence[Record], read: Reader) -> bool:
    return len({read(record) for record in records} - {""}) > 1


def _differs_within(records: Sequence[Record], read: Reader) -> bool:
    """Whether rows of the same model and weights differ."""
    of_model: dict[tuple[str, str], set[str]] = {}
    for record in records:
        of_model.setdefault((record.model, record.weights), set()).add(read(record))
    return any(len(found - {""}) > 1 for found in of_model.values())


def _known(records: Sequence[Record], read: Reader) -> str:
    return next((text for record in records if (text := read(record))), "")


def _dates(records: Sequence[Record]) -> str:
    days = sorted({record.created[:10] for record in records})
    return " to ".join(dict.fromkeys((days[0], days[-1])))


def _footnotes(records: Sequence[Record], how: dict[str, Reader]) -> tuple[list[str], list[str]]:
    """A footnote for each way of being unlike the most; in one, unmarked, where there are many."""
    most = {
        name: Counter(text for r in records if (text := read(r))).most_common(1)[0][0]
        for name, read in how.items()
    }
    unlike = [
        tuple(
            (name, text) for name, read in how.items() if (text := read(r)) not in ("", most[name])
        )
        for r in records
    ]
    kinds = [kind for kind in dict.fromkeys(unlike) if kind]
    if len(kinds) > len(_MARKS):
        values = [list(dict.fromkeys(filter(None, map(read, records)))) for read in how.values()]
        lines = [f"Rows differ in: {'; '.join(map(_in_short, values))}."]
        return lines, [""] * len(records)
    of_kind = dict(zip(kinds, _MARKS, strict=False))
    lines = [
        f"{mark} {', '.join(text for _, text in kind)}; "
        f"unmarked rows: {', '.join(most[name] for name, _ in kind)}."
        for kind, mark in of_kind.items()
    ]
    return lines, [of_kind.get(kind, "") for kind in unlike]


def _in_short(values: list[str]) -> str:
    rest = len(values) - _MOST_VALUES
    return " / ".join(values[:_MOST_VALUES]) + (f" and {rest} more" if rest > 0 else "")
