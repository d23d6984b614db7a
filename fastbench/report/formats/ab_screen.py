"""What `fastbench run --ab` found, as one screen."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fastbench.core.options import field_of
from fastbench.records.facts import FACTS
from fastbench.records.naming import FIRST_LOOK
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.sheet.remarks import on_the_data

if TYPE_CHECKING:
    from fastbench.records.record import AbRecord

UNLIKE_OPTIONS: Final = (
    *("batch_size", "classes", "data", "dtype", "limit"),
    *("model", "page_cache", "resize", "tf32", "weights"),
)
"""The options that make two rows unlike."""


def render(record: AbRecord) -> RenderableType:
    """The two sides and their ratio; fits 80 columns."""
    throughput = COLUMNS["images/s"]
    sides = Table.grid(padding=(0, 2, 0, 0))
    for name, what, rates in (
        ("A", f"{record.model} · {record.loader}", record.a_images_per_s),
        ("B", f"the same with {', '.join(record.changes)}", record.b_images_per_s),
    ):
        median = throughput.text(statistics.median(rates))
        sides.add_row(name, Text(f"{median} {throughput.title}"), Text(what))
    unlike = [
        change for change in record.changes if field_of(change.partition("=")[0]) in UNLIKE_OPTIONS
    ]
    flags = []
    if unlike:
        said = f"Unlike: {', '.join(unlike)} changes what is computed, not only how fast."
        flags.append(Padding(Text(said, style="red"), (0, 0, 0, 2)))
    how = (FACTS[name].text(record) for name in ("dtype", "batch", "engine", "quantize"))
    verdict = record.verdict[:1].upper() + record.verdict[1:]
    return Group(
        Text(
            f"{record.data['num_samples']:,} JPEGs · {record.device}, "
            f"{', '.join(filter(None, how))}; windows in turn (A B B A)",
            style="bold",
        ),
        Padding(sides, (0, 0, 0, 2)),
        *flags,
        *(Padding(Text(said), (0, 0, 0, 2)) for said in on_the_data(record)),
        Padding(Text(f"{verdict}.", style="bold"), (0, 0, 0, 2)),
        *([Text(FIRST_LOOK)] if record.config.get("quick") else []),
    )
