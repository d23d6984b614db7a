"""What limits a row, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastbench.records.record import Record

BALANCED: Final = 1.1


def headroom_in_words(record: Record) -> str | None:
    """Which of loader and model is the slower one alone; None without both ceilings."""
    if record.headroom is None:
        return None
    if record.headroom < BALANCED:
        return "balanced, loader and model alone are equally fast"
    fast = "model" if record.bound == "loader" else "loader"
    digits = 0 if record.headroom >= 10 else 1
    return f"{record.bound}-bound, the {fast} alone is {record.headroom:.{digits}f}x as fast"


def bound_in_words(record: Record) -> str | None:
    """The same, and whether the two work at the same time; None without both ceilings."""
    if (words := headroom_in_words(record)) is None:
        return None
    if record.contention == "serial":
        words += "; serial, the two take turns"
    elif record.contention == "shared":
        words += "; contended, the two slow each other down"
    return words
