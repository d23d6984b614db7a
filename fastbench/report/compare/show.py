"""A comparison as a screen, Markdown or JSON, on stdout or in a file.

A single pair has a screen with every figure; several pairs are a table, a line each.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType

from fastbench.core import terminal
from fastbench.core.atomic_files import write_text
from fastbench.report.compare import json_output, load_screen, markdown, pair_screen, set_screen
from fastbench.report.compare.ci_gate import Gates, Judgement, judge
from fastbench.report.compare.pairing import pair_up
from fastbench.report.compare.set_comparison import SetComparison, compare_sets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastbench.report.compare.pairing import Run

_FILE_WIDTH: Final = 120


def compare_files(
    a: Path,
    b: Path,
    gates: Gates,
    *,
    form: str = "table",
    sort: str = "ratio",
    output: Path | None = None,
) -> tuple[int, list[str]]:
    """Show the comparison of two files or folders; the exit code, and what to complain of.

    The codes are those of `ci_gate.py`. With `output` the comparison goes to that file, and its
    summary and the file's name to stdout. Raises `RecordError` as `pair_up` does, and for a damaged
    record; `OutputError` where the file cannot be written.
    """
    found = compare_sets(pair_up(a, b), str(a), str(b))
    judgement = judge(found, gates)
    if output is not None:
        write_text("The comparison", output, _text(found, form, sort, judgement))
        terminal.write(f"{found.summary}.\n{output}\n")
    elif form == "table":
        console = terminal.console()
        console.print(screen(found, console.width, sort))
    else:
        terminal.write(_text(found, form, sort, judgement))
    return judgement.code, judgement.complaints


def _text(found: SetComparison, form: str, sort: str, judgement: Judgement) -> str:
    if form == "json":
        return json_output.render(found, judgement, sort) + "\n"
    if form == "markdown":
        return markdown.render(found, judgement, sort)
    file = io.StringIO()
    terminal.console(file, width=_FILE_WIDTH).print(screen(found, _FILE_WIDTH, sort))
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def screen(found: SetComparison, width: int, sort: str = "ratio") -> RenderableType:
    """The comparison as `fastbench compare` shows it, for a screen of this width."""
    parts: list[RenderableType] = []
    if len(found.rows) > 1:
        parts = [set_screen.render(found, width, sort)]
    else:
        lone = [*set_screen.only_on_one_side(found, width)]
        parts = [*lone, *([""] if lone else [])]
        for row in found.rows:
            names = _names(row.pair.a), _names(row.pair.b)
            parts.append(pair_screen.render(row.comparison, *names, width))
    if found.under_load:
        under_load = load_screen.render(found.under_load, width)
        if not found.rows:
            parts.append(pair_screen.head((found.name_a, found.name_b), ("", ""), ""))
        parts += ["", under_load]
    return Group(*parts)


def _names(runs: Sequence[Run]) -> str:
    return ", ".join(str(run.path) for run in runs)
