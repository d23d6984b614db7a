"""`fastbench compare --format markdown`: a summary for a comment under a pull request.

The title has the verdict. Rows that are slower, faster, unlike or INVALID stand in a short table;
everything else is folded.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.units import counted
from fastbench.records.differences import side_in_words
from fastbench.records.naming import full_name
from fastbench.report.compare.load_screen import to_markdown
from fastbench.report.compare.pair_comparison import EQUAL, FASTER, SLOWER, UNSURE
from fastbench.report.compare.pair_screen import (
    NOTHING_DIFFERS,
    figure_cells,
    pair_notes,
    shown_figures,
)
from fastbench.report.compare.set_screen import (
    COLUMNS,
    alarms,
    cells_of,
    lone_in_words,
    named_differences,
    set_notes,
    span_of,
    used_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.report.compare.ci_gate import Judgement
    from fastbench.report.compare.set_comparison import ComparedPair, SetComparison

LIMIT: Final = 65_536
"""Characters of a comment on GitHub."""


@dataclass(frozen=True)
class Most:
    """How many rows in front, folded rows and lines of a list are written; the rest is counted."""

    shown: int = 12
    folded: int = 150
    named: int = 20

    @property
    def half(self) -> Most:
        """Half as much, but at least one of each."""
        return Most(*(-(-number // 2) for number in (self.shown, self.folded, self.named)))


def render(found: SetComparison, judgement: Judgement, sort: str = "ratio") -> str:
    """The comparison of two sets, or of a pair, as GitHub's Markdown."""
    most = Most()
    # Labels and paths may be of any length.
    while len(text := _render(found, judgement, sort, most)) > LIMIT and most != most.half:
        most = most.half
    return text


def _render(found: SetComparison, judgement: Judgement, sort: str, most: Most) -> str:
    rows = found.sorted_rows(sort)
    columns = used_columns(rows, COLUMNS)
    telling = [row for row in rows if row.comparison.word != EQUAL or row.worse] or rows
    shown = [column for column in columns if column not in ("A images/s", "B images/s", "runs")]
    parts = [
        f"### fastbench: {_text(_title(found))}",
        f"**{_text(found.summary)}.** A is {_code(found.name_a)}, B is {_code(found.name_b)}.",
        _failure(judgement, most),
        _list(judgement.unsure, most),
        _rows(telling[: most.shown], shown) if rows else "",
        _counted_rest(len(rows) - len(telling[: most.shown])),
        _list(alarms(rows), most),
        _differences(found, most) if rows else "",
        _list(
            (
                f"Only in {letter}: {lone_in_words(each)}"
                for letter, lone in (("A", found.only_a), ("B", found.only_b))
                for each in lone
            ),
            most,
        ),
        *(to_markdown(found.under_load, _text) if found.under_load else ()),
    ]
    if not rows:
        return "\n\n".join(part for part in parts if part) + "\n"
    if len(rows) == 1:
        parts.append(_folded("All figures", _figures(rows[0])))
        notes = [*pair_notes(rows[0].comparison), *(f"{text}." for text in found.mixed)]
    else:
        all_rows = _rows(rows[: most.folded], columns)
        left_out = _counted_rest(len(rows) - most.folded, "left out")
        parts.append(_folded(f"All {len(rows)} rows", f"{all_rows}\n\n{left_out}".strip()))
        notes = set_notes(found, columns)
    parts.append(_folded("Conditions", _conditions(found, notes, most)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(found: SetComparison) -> str:
    if len(found.rows) != 1 or found.under_load.rows:
        return found.headline
    (row,) = found.rows
    word, verdict = row.comparison.word, row.comparison.verdict
    title = verdict if word in (EQUAL, UNSURE) else f"{word}, {verdict}"
    return f"{title}; predictions got worse" if row.worse else title


def _failure(judgement: Judgement, most: Most) -> str:
    if not judgement.code:
        return ""
    return f"**It fails (exit code {judgement.code}):**\n\n{_list(judgement.reasons, most)}"


def _rows(rows: Sequence[ComparedPair], columns: Sequence[str]) -> str:
    body = []
    for row in rows:
        cells, word = cells_of(row), row.comparison.word
        if row.worse or word in (SLOWER, FASTER):
            cells["verdict"] = f"**{cells['verdict']}**"
        called = row.label or full_name(row.pair.b[0].record)
        body.append([_text(called), *(cells[column] for column in columns)])
    return _table(["configuration", *columns], body, left=("configuration", "verdict"))


def _figures(row: ComparedPair) -> str:
    cells = (figure_cells(row.comparison, figure) for figure in shown_figures(row.comparison))
    body = [[_text(title), *values] for title, *values in cells]
    return _table(["measured", "A", "B", "B against A"], body, left=("measured",))


def _differences(found: SetComparison, most: Most) -> str:
    differences = named_differences(found)
    if not differences:
        return NOTHING_DIFFERS
    body = [
        [_text(name), _text(side_in_words(a)), _text(side_in_words(b))]
        for name, a, b in differences[: most.named]
    ]
    rest = _counted_rest(len(differences) - most.named, "left out", "difference")
    return "\n\n".join(filter(None, (_table(["what differs", "A", "B"], body), rest)))


def _table(head: Sequence[str], body: Iterable[Sequence[str]], left: Sequence[str] = ()) -> str:
    rule = ["---" if not left or name in left else "--:" for name in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def _conditions(found: SetComparison, notes: Sequence[str], most: Most) -> str:
    shared = " · ".join(found.shared)
    return _list(
        [
            *([shared] if shared else []),
            *(f"{letter}: {span_of(found, letter.lower())}." for letter in "AB"),
            *notes,
        ],
        most,
    )


def _list(texts: Iterable[str], most: Most) -> str:
    lines = [_text(text) for text in texts]
    if len(lines) > most.named:
        lines = [*lines[: most.named], f"and {len(lines) - most.named} more"]
    return "\n".join(f"- {line}" for line in lines)


def _counted_rest(num: int, where: str = "folded below", what: str = "row") -> str:
    return f"{counted(num, f'more {what}')} {where}." if num > 0 else ""


def _folded(title: str, body: str) -> str:
    # The empty lines make GitHub read Markdown within HTML.
    return f"<details><summary>{_text(title)}</summary>\n\n{body}\n\n</details>"


def _text(text: str) -> str:
    """Text in which nothing is HTML or Markdown."""
    for mark in ("\\", "`", "*", "_", "[", "]", "|", "#", "~"):
        text = text.replace(mark, f"\\{mark}")
    return _one_line(html.escape(text, quote=False))


def _code(text: str) -> str:
    """A path, in a code span that no backquote in it can end."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if len(fence) > 1 else ""  # which the span takes off again
    return _one_line(f"{fence}{space}{text}{space}{fence}")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
