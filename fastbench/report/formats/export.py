"""A sheet as Markdown, LaTeX, CSV or JSON lines.

Markdown and LaTeX have rounded texts, a value's detail in brackets, the best values in bold and
footnotes below. CSV and JSON lines have raw values, a line a record, each with its notes.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Final

from fastbench.core.terminal import write_csv
from fastbench.report.sheet.table import BEST, Cell, Line, Sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastbench.report.columns.column import Column, Value


def to_markdown(sheet: Sheet) -> str:
    """GitHub's Markdown: a table a group, then what is to be said of them."""
    lines = [f"{_markdown(text)}  " for text in sheet.common[:-1]]
    lines += [_markdown(text) for text in sheet.common[-1:]]
    lines += _markdown_tables(sheet)
    legend = sheet.legend
    if (second := sheet.trade_off) is not None:
        lines += ["", f"**{_markdown(second.common[0])}**", *_markdown_tables(second)]
        legend = [*legend, *(each for each in second.legend if each not in legend)]
    if sheet.footnotes:
        lines.append("")
        lines += [f"<sup>{note.mark}</sup> {_markdown(note.text)}  " for note in sheet.footnotes]
    said = [*_details(sheet), *sheet.remarks, *([BEST] if sheet.has_best else [])]
    said = [f"- {_markdown(text)}" for text in said]
    said += [f"- **{_markdown(title)}**: {_markdown(text)}" for title, text in legend]
    return "\n".join([*lines, *([""] if said else []), *said]) + "\n"


def _markdown_tables(sheet: Sheet) -> Iterator[str]:
    """A table a group, each below its heading."""
    for group in sheet.groups:
        yield ""
        if group.heading:
            yield from (f"### {_markdown(group.heading)}", "")
        yield _markdown_line([_markdown(column.title) for column in sheet.columns])
        rules = {"left": ":---", "right": "---:"}
        yield _markdown_line([rules[column.align] for column in sheet.columns])
        for line in group.lines:
            cells = [_inline(cell, _markdown, "**{}**".format) for cell in line.cells]
            cells[0] += "".join(f" <sup>{note.mark}</sup>" for note in line.footnotes)
            yield _markdown_line(cells)


def _markdown_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    """Text in which nothing is markup; an underscore within a word is none."""
    text = re.sub(r"([\\`*\[\]|<])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def to_latex(sheet: Sheet) -> str:
    """A table for the package booktabs, with its caption and notes."""
    num = len(sheet.columns)
    align = "".join(column.align[0] for column in sheet.columns)
    caption = ". ".join(text.rstrip(".") for text in sheet.common)
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_latex(caption)}.}}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        _latex_line([_latex(column.title) for column in sheet.columns]),
    ]
    for group in sheet.groups:
        lines.append("\\midrule")
        if group.heading:
            heading = f"\\textit{{{_latex(group.heading)}}}"
            lines.append(f"\\multicolumn{{{num}}}{{l}}{{{heading}}} \\\\")
        for line in group.lines:
            cells = [_inline(cell, _latex, "\\textbf{{{}}}".format) for cell in line.cells]
            marks = ",".join(note.mark for note in line.footnotes)
            cells[0] += f"\\textsuperscript{{{marks}}}" if marks else ""
            lines.append(_latex_line(cells))
    lines += ["\\bottomrule", "\\end{tabular}"]
    said = [f"\\textsuperscript{{{note.mark}}} {_latex(note.text)}." for note in sheet.footnotes]
    said += [_latex(text) for text in (*_details(sheet), *sheet.remarks)]
    if sheet.has_best:
        said.append(_latex(BEST))
    said += [f"{_latex(title)}: {_latex(text)}." for title, text in sheet.legend]
    if said:
        lines += ["", "\\medskip", "\\begin{minipage}{\\linewidth}\\footnotesize"]
        lines += [f"{text}\\par" for text in said]
        lines.append("\\end{minipage}")
    second = to_latex(sheet.trade_off) if sheet.trade_off else ""
    return "\n".join([*lines, "\\end{table}"]) + "\n" + second


def _latex_line(cells: list[str]) -> str:
    return " & ".join(cells) + " \\\\"


_LATEX: Final = {
    "\\": "\\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "''",
    "–": "--",
    "−": "$-$",
    "Δ": "$\\Delta$",
    "·": "\\textperiodcentered{}",
    "µ": "$\\mu$",
    "×": "$\\times$",
}


def _latex(text: str) -> str:
    """Text in which nothing is a command; two hyphens in a row would become a dash."""
    parts = re.split("(?<=-)(?=-)", " ".join(text.split()))
    return "{}".join("".join(_LATEX.get(x, x) for x in part) for part in parts)


def _inline(cell: Cell, escape: Callable[[str], str], mark: Callable[[str], str]) -> str:
    """The text, marked where it is the best, and its detail in brackets."""
    text = escape(cell.text)
    text = mark(text) if cell.is_best else text
    return f"{text} ({escape(cell.detail)})" if cell.detail else text


def to_csv(sheet: Sheet) -> str:
    """One line a record below the names of the columns with the units of their raw values."""
    file = io.StringIO()
    header = [title for column in sheet.columns for title in _titles(column, column.raw_title)]
    lines = [[*values_of(sheet, line).values(), "; ".join(_notes(line))] for line in sheet.lines]
    write_csv(file, [[*header, "notes"], *lines])
    return file.getvalue()


def to_jsonl(sheet: Sheet) -> str:
    """One object a record: each column's name with its raw value, and the notes on it."""
    lines = [
        json.dumps(
            {**values_of(sheet, line), "notes": _notes(line)},
            ensure_ascii=False,
            allow_nan=False,
        )
        for line in sheet.lines
    ]
    return "".join(f"{line}\n" for line in lines)


def values_of(sheet: Sheet, line: Line) -> dict[str, Value]:
    """A line's raw values by the names of the columns, with the ends of their ranges."""
    found: dict[str, Value] = {}
    for column, cell in zip(sheet.columns, line.cells, strict=True):
        values = (cell.value, *(cell.bounds or (None, None)))
        found.update(zip(_titles(column, column.name), values, strict=False))
    return found


def _details(sheet: Sheet) -> list[str]:
    return [f"{x.name}: {topic}: {words}." for x in sheet.details for topic, words in x.parts]


def _titles(column: Column, title: str) -> list[str]:
    """A column's own title, and where its value has a range those of the ends."""
    if column.bounds is None:
        return [title]
    unit = title.removeprefix(column.name)
    return [title, f"{column.name} low{unit}", f"{column.name} high{unit}"]


def _notes(line: Line) -> list[str]:
    row = line.row
    apart = [note.text for note in line.footnotes if not note.is_doubt]  # of the worst row
    return [*row.reasons, *row.record.notes, *(doubt.in_doubt for doubt in row.doubts), *apart]
