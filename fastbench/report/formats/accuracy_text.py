"""The files that an accuracy study leaves beside its records: `accuracy.txt` and `accuracy.png`.

The text has a block a row; the picture is the plot `accuracy`. Published figures may be of other
images: the record says what was scored, and the reader compares.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from fastbench.core.atomic_files import write_new, writing
from fastbench.core.units import format_percent, format_points, format_rate, span
from fastbench.records import naming
from fastbench.records.fact_values import has_asked_size, images_of
from fastbench.records.facts import FACTS
from fastbench.records.gates import failures_of
from fastbench.records.validity import contradictions_of_predictions, find_contradictions
from fastbench.report.columns.column import Row
from fastbench.report.formats.terminal import hanging
from fastbench.report.plots.registry import draw
from fastbench.report.plots.style import encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastbench.records.accuracy import Accuracy
    from fastbench.records.record import Record

_WIDTH: Final = 80
_INDENT: Final = 12
_NUM_CLASSES: Final = 5


def summary(records: Sequence[Record]) -> str:
    """One or more records as plain text of 80 columns: what they share, then a block a record."""
    facts = [_facts(record) for record in records]
    varying = [name for name in facts[0] if len({row[name] for row in facts}) > 1]
    lines = ["Top-1 and top-5 accuracy", "═" * _WIDTH]
    for name, text in facts[0].items():
        if name not in varying:
            lines += _entry(name, text)
    lines += _entry("date", _dates(records))
    for command in dict.fromkeys(record.command for record in records):
        lines += _entry("command", command)
    called = naming.names(records, always=("model",))
    for record, row, names in zip(records, facts, called, strict=True):
        title = textwrap.wrap(" · ".join(names), _WIDTH)
        lines += ["", *title, "─" * _WIDTH, *_entry("weights", record.weights)]
        for name in varying:
            if name != "loader":  # the title has it
                lines += _entry(name, row[name])
        lines += _block(record)
    return "\n".join([*lines, "", *_footnotes(records)]).rstrip() + "\n"


def write_study(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write `accuracy.txt` and `accuracy.png` into a folder; no earlier file is overwritten.

    Without any accuracy there is nothing to write. Raises `OutputError` where that fails.
    """
    if not any(record.accuracy for record in records):
        return []
    # A folder's name need not be text: what is none is spelt out.
    text = summary(records).encode("utf-8", "backslashreplace")
    contents = {".txt": text, ".png": encode(draw("accuracy", records), "png")}
    with writing("The accuracy study", folder):
        return write_new(folder, "accuracy", contents)


def _facts(record: Record) -> dict[str, str]:
    machine = [FACTS[name].text(record) for name in ("device", "cpu", "cores")]
    names = ("dtype", "batch", "engine", "quantize", *(["image-size"] * has_asked_size(record)))
    conditions = [FACTS[name].text(record) for name in (*names, "crop-pct", "preprocess")]
    return {
        "data": ", ".join([str(record.data.get("root", "unknown folder")), *images_of(record)]),
        "machine": ", ".join(dict.fromkeys(filter(None, machine))),
        "conditions": ", ".join(filter(None, [record.device, *conditions])),
        "loader": record.loader,
    }


def _dates(records: Sequence[Record]) -> str:
    dates = span([record.created.replace("T", " ") for record in records])
    return dates.replace("+00:00", " UTC")


def _entry(name: str, text: str) -> list[str]:
    return [line.plain for line in hanging(name, text or "–", "", _WIDTH, indent=_INDENT)]


def _block(record: Record) -> list[str]:
    throughput = f"{format_rate(record.throughput.images_per_s)} images/s"
    lines = _entry("throughput", f"{throughput}, {record.num_threads} threads")
    if record.accuracy is None:
        lines += _entry("accuracy", f"none: {record.labels.removeprefix('no labels: ')}")
    elif not contradictions_of_predictions(record):
        lines += _entry("n", f"{record.accuracy.num_samples:,} images, labels {record.labels}")
        lines += ["", *_table(record, record.accuracy), *_details(record.accuracy)]
    for name, found in (
        ("INVALID", find_contradictions(record)),
        ("FAIL", failures_of(record)),
        ("doubt", [doubt.doubt for doubt in Row(record=record).doubts]),
        ("note", record.notes),
    ):
        lines += [line for text in found for line in _entry(name, text)]
    return lines


def _table(record: Record, found: Accuracy) -> list[str]:
    above = ("published %", "Δ points") if record.published else ("", "")
    rows = [("", "%", "95 % interval", "hits", *above)]
    for name in ("top-1", "top-5"):
        field = name.replace("-", "")
        share, hits = getattr(found, field), getattr(found, f"{field}_correct")
        if share is None:
            continue
        stated = getattr(record.published, field, None)
        beside = ("", "")
        if stated is not None:
            beside = format_percent(stated), format_points(share - stated)
        interval = "–".join(map(format_percent, getattr(found, f"{field}_interval")))
        rows.append((name, format_percent(share), interval, f"{hits:,}", *beside))
    return [
        f"{name:<{_INDENT}}{share:>6}{interval:>16}{hits:>12}{stated:>15}{points:>12}".rstrip()
        for name, share, interval, hits, stated, points in rows
    ]


def _details(accuracy: Accuracy) -> list[str]:
    """The classes with the fewest hits, the most frequent confusions, and values on the way."""
    lines: list[str] = []
    if (found := accuracy.per_class) is not None:
        shares = [hits / n for hits, n in zip(found.top1_correct, found.num_samples, strict=True)]
        wnids = found.wnids or [""] * len(shares)
        hardest = sorted(range(len(shares)), key=lambda i: (shares[i], i))
        entries = [
            f"{format_percent(shares[i])} % of {found.num_samples[i]:,}: "
            f"{found.names[i]} {wnids[i]}".rstrip()
            for i in hardest[:_NUM_CLASSES]
            if shares[i] < 1
        ]
        lines += _column("hardest", entries)
    confused = [f"{x.count:,} x {x.label_name} as {x.predicted_name}" for x in accuracy.confusions]
    lines += _column("confused", confused[:_NUM_CLASSES])
    has_top5 = accuracy.top5 is not None
    running = [
        f"{format_percent(x.top1_correct / x.num_samples):>6} % top-1 "
        + (f"{format_percent(x.top5_correct / x.num_samples):>6} % top-5 " if has_top5 else "")
        + f"after {x.num_samples:,} images"
        for x in accuracy.running
    ]
    return lines + _column("running", running)


def _column(name: str, entries: list[str]) -> list[str]:
    """An empty line, a name, and its entries below each other; nothing without entries."""
    lines = [line for i, entry in enumerate(entries) for line in _entry("" if i else name, entry)]
    return ["", *lines] if lines else []


def _footnotes(records: Sequence[Record]) -> list[str]:
    notes = []
    if any(record.accuracy for record in records):
        notes.append("95 % interval: Wilson's, of the share of hits among n.")
    if any(record.accuracy and record.published for record in records):
        notes.append(
            "Published: what the weights' publisher states for all of ImageNet's validation set; "
            "Δ: measured less published, in percentage points."
        )
    if any(record.config.get("quick") for record in records):
        notes.append(naming.FIRST_LOOK)
    return [line for note in notes for line in textwrap.wrap(note, _WIDTH)]
