"""Remarks below a table: why rows are not ranked, and doubts; each once, at most `MOST`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.units import and_more
from fastbench.data.folder_tree import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.records.record import Described
    from fastbench.report.columns.column import Row

MOST: Final = 10
_MOST_NAMED: Final = 3


def remarks_on(named: Sequence[tuple[str, Row]]) -> list[str]:
    """Sentences on rows, each with what it is called in the table; the gravest first."""
    said: dict[str, None] = {}
    for name, row in named:
        said |= dict.fromkeys(f"{name or row.path}: {reason}." for reason in row.reasons)
    for _, row in named:
        said |= dict.fromkeys(on_the_data(row.record))
        if row.record.accuracy is None:
            why = row.record.labels.removeprefix("no labels: ")
            said[f"No accuracy: {why}."] = None
    names_of: dict[str, list[str]] = {}
    for name, row in named:
        for note in row.record.notes:
            names_of.setdefault(note, []).append(name or str(row.path))
    said |= dict.fromkeys(
        f"{and_more(names, _MOST_NAMED)}: {note}." for note, names in names_of.items()
    )
    more = len(said) - MOST
    rest = [f"And {more:,} more reasons; CSV and JSON lines have all."] if more > 0 else []
    return [*said][:MOST] + rest


def on_the_data(record: Described) -> Iterator[str]:
    """What was skipped or not used of the data."""
    skipped: dict[str | None, list[str]] = {}
    for file in record.data.get("skipped", ()):
        skipped.setdefault(file.get("loader"), []).append(f"{file['name']} {file['why']}")
    for loader, files in skipped.items():
        whose = f"Left out of the rows of {loader}" if loader else "Skipped by every loader"
        yield f"{whose}: {and_more(files, _MOST_NAMED)}."
    if not_used := record.data.get("not_used"):
        yield f"Not used of the data: {in_words(not_used)}."
