"""Numbers as people read them: raw SI values in, rounded text out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

NOT_AVAILABLE = "–"
SPELT_OUT: Final = "backslashreplace"
"""The `errors` of an encoding that may lack a character: it is written as an escape, as in JSON."""


def format_rate(value: float) -> str:
    """Images a second with three or more significant digits: `0.191`, `9.87`, `98.7`, `9,874`."""
    digits = 3 if 0 < value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def format_milliseconds(seconds: float | None) -> str:
    """Milliseconds, three or more significant digits, no unit: `0.123`, `1.23`, `12.3`, `1,234`."""
    return NOT_AVAILABLE if seconds is None else format_rate(seconds * 1e3)


def format_seconds(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `4 min 05 s`."""
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def format_about(seconds: float) -> str:
    """An estimated time: `less than a minute`, `about 4 min`, `about 1 h 20 min`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


def format_percent(share: float) -> str:
    """A share of 0..1 as percent with two digits, without the sign: `92.30`."""
    return f"{100 * share:.2f}"


def format_points(difference: float) -> str:
    """A difference of two shares in percentage points, signed: `+0.10`, `−0.20`, `0.00`."""
    points = round(100 * difference, 2)
    sign = "+" if points > 0 else "−" if points < 0 else ""
    return f"{sign}{abs(points):.2f}"


def format_quantity(value: float, *, is_in_column: bool = False) -> str:
    """Any quantity with three significant digits: `0.0017`, `0.164`, `1`, `22.7`, `1,234`.

    In a column those at the end are kept though they are zeros, `0.200` above `0.191`.
    """
    if value == 0:
        return "0"
    rounded = float(f"{abs(value):.2e}")  # 0.9999 has the digits of 1.00
    digits = min(6, max(0, 2 - math.floor(math.log10(rounded))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text and not is_in_column else text


def format_bytes(num_bytes: float) -> str:
    """Bytes in SI steps: `512 B`, `110.2 kB`, `6.3 MB`."""
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def counted(num: int, one: str, many: str | None = None) -> str:
    """`1 row`, `12 rows`; `many` is a plural that is not formed by an s."""
    return f"{num:,} {one if num == 1 else many or f'{one}s'}"


def format_value(value: Any) -> str:
    """Any value of a record or an option, as text."""
    if value is None:
        return NOT_AVAILABLE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = (f"{name.replace('_', ' ')} {format_value(part)}" for name, part in value.items())
        return ", ".join(parts) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def and_more(texts: Sequence[str], most: int) -> str:
    """The first `most` texts, and the number of the others: `a, b, c and 4 more`."""
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def span(texts: Collection[str]) -> str:
    """The first and the last in order: `2026-01-02 to 2026-01-05`; one text if they are equal."""
    return " to ".join(dict.fromkeys((min(texts), max(texts))))
