"""Which rows does a plot have, and which are left out? The words for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.units import list_some
from fastbench.records import naming
from fastbench.records.validity import find_contradictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.records.record import Record

__all__ = ["brief_names", "list_names", "valid_records"]

_MOST_NAMED: Final = 3
_NAME_CHARS: Final = 60


def brief_names(records: Sequence[Record]) -> list[str]:
    """What rows are called in a sentence."""
    called = naming.names(records, always=("model",), without=("digest",))
    return [" · ".join(name) for name in called]


def valid_records(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The records that are measurements, and a sentence on those that are INVALID, if any."""
    found = [record for record in records if not find_contradictions(record)]
    invalid = [
        name
        for name, record in zip(brief_names(records), records, strict=True)
        if find_contradictions(record)
    ]
    return found, [f"Left out as INVALID: {list_names(invalid)}."] if invalid else []


def list_names(found: Sequence[str]) -> str:
    """Some names in a sentence: `a, b, c and 4 more`."""
    short = [x if len(x) <= _NAME_CHARS else x[: _NAME_CHARS - 1] + "…" for x in found]
    return list_some(short, _MOST_NAMED)
