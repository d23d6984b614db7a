"""What `fastbench parity` found, as one screen: figures, the gates, PASS or FAIL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fastbench.core.units import format_percent, format_points
from fastbench.records.gates import compare_pixels, judge_parity
from fastbench.report.sheet.remarks import on_the_data

if TYPE_CHECKING:
    from fastbench.records.record import ParityRecord


def render(record: ParityRecord) -> RenderableType:
    """One loader against the reference; fits 80 columns."""
    parity, pixels = record.parity, record.parity.pixels
    agreeing = f"{parity.num_agreeing:,} of {parity.num_samples:,}"
    lines = [
        ("images", f"{parity.num_samples:,}, {record.labels}"),
        ("top-1 agreement", f"{format_percent(parity.agreement)} % ({agreeing})"),
    ]
    if pixels:
        lines += [
            (
                "pixels",
                f"{compare_pixels(parity)}: max {pixels.max_levels:.2f}, mean "
                f"{pixels.mean_levels:.4f} levels; {100 * pixels.share_above_one:.3f} % above 1",
            ),
            ("worst image", f"{pixels.worst_sample}, mean {pixels.worst_mean_levels:.2f} levels"),
            ("logits", f"max {pixels.max_logits:.3g}, mean {pixels.mean_logits:.3g} apart"),
        ]
    difference, p = parity.accuracy_difference, parity.mcnemar_p
    if parity.difference_interval is not None and difference is not None and p is not None:
        low, high = map(format_points, parity.difference_interval)
        lines += [
            (
                "discordant pairs",
                f"{parity.only_reference_correct} right in the reference only, "
                f"{parity.only_row_correct} in the loader only",
            ),
            ("McNemar's test", f"p = {p:.2g}"),
            ("top-1 difference", f"{format_points(difference)} points (95 %: {low} to {high})"),
        ]
    failures = judge_parity(parity)
    if parity.cause:
        lines.append(("probable cause", parity.cause))
    facts = Table.grid(padding=(0, 2))
    for name, text in lines:
        facts.add_row(name, text)
    head = (
        f"{record.loader} against {parity.reference}: {record.model} ({record.weights}), float32, "
        f"{record.device}"
    )
    return Group(
        Text(head, style="bold"),
        Padding(facts, (0, 0, 0, 2)),
        *(Padding(Text(said), (0, 0, 0, 2)) for said in on_the_data(record)),
        *(Padding(Text(failure, style="red"), (0, 0, 0, 2)) for failure in failures),
        Text(f"  {'FAIL' if failures else 'PASS'}", style="bold red" if failures else "bold green"),
    )
