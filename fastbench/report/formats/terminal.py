"""Prints a sheet on a terminal: as many columns side by side as fit.

A table that is too wide is folded in steps, and nothing is dropped:

1. headings wrap and gaps narrow;
2. the labels go into one cell, below each other;
3. the parts of a detail go below each other;
4. the table is cut into several, each with the labels in front; between two topics if possible.

Only a name that is wider than its cell is broken, at its own punctuation.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.segment import Segments
from rich.text import Text

from fastbench.report.columns.column import INVALID, OK
from fastbench.report.columns.load import NOT_VALID
from fastbench.report.sheet.footnotes import SUPERSCRIPTS
from fastbench.report.sheet.table import BEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from fastbench.report.columns.column import Column
    from fastbench.report.sheet.table import Line, Sheet

KEY_IS_ELSEWHERE: Final = (
    "What the columns mean: fastbench report --columns help, or a report with --details."
)
_WIDEST: Final = 30
"""Columns of words wrap beyond."""
_NARROWEST: Final = 12
"""Names break into lines of so many characters, if that keeps all figures in one table."""
_GAPS: Final = (2, 1)
_HEADING: Final = 2
"""Lines of a heading where there is room."""

_BLANKS: Final = r"[ \t\n\r\f\v]+"
"""Not the one that keeps `95 %` on one line."""

_Part = tuple[str, str]
"""A line of a cell: its text and its style."""


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """A column of the screen: a label, several of them in one cell, or a figure."""

    title: list[str]
    align: str
    width: int
    cells: list[list[_Part]]


def print_sheet(sheet: Sheet, console: Console, *, with_key: bool = False) -> None:
    """Print a sheet, as wide as the console; with the columns' meanings, or where they are said."""
    lines = render(sheet, console.width, with_key=with_key, is_styled=console.is_terminal)
    print_lines(lines, console)


def to_text(sheet: Sheet) -> str:
    """The sheet for a file, 120 columns wide."""
    return "".join(f"{line.plain}\n" for line in render(sheet, 120))


def print_lines(lines: Iterable[Text], console: Console) -> None:
    """Print lines as they are: one that is wider than the console is not cut."""
    parts = (part for line in lines for part in line.render(console, end="\n"))
    console.print(Segments(parts), end="", soft_wrap=True)


def render(
    sheet: Sheet, width: int, *, with_key: bool = True, is_styled: bool = False
) -> list[Text]:
    """The lines of a sheet: with what the columns mean, and what bold says where it is seen."""
    lines = [
        Text(part, style="bold" if number == 0 else "dim")
        for number, text in enumerate(sheet.common)
        for part in wrap(text, width)
    ]
    for block in _blocks(sheet, width):
        lines += [Text(), *_table(sheet, block, width)]
    legend = sheet.legend
    if (second := sheet.trade_off) is not None:
        lines += [Text(), *(Text(part, style="bold") for part in wrap(second.common[0], width))]
        for block in _blocks(second, width):
            lines += [Text(), *_table(second, block, width)]
        legend = [*legend, *(each for each in second.legend if each not in legend)]
    lines += _details(sheet, width)
    below = [
        *(
            (note.mark.translate(SUPERSCRIPTS), note.text + ".", "yellow")
            for note in sheet.footnotes
        ),
        *(("!", text, "red") for text in sheet.remarks if _is_grave(text)),
        *(("·", text, "dim") for text in sheet.remarks if not _is_grave(text)),
        *([("·", BEST, "dim")] if sheet.has_best and is_styled else []),
        *([("·", KEY_IS_ELSEWHERE, "dim")] if legend and not with_key else []),
    ]
    if below:
        lines += [Text(), *(line for entry in below for line in hanging(*entry, width))]
    if legend and with_key:
        wide = max(cell_len(title) for title, _ in legend) + 2
        lines.append(Text())
        for title, meaning in legend:
            lines += hanging(title, meaning, "dim", width, indent=wide)
    return lines


def _details(sheet: Sheet, width: int) -> Iterator[Text]:
    """What is said of each row by itself, below its name."""
    wide = max((cell_len(topic) for each in sheet.details for topic, _ in each.parts), default=0)
    for each in sheet.details:
        yield Text()
        yield from map(Text, wrap(each.name, width))
        for topic, words in each.parts:
            yield from hanging(f"  {topic}", words, "dim", width, indent=wide + 4)


def _is_grave(text: str) -> bool:
    return any(f": {word}: " in text for word in (INVALID, "FAIL", "different", NOT_VALID))


def hanging(mark: str, text: str, style: str, width: int, *, indent: int = 2) -> Iterator[Text]:
    """A paragraph whose further lines are indented below its first word."""
    indent = max(indent, cell_len(mark) + 1)
    glued = text.replace(" %", "\N{NO-BREAK SPACE}%")  # `95 %` on one line
    for number, part in enumerate(wrap(glued, max(12, width - indent))):
        part = part.replace("\N{NO-BREAK SPACE}", " ")
        yield Text((mark if number == 0 else "").ljust(indent) + part, style=style)


def paragraphs(mark: str, texts: Iterable[str], style: str, width: int) -> Iterator[Text]:
    """Texts as `hanging` has them, all with the same mark."""
    for text in texts:
        yield from hanging(mark, text, style, width)


def _blocks(sheet: Sheet, width: int) -> list[list[_Stack]]:
    """The table, or the tables that it is cut into, as what stands side by side in each."""
    columns = sheet.columns
    flat = [_column(sheet, i, width) for i in range(len(columns))]
    wide = [_widened(column.title, each) for column, each in zip(columns, flat, strict=True)]
    for stacks, gap in ((wide, _GAPS[0]), (flat, _GAPS[-1])):
        if _fits(stacks, width, gap):
            return [stacks]
    labels = [i for i, column in enumerate(columns) if column.is_label]
    figures = [i for i, column in enumerate(columns) if not column.is_label]
    folded = [
        _column(sheet, i, width, folds=True) if column.detail else flat[i]
        for i, column in enumerate(columns)
    ]
    cut = max(16, width // 3)
    for stacks in (flat, folded):
        left = width - sum(stacks[i].width + _GAPS[-1] for i in figures)
        if left > 0:
            # One table with names that break is read more easily than two.
            front = _labels(sheet, labels, left if left >= _NARROWEST else cut)
            if _fits(block := [*front, *(stacks[i] for i in figures)], width):
                return [block]
    front = _labels(sheet, labels, cut)
    blocks = [front]
    for _, indexes in itertools.groupby(figures, lambda i: columns[i].topic):
        topic = [flat[i] for i in indexes]
        # Only a topic that is wider than the screen is cut.
        for part in [topic] if _fits([*front, *topic], width) else [[each] for each in topic]:
            if blocks[-1] == front or _fits([*blocks[-1], *part], width):
                blocks[-1] = [*blocks[-1], *part]
            else:
                blocks.append([*front, *part])
    return blocks


def _fits(stacks: Sequence[_Stack], width: int, gap: int = _GAPS[-1]) -> bool:
    return sum(stack.width for stack in stacks) + gap * (len(stacks) - 1) <= width


def _column(sheet: Sheet, index: int, width: int, *, folds: bool = False) -> _Stack:
    """One column of the sheet; where it folds, a detail's parts stand below each other."""
    column = sheet.columns[index]
    is_first = index == 0
    most = min(_WIDEST, width // 2) if column.align == "left" else width
    cells = []
    for line in sheet.lines:
        cell = line.cells[index]
        style = _style(line, column, is_best=cell.is_best)
        text = cell.text + (_marks(line) if is_first else "")
        parts = [(part, style) for part in wrap(text, most)]
        details = cell.detail.split(", ") if folds else [cell.detail]
        cells.append(parts + [(part, "dim") for part in details if part])
    return _stack(column.title, column.align, cells)


def _labels(sheet: Sheet, indexes: list[int], most: int) -> list[_Stack]:
    """All labels in one cell of so many characters: the first, and below it the others in words."""
    if not indexes:
        return []
    most, cells = min(_WIDEST, most), []
    for line in sheet.lines:
        first, *others = (line.cells[i] for i in indexes)
        style = _style(line, sheet.columns[indexes[0]], is_best=False)
        words = [
            sheet.columns[i].in_words(cell.value)
            for i, cell in zip(indexes[1:], others, strict=True)
            if cell.value is not None
        ]
        parts = [(part, style) for part in wrap(first.text + _marks(line), most)]
        cells.append(parts + [(part, "dim") for part in wrap(" · ".join(words), most)])
    return [_stack(sheet.columns[indexes[0]].title, "left", cells)]


def _stack(title: str, align: str, cells: list[list[_Part]]) -> _Stack:
    longest = max(cell_len(word) for word in title.split())
    width = max([longest, *(cell_len(text) for cell in cells for text, _ in cell)])
    return _Stack(title=wrap(title, width), align=align, width=width, cells=cells)


def _widened(title: str, stack: _Stack) -> _Stack:
    """The same column, wide enough for a heading of two lines."""
    width = stack.width
    while len(wrap(title, width)) > _HEADING:
        width += 1
    return dataclasses.replace(stack, title=wrap(title, width), width=width)


def _marks(line: Line) -> str:
    marks = "".join(note.mark.translate(SUPERSCRIPTS) for note in line.footnotes)
    return f" {marks}" if marks else ""


def _style(line: Line, column: Column, *, is_best: bool) -> str:
    if line.row.status == INVALID or (column.name == "status" and line.row.status != OK):
        return "red"
    return "bold" if is_best else ""


def _table(sheet: Sheet, stacks: list[_Stack], width: int) -> Iterator[Text]:
    gap = next((gap for gap in _GAPS if _fits(stacks, width, gap)), _GAPS[-1])
    height = max(len(stack.title) for stack in stacks)
    titles = [[""] * (height - len(stack.title)) + stack.title for stack in stacks]
    for number in range(height):
        yield _side_by_side(stacks, [(title[number], "bold") for title in titles], gap)
    yield Text("─" * (sum(stack.width for stack in stacks) + gap * (len(stacks) - 1)))
    number = 0
    is_tall = any(len(cell) > 2 for stack in stacks for cell in stack.cells)
    for group in sheet.groups:
        if number and (group.heading or is_tall):
            yield Text()
        if group.heading:
            yield from (Text(part, style="bold cyan") for part in wrap(group.heading, width))
        for position in range(len(group.lines)):
            if position and is_tall:
                yield Text()
            cells = [stack.cells[number] for stack in stacks]
            number += 1
            for i in range(max(map(len, cells))):
                parts = [cell[i] if i < len(cell) else ("", "") for cell in cells]
                yield _side_by_side(stacks, parts, gap)


def _side_by_side(stacks: list[_Stack], parts: list[_Part], gap: int) -> Text:
    tokens: list[_Part] = []
    for stack, (text, style) in zip(stacks, parts, strict=True):
        padding = " " * (stack.width - cell_len(text))
        before, after = (padding, "") if stack.align == "right" else ("", padding)
        tokens += [(before, ""), (text, style), (after + " " * gap, "")]
    while tokens and not tokens[-1][0].strip():
        tokens.pop()
    return Text().append_tokens(tokens)


def wrap(text: str, width: int) -> list[str]:
    """Lines of whole words; a word that is wider is broken behind its own punctuation.

    A width is in cells: a Chinese character has two.
    """
    words = [part for word in re.split(_BLANKS, text) for part in _broken(word, width)]
    return _filled(words, width, " ") if any(words) else [""] * bool(text)


def _broken(word: str, width: int) -> list[str]:
    if cell_len(word) <= width:
        return [word]
    pieces = re.findall(r"[^/_.:=-]*[/_.:=-]|[^/_.:=-]+", word)
    return [line for part in _filled(pieces, width) for line in _filled(part, width)]


def _filled(parts: Iterable[str], width: int, between: str = "") -> list[str]:
    """Parts in as few lines as hold them in this order; one that is wider has its own."""
    lines = [""]
    for part in filter(None, parts):
        longer = f"{lines[-1]}{between}{part}" if lines[-1] else part
        if lines[-1] and cell_len(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines
