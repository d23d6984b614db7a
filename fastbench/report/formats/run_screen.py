"""What `fastbench run` prints: the table of `fastbench report`, a line a row, and advice.

`fastbench report --details` has a paragraph a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from fastbench.records.advice import HINT, worst_of
from fastbench.records.verdict import bound_in_words
from fastbench.report.formats.terminal import hanging, paragraphs, print_lines, print_sheet, wrap
from fastbench.report.sheet.engine_in_words import engine_in_words
from fastbench.report.sheet.row_in_words import how_it_ran, predictions, size_of_model
from fastbench.report.sheet.sheet import make_sheet
from fastbench.report.sheet.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from fastbench.report.columns.column import Row
    from fastbench.report.sheet.table import Sheet

MOST_ADVICE: Final = 3


def print_run(rows: Iterable[Row], console: Console) -> None:
    """Print rows in the order in which they were measured, as a report of their folder has them."""
    sheet, _ = make_sheet(sorted(rows, key=lambda row: row.record.created), View())
    if sheet is None:
        return
    print_sheet(sheet, console)
    below = [Text(), *_limits(sheet, console.width)]
    if advice := [*_advice(sheet, console.width)]:
        below += [Text(), *advice]
    print_lines(below, console)


def print_details(sheet: Sheet, console: Console) -> None:
    """Print a paragraph a row: how it ran, and what it predicted."""
    print_lines([Text(), *_details(sheet, console.width)], console)


def _limits(sheet: Sheet, width: int) -> Iterator[Text]:
    """What limits each row, in a line; an INVALID row's figures say nothing."""
    for line in sheet.lines:
        if not line.row.invalid and (limit := bound_in_words(line.row.record)):
            yield from hanging("·", f"{line.name}: {limit}", "dim", width)


def _details(sheet: Sheet, width: int) -> Iterator[Text]:
    """A paragraph a row; the figures of an INVALID one say nothing."""
    sizes = [size_of_model(line.row) for line in sheet.lines]
    for line, size in zip(sheet.lines, sizes, strict=True):
        title = f"{line.name}: {size}" if size and len(set(sizes)) > 1 else line.name
        yield from map(Text, wrap(title, width))
        if not line.row.invalid:
            engine = [f"{topic}: {words}." for topic, words in engine_in_words(line.row.record)]
            said = [f"{how_it_ran(line.row)}.", *engine, f"{predictions(line.row)}."]
            yield from paragraphs("", said, "dim", width)


def _advice(sheet: Sheet, width: int) -> Iterator[Text]:
    """The gravest advice on all rows, each with the row that needs it most; a hint among it.

    On a busy machine all doubts are of that, and what limits the pipeline is to be seen too.
    """
    every = worst_of([line.row.advice for line in sheet.lines])
    hints = [each for each in every if each[1].about == HINT]
    doubts = [each for each in every if each[1].about != HINT]
    for number, advice in [*doubts[: MOST_ADVICE - bool(hints)], *hints][:MOST_ADVICE]:
        yield from hanging("→", f"{sheet.lines[number].name}: {advice}.", "", width)
