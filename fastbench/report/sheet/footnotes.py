"""What do the rows of a table have in common, and which row stands apart? Footnotes a, b, c.

`differences.py` knows what makes two records unlike; a table adds what tells its rows apart
(device, model, loader, software) and how they were made (`--quick`, the version of the file). What
differs and is neither a column nor a heading of the table is flagged on the rows that stand apart
from the others: nothing is mixed silently.

Rows are ranked against each other only on the same images, which their loaders read, among the same
classes, with the same page cache, and not a first look against a result.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import NOT_AVAILABLE, format_bytes
from fastbench.records.differences import PREPROCESS, must_be_alike

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fastbench.report.columns.column import Column, Row

__all__ = [
    "IN_SIGHT",
    "Footnote",
    "facts",
    "is_comparable",
    "make_footnotes",
    "usual",
    "what_is_common",
    "why_not_comparable",
]

IN_SIGHT: Final = {
    "device": "device",
    "CPU": "cpu",
    "model": "model",
    "weights": "weights",
    "loader": "loader",
    "dtype": "dtype",
    "batch size": "batch",
    "compile": "compile",
    "threads": "threads",
    "cores": "cores",
    "image set": "digest",
    "page cache": "page-cache",
    "torch": "torch",
    "DALI": "dali",
    "driver": "driver",
}
"""Which column shows a fact, by the fact's name; the others are shown by none."""

COMPARABLE: Final = ("image set", "images are read", "--among", "page cache", "--quick")
MOST_VALUES: Final = 3
MOST_NAMED: Final = 6
_LETTERS: Final = "abcdefghijklmnoprstuvwxyz"
"""Without q, of which there is no superscript."""

_LINES: Final = (
    (
        *("model", "weights", "parameters", "macs", "loader", "device", "dtype", "batch"),
        *("compile", "threads", "page-cache"),
    ),
    ("cpu", "cores", "torch", "dali", "driver"),
)
"""The columns whose one value stands above the table, line by line."""


@dataclass(frozen=True)
class Footnote:
    """What is said of the rows that carry its mark."""

    mark: str
    text: str


def facts(row: Row) -> dict[str, Any]:
    """What rows of one table should have in common, by name; None where a record does not know."""
    record = row.record
    known = must_be_alike(record)
    preprocess = tuple(
        (name.removeprefix(PREPROCESS), _text(value))
        for name, value in known.items()
        if name.startswith(PREPROCESS)
    )
    cpu = record.environment.get("cpu")
    gpu = record.telemetry.gpu if record.telemetry else None
    return {
        "device": row.device,
        "power limit": f"{gpu.power_limit_w:g} W" if gpu and gpu.power_limit_w else None,
        "CPU": None if record.device == "cpu" else cpu,
        "cores": record.environment.get("num_cores"),
        "model": record.model,
        "weights": record.weights,
        "loader": record.loader,
        "compile": record.compile_mode or "eager",
        "threads": record.num_threads,
        **{name: value for name, value in known.items() if not name.startswith(PREPROCESS)},
        "preprocessing": preprocess or None,
        "--resize": record.config.get("resize"),
        "--among": record.config.get("among"),
        "torch": row.package("torch"),
        "torchvision": row.package("torchvision"),
        "DALI": row.package("nvidia-dali-cuda120", "nvidia-dali-cuda130"),
        "driver": record.environment.get("driver"),
        "images are read": record.reads_images,
        "--quick": bool(record.config.get("quick")),
        "schema version": row.version,
    }


def usual(every: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What most rows have, by the fact's name; the first of what is equally frequent.

    `--quick` is unusual wherever a row was measured without, and so is all else of such rows: they
    have no say. So is a loader that reads no images where another reads them. The newest schema is
    the usual one.
    """
    found: dict[str, Any] = {}
    voters = [its for its in every if not its["--quick"]] or every
    for name in every[0]:
        known = [its[name] for its in voters if its[name] is not None]
        found[name] = Counter(known).most_common(1)[0][0] if known else None
    found["images are read"] = any(its["images are read"] for its in every)
    found["--quick"] = all(its["--quick"] for its in every)
    found["schema version"] = max(its["schema version"] for its in every)
    return found


def is_comparable(its: dict[str, Any], common: dict[str, Any]) -> bool:
    """Whether a row may be ranked among those that `common` is usual of."""
    return not why_not_comparable(its, common)


def why_not_comparable(its: dict[str, Any], common: dict[str, Any]) -> list[str]:
    """In what a row may not be ranked among those that `common` is usual of, in words."""
    return [
        _say(name, its[name], common[name])
        for name in COMPARABLE
        if _stands_apart(its[name], common[name])
    ]


def make_footnotes(
    every: Sequence[dict[str, Any]], shown: Collection[str]
) -> tuple[list[Footnote], list[list[Footnote]]]:
    """All footnotes, and those of each row; `shown` are the names of the columns in sight."""
    common = usual(every)
    notes: list[Footnote] = []
    of_rows: list[list[Footnote]] = [[] for _ in every]
    for name, main in common.items():
        if IN_SIGHT.get(name) in shown:
            continue
        apart = dict.fromkeys(its[name] for its in every if _stands_apart(its[name], main))
        if not apart:
            continue
        if len(apart) <= MOST_VALUES:
            texts = {value: _say(name, value, main) for value in apart}
        else:
            texts = dict.fromkeys(apart, _say_of_many(name, list(apart), main))
        marks: dict[str, Footnote] = {}
        for text in texts.values():
            if text not in marks:
                marks[text] = Footnote(_mark(len(notes)), text)
                notes.append(marks[text])
        for its, of_row in zip(every, of_rows, strict=True):
            if _stands_apart(its[name], main):
                of_row.append(marks[texts[its[name]]])
    return notes, of_rows


def what_is_common(
    rows: Sequence[Row], shown: Collection[str], columns: dict[str, Column]
) -> list[str]:
    """Lines above a table: what its rows have in common and no column shows."""
    lines = []
    for number, names in enumerate(_LINES):
        parts = _images(rows) if number == 0 else []
        for name in names:
            values = {row.value(columns[name]) for row in rows}
            # A CPU that is the device was named as such.
            if name in shown or len(values) > 1 or (name == "cpu" and _is_device(rows)):
                continue
            value = values.pop()
            if value is not None and (words := columns[name].words(value)):
                parts.append(words)
        if number == 1 and "date" not in shown:
            parts.append(_dates(rows))
        lines.append(" · ".join(parts))
    if all(row.record.config.get("among") == "present" for row in rows):
        lines.append("Predicted among the classes that the images have, not all of the model's.")
    if all(row.record.config.get("quick") for row in rows):
        lines.append("Measured with --quick: a first look, not a result.")
    return [line for line in lines if line]


def _images(rows: Sequence[Row]) -> list[str]:
    sets = {_size_of(row) for row in rows}
    if len(sets) > 1:
        return []
    num, num_bytes = sets.pop()
    return [f"{num:,} JPEGs" + (f", {format_bytes(num_bytes / num)} each" if num_bytes else "")]


def _size_of(row: Row) -> tuple[int, int | None]:
    """How many images a row read, and how many bytes they have."""
    return row.record.data["num_samples"], row.record.data.get("num_bytes")


def _is_device(rows: Sequence[Row]) -> bool:
    return all(row.record.device == "cpu" for row in rows)


def _dates(rows: Sequence[Row]) -> str:
    days = sorted({row.record.created[:10] for row in rows})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _stands_apart(value: Any, main: Any) -> bool:
    # What a record does not know, as one of an old version, is not known to be unlike.
    return value is not None and main is not None and value != main


def _say(name: str, value: Any, main: Any) -> str:
    if name == "--quick":
        return "measured with --quick: a first look, not a result; not ranked with the others"
    if name == "images are read":
        return "its loader does not read the images; not ranked with the others"
    if name == "schema version":
        return f"a record of schema version {value}, which lacks what later ones have"
    if name == "preprocessing":
        its, others = dict(value), dict(main)
        differing = [
            f"{key} {its.get(key, NOT_AVAILABLE)} (others: {others.get(key, NOT_AVAILABLE)})"
            for key in dict.fromkeys((*its, *others))
            if its.get(key) != others.get(key)
        ]
        return f"preprocessed otherwise: {', '.join(differing)}"
    unranked = "; not ranked with the others" if name in COMPARABLE else ""
    return f"{name} {_text(value)} (others: {_text(main)}){unranked}"


def _say_of_many(name: str, values: list[Any], main: Any) -> str:
    if name == "preprocessing":
        return "preprocessed otherwise than most rows"
    named = ", ".join(map(_text, values[:MOST_NAMED]))
    more = f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
    unranked = "; not ranked with the others" if name in COMPARABLE else ""
    return f"another {name} ({named}{more}; others: {_text(main)}){unranked}"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _mark(number: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    rest, last = divmod(number, len(_LETTERS))
    return (_mark(rest - 1) if rest else "") + _LETTERS[last]
