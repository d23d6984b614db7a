"""Rows under load in `fastbench compare`: as a screen, as Markdown, and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbench.core.units import NOT_AVAILABLE
from fastbench.records.naming import full_name
from fastbench.report.compare.pair_comparison import EQUAL, FASTER, SLOWER, UNSURE, format_ratio
from fastbench.report.formats.terminal import paragraphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastbench.report.compare.load_comparison import ComparedLoad, LoadSet

COLUMNS: Final = ("figure", "A", "B", "B / A", "verdict")
_STYLES: Final = {SLOWER: "bold red", FASTER: "bold green", UNSURE: "yellow", EQUAL: ""}


def render(found: LoadSet, width: int) -> RenderableType:
    """The rows under load; fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("under load", overflow="fold", min_width=10)
    for column in COLUMNS:
        right = column in ("A", "B", "B / A")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for row in found.rows:
        *cells, verdict = cells_of(row)
        style = "bold red" if row.worse else _STYLES.get(row.verdict, "yellow")
        table.add_row(Text(row.label), *map(Text, cells), Text(verdict, style=style))
    parts: list[RenderableType] = [table, ""] if found.rows else []
    parts += paragraphs("!", alarms(found), "red", width)
    parts += paragraphs("only", only_in_words(found), "yellow", width)
    parts += paragraphs("·", notes(found), "dim", width)
    return Group(*parts)


def cells_of(row: ComparedLoad) -> list[str]:
    """A row's cells, by `COLUMNS`."""
    a, b = row.figures
    ratio = NOT_AVAILABLE if row.ratio is None else format_ratio(row.ratio)
    return [row.figure, a.text, b.text, ratio, row.verdict + " !" * bool(row.worse)]


def alarms(found: LoadSet) -> list[str]:
    """What is wrong with rows, in words."""
    said = []
    for row in found.rows:
        if row.invalid:
            said.append(f"{row.label}: {row.invalid[0]}.")
        elif row.unlike:
            names = ", ".join(difference.name for difference in row.unlike)
            said.append(f"{row.label}: UNLIKE in {names}; its figures do not compare.")
        else:
            said += [f"{row.label}: {worse}." for worse in row.worse]
            said += [f"{row.label}: B is not valid: {x}." for x in row.b.record.result.why_not]
    return said


def only_in_words(found: LoadSet) -> list[str]:
    """The rows without a partner."""
    return [
        f"in {letter}: {full_name(row.record)} ({row.path})."
        for letter, rows in (("A", found.only_a), ("B", found.only_b))
        for row in rows
    ]


def notes(found: LoadSet) -> Iterator[str]:
    """What the figures are, and what is not in them."""
    if not found.rows:
        return
    yield (
        "Under load a row is one run, and what differs from run to run is in no interval. A rate "
        "in the limit is known as far as the short runs of its search agree, a percentile by its "
        "order statistics, as if queries did not depend on each other."
    )
    if any(row.verdict == UNSURE for row in found.rows):
        yield "unsure: the figure of one run, such as images/s of offline, has no interval."


def to_markdown(found: LoadSet, escape: Callable[[str], str]) -> list[str]:
    """A table, and what is to be said of it, as parts of a page of Markdown."""
    lines = [
        "| under load | figure | A | B | B / A | verdict |",
        "| --- | --- | --: | --: | --: | --- |",
    ]
    for row in found.rows:
        *cells, verdict = map(escape, (row.label, *cells_of(row)))
        verdict = f"**{verdict}**" if row.worse or row.verdict in (SLOWER, FASTER) else verdict
        lines.append(f"| {' | '.join([*cells, verdict])} |")
    said = [*alarms(found), *(f"Only {text}" for text in only_in_words(found)), *notes(found)]
    table = ["\n".join(lines)] if found.rows else []
    return [*table, "\n".join(f"- {escape(text)}" for text in said)]
