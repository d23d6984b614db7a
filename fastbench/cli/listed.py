"""Tables of what can be chosen by name: loaders and engines, and whether each runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastbench.engines.registry import Listed as Engine
    from fastbench.loaders.registry import Listed as Loader


def table_of(heading: str, rows: Sequence[tuple[Loader | Engine, Text]], is_asked: bool) -> Table:
    """Each thing's name, whether it runs here, and in words what it does and what it lacks.

    Where it was not asked, a plug-in's answer is not known.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(heading, no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("what it does", overflow="fold")
    for each, text in rows:
        runs = each.why_not is None
        is_known = is_asked or not each.origin or not runs
        table.add_row(
            Text(each.name, style="bold" if runs else "dim"),
            Text("yes" if runs else "no", style="green" if runs else "red")
            if is_known
            else Text("?"),
            text,
        )
    return table


def described(each: Loader | Engine, facts: Mapping[str, Any], lacks: Sequence[str] = ()) -> Text:
    """What a thing does, the facts that it has, and what is missing for it or for a part of it."""
    lines = [Text(each.summary)] if each.summary else []
    if any(facts.values()):
        told = " · ".join(f"{name}: {fact}" for name, fact in facts.items() if fact)
        lines.append(Text(told, style="dim"))
    if each.options:
        lines.append(Text(f"options: {', '.join(each.options)}", style="dim"))
    if each.origin:
        lines.append(Text(f"plug-in: {each.origin}", style="dim"))
    lines.extend(Text(f"here it {text}", style="yellow") for text in lacks)
    if each.why_not:
        lines.append(Text(f"not here: {each.why_not}", style="red"))
    return Text("\n").join(lines)
