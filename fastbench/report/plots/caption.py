"""The words below a plot: what its rows have in common, footnotes, and what is left out.

As below a table (`sheet/footnotes.py`), what differs and is not in the rows' names is a footnote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from fastbench.core.units import and_more
from fastbench.records import naming
from fastbench.records.fact_values import folder_of
from fastbench.records.facts import FACTS, PREPROCESS
from fastbench.records.gates import failures_of
from fastbench.records.load import LoadRecord
from fastbench.records.load_validity import find_contradictions_under_load
from fastbench.records.record import Record
from fastbench.records.validity import find_contradictions
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.sheet.footnotes import SUPERSCRIPTS, facts, make_footnotes, what_is_common

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fastbench.records.record import Described

T = TypeVar("T", Record, LoadRecord)

COLOURED: Final = (
    *("loader", "device", "engine", "quantize", "dtype"),
    *("batch", "ranks", "image-size", "weights", "page-cache"),
)
"""The facts that colours may stand for, the first of them that tells the rows apart."""
_MOST_NAMED: Final = 3
_NAME_CHARS: Final = 60

_SHOWN_OF_INPUT: Final = ("preprocess-resize", "preprocess-crop", "preprocess-interpolation")


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What the rows share, then a paragraph a footnote; `every` has the marks of each row."""

    paragraphs: list[str]
    every: list[list[str]]

    @property
    def marks(self) -> list[str]:
        """The marks of each row as they stand behind its name."""
        return ["".join(marks) for marks in self.every]


def caption_of(records: Sequence[Described], *, without: Collection[str] = ()) -> Caption:
    """The caption of these rows; `without` are facts that stand elsewhere in the plot."""
    told = {*naming.varying(records), *without}
    doubts = [Row(record=x).doubts if isinstance(x, Record) else [] for x in records]
    notes, of_rows = make_footnotes([facts(record) for record in records], told, doubts)
    folders = list(dict.fromkeys(filter(None, map(folder_of, records))))
    texts = [
        *(folders if len(folders) == 1 else []),
        *what_is_common(records, told),
        ", ".join(_input(records)),
    ]
    footnotes = [f"{note.mark.translate(SUPERSCRIPTS)} {note.text}." for note in notes]
    return Caption(
        paragraphs=[" · ".join(filter(None, texts)), *footnotes],
        every=[[note.mark.translate(SUPERSCRIPTS) for note in its] for its in of_rows],
    )


def _input(records: Sequence[Described]) -> list[str]:
    """How images were resized and cropped; weights bring their own."""
    if all(len({FACTS[name].of(r) for r in records} - {None}) < 2 for name in PREPROCESS):
        return naming.shared(records, _SHOWN_OF_INPUT)
    asked = ("crop-pct", "preprocess")
    if any(naming.differs(records, FACTS[name]) for name in (*PREPROCESS, *asked)):
        return []
    return ["each model's own resize and crop"]


def places_of(records: Sequence[Described], name: str) -> dict[object, int]:
    """The number of each value of a fact, for its colour and marker: as on the HTML page."""
    values = naming.in_order(FACTS[name].of(record) for record in records)
    return {value: number for number, value in enumerate(values)}


def in_doubt(record: Record, *names: str) -> bool:
    """Whether a record's figure in any of these columns is in doubt."""
    row = Row(record=record)
    return any(row.is_doubted(COLUMNS[name]) for name in names)


def is_hollow(record: Record, *names: str) -> bool:
    """Whether a record's figures do not count: it fails a gate, or one of them is in doubt."""
    return bool(failures_of(record)) or in_doubt(record, *names)


def why_hollow(records: Sequence[Record], *names: str) -> str:
    """For the legend, why some of the records are hollow; empty if none is."""
    whys = {
        "fails a gate": any(map(failures_of, records)),
        "in doubt": any(in_doubt(record, *names) for record in records),
    }
    return ", or ".join(why for why, is_so in whys.items() if is_so)


def brief_names(records: Sequence[Described]) -> list[str]:
    """What rows are called in a sentence."""
    called = naming.names(records, always=("model",), without=("digest",))
    return [" · ".join(name) for name in called]


def valid_records(records: Sequence[T]) -> tuple[list[T], list[str]]:
    """The records that are measurements, and a sentence on those that are INVALID, if any."""
    found, invalid = [], []
    for name, record in zip(brief_names(records), records, strict=True):
        if isinstance(record, LoadRecord):
            contradictions = find_contradictions_under_load(record)
        else:
            contradictions = find_contradictions(record)
        if contradictions:
            invalid.append(name)
        else:
            found.append(record)
    return found, [f"Left out as INVALID: {list_names(invalid)}."] if invalid else []


def list_names(found: Sequence[str]) -> str:
    """Some names in a sentence: `a, b, c and 4 more`."""
    short = [x if len(x) <= _NAME_CHARS else x[: _NAME_CHARS - 1] + "…" for x in found]
    return and_more(short, _MOST_NAMED)
