"""The rows that a run would measure, as a table: `fastbench run --dry-run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fastbench.sweep import Plan

__all__ = ["render"]


def render(plan: Plan) -> RenderableType:
    """A line a row, in the order in which they would be measured; fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", justify="right")
    for header in ("model", "loader", "dtype", "torch.compile"):
        table.add_column(header, overflow="fold")
    table.add_column("batch", justify="right")
    table.add_column("")
    for number, row in enumerate(plan.rows, 1):
        config = row.config
        state = "if it runs here" if row.only_if_here else ""
        if row.digest in plan.finished:
            state = "finished"
        table.add_row(
            str(number),
            Text(row.model),  # the brackets in a file's name are no markup
            Text(row.loader),
            config.dtype,
            config.compile_mode if config.compile else "eager",
            str(config.batch_size or "auto"),
            state,
        )
    return Group(table, Text(f"\n{_sum(plan)}"))


def _sum(plan: Plan) -> str:
    num, left = len(plan.rows), len(plan.todo)
    rows = f"{num:,} row{'' if num == 1 else 's'}"
    state = f": {num - left:,} finished, {left:,} to be measured" if plan.resumed else ""
    return f"{rows}{state}."
