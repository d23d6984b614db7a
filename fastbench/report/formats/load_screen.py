"""What `fastbench loadtest` prints: the table of rows under load, as `fastbench report` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastbench.report.columns.load import LoadRow
from fastbench.report.formats.terminal import print_sheet
from fastbench.report.sheet.load_sheet import make_load_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fastbench.records.load import LoadRecord


def print_load(records: Sequence[LoadRecord], console: Console) -> None:
    """Print records in the order in which they were measured, as wide as the console."""
    in_order = sorted(records, key=lambda record: record.created)
    sheet, _ = make_load_sheet([LoadRow(record=record) for record in in_order])
    if sheet is not None:
        print_sheet(sheet, console)
