"""A table of HTML for a notebook, small and without a script.

It has no colours of its own, so that it is as legible on a dark page as on a light one. Every text
is escaped: a folder's name may hold anything.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.terminal import printable
from fastbench.report.sheet.table import BEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.report.sheet.table import Line, Sheet

_CELL: Final = "vertical-align:top;padding:2px 8px"
_SMALL: Final = "font-size:85%;opacity:.75"


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of a column: its title, what it means, and how its cells are aligned."""

    title: str
    align: str
    meaning: str = ""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A cell: its text, a mark and a smaller text at it, and whether it is the best."""

    text: str
    mark: str = ""
    detail: str = ""
    is_best: bool = False


def of_sheet(sheet: Sheet) -> str:
    """A sheet as `fastbench report` has it; what a column means is shown as one points at it."""
    notes = [f"{note.mark}: {note.text}." for note in sheet.footnotes]
    details = [f"{x.name}: {topic}: {said}." for x in sheet.details for topic, said in x.parts]
    below = [*details, *notes, *sheet.remarks, *([BEST] if sheet.has_best else [])]
    if sheet.trade_off is None:
        return _table(sheet, below)
    return _table(sheet, ()) + _table(sheet.trade_off, below)


def _table(sheet: Sheet, below: Iterable[str]) -> str:
    meanings = dict(sheet.legend)
    heads = [
        Head(title=x.title, align=x.align, meaning=meanings.get(x.title, "")) for x in sheet.columns
    ]
    groups = [(group.heading, list(map(_fields, group.lines))) for group in sheet.groups]
    return render(heads, groups, above=sheet.common, below=below)


def render(
    heads: Sequence[Head],
    groups: Sequence[tuple[str, Sequence[Sequence[Field]]]],
    *,
    above: Iterable[str] = (),
    below: Iterable[str] = (),
) -> str:
    """Rows in groups, each with a heading, which may be empty; paragraphs above and below."""
    titles = "".join(
        f'<th title="{_text(x.meaning)}" style="text-align:{x.align};{_CELL}">{_text(x.title)}</th>'
        for x in heads
    )
    body = []
    for heading, rows in groups:
        if heading:
            body.append(
                f'<tr><th colspan="{len(heads)}" style="text-align:left">{_text(heading)}</th></tr>'
            )
        body += [f"<tr>{''.join(map(_cell, row, heads))}</tr>" for row in rows]
    return (
        f'<div style="overflow-x:auto">{_paragraphs(above)}<table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>{_paragraphs(below)}</div>"
    )


def _fields(line: Line) -> list[Field]:
    marks = ",".join(note.mark for note in line.footnotes)
    return [
        Field(
            text=cell.text,
            mark="" if number else marks,
            detail=cell.detail,
            is_best=cell.is_best,
        )
        for number, cell in enumerate(line.cells)
    ]


def _cell(field: Field, head: Head) -> str:
    text = _text(field.text)
    text = f"<b>{text}</b>" if field.is_best else text
    text += f" <sup>{_text(field.mark)}</sup>" if field.mark else ""
    text += f'<br><span style="{_SMALL}">{_text(field.detail)}</span>' if field.detail else ""
    return f'<td style="text-align:{head.align};{_CELL}">{text}</td>'


def _paragraphs(texts: Iterable[str]) -> str:
    lines = "<br>".join(map(_text, texts))
    return f'<div style="{_SMALL}">{lines}</div>' if lines else ""


def _text(text: str) -> str:
    return html.escape(printable(text))
