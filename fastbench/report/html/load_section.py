"""The page's section of rows under load: their table, their plots, and what is said of each row.

It is plain HTML, which needs no script: nothing of it is sorted or filtered. The plots are PNG
files within the page.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Final

from fastbench.core.terminal import printable
from fastbench.report.plots.registry import PLOTS, draw
from fastbench.report.plots.style import NothingToShowError, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fastbench.report.columns.column import Column
    from fastbench.report.sheet.table import Line, Sheet

IMAGES: Final = "img-src data:; "
"""What the page's policy has to admit for it."""
_MARK: Final = "load-note-"
"""Footnotes of the other table have other ids."""


def section_of(sheet: Sheet) -> str:
    """The section of this sheet. Raises `RecordError` for a damaged record."""
    notes = [
        f'<p id="{_MARK}{note.mark}"><b>{note.mark}</b> {_text(note.text)}.</p>'
        for note in sheet.footnotes
    ]
    return "\n".join(
        [
            '<section aria-labelledby="under-load-title" id="under-load">',
            '<h2 id="under-load-title">Under load</h2>',
            *_paragraphs(line.removeprefix("Under load · ") for line in sheet.common),
            '<div class="scroll" role="region" aria-labelledby="under-load-title" tabindex="0">',
            "<table>",
            f"<thead><tr>{''.join(_heads(sheet))}</tr></thead>",
            f"<tbody>{''.join(_row(line, sheet.columns) for line in sheet.lines)}</tbody>",
            "</table>",
            "</div>",
            *notes,
            *_paragraphs(sheet.remarks),
            *_pictures(sheet),
            *_details(sheet),
            "</section>",
        ]
    )


def _heads(sheet: Sheet) -> Iterator[str]:
    for column in sheet.columns:
        number = " number" if column.align == "right" else ""
        meaning = _text(column.meaning)
        yield f'<th scope="col" class="plain{number}" title="{meaning}">{_text(column.title)}</th>'


def _row(line: Line, columns: Sequence[Column]) -> str:
    cells = []
    for number, (cell, column) in enumerate(zip(line.cells, columns, strict=True)):
        marks = "".join(
            f' <a class="mark-note" href="#{_MARK}{note.mark}">{note.mark}</a>'
            for note in line.footnotes
            if number == 0
        )
        below = f'<span class="below">{_text(cell.detail)}</span>' if cell.detail else ""
        what = 'th scope="row"' if number == 0 else "td"
        kind = ' class="number"' if column.align == "right" else ""
        cells.append(f"<{what}{kind}>{_text(cell.text)}{marks}{below}</{what[:2]}>")
    return f"<tr>{''.join(cells)}</tr>"


def _pictures(sheet: Sheet) -> Iterator[str]:
    """The plots that the rows have."""
    records = [line.row.record for line in sheet.lines]
    for name, plot in PLOTS.items():
        if not plot.is_under_load:
            continue
        try:
            picture = base64.b64encode(encode(draw(name, records), "png")).decode("ascii")
        except NothingToShowError:
            continue
        alt = _text(plot.meaning)
        yield f'<figure><img src="data:image/png;base64,{picture}" alt="{alt}"></figure>'


def _details(sheet: Sheet) -> Iterator[str]:
    for each in sheet.details:
        parts = "".join(
            f"<dt>{_text(topic)}</dt><dd>{_text(words)}</dd>" for topic, words in each.parts
        )
        yield (
            f'<details class="detail" open><summary>{_text(each.name)}</summary>'
            f"<dl>{parts}</dl></details>"
        )


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [f"<p>{_text(text)}</p>" for text in texts]


def _text(text: str) -> str:
    return escape(printable(text))
