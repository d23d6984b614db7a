"""A comparison as a Python program has it: its pairs, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from fastbench.report.compare.set_comparison import ComparedPair

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from fastbench.report.compare.set_comparison import SetComparison

_WIDTH = 120


class Comparison(Sequence[ComparedPair]):
    """The pairs of two sets of records, the slowest first and what does not compare last.

    Each pair has a `label`, the `ratio` of the throughputs (B / A) with its 95 % `interval`, a
    `verdict` in a word and `in_words`, and how predictions got `worse`. `found` has all else, such
    as `found.mean`, `found.differences`, `found.only_a`. `under_load` are the pairs of rows under
    load, of which the figure is another in each scenario.
    """

    def __init__(self, found: SetComparison) -> None:
        self.found = found
        self.pairs = found.sorted_rows("ratio")
        self.under_load = found.under_load.rows

    @property
    def headline(self) -> str:
        """The answer in a few words: `2 of 12 rows slower`."""
        return self.found.headline

    @overload
    def __getitem__(self, index: int) -> ComparedPair: ...
    @overload
    def __getitem__(self, index: slice) -> list[ComparedPair]: ...
    def __getitem__(self, index: int | slice) -> ComparedPair | list[ComparedPair]:
        return self.pairs[index]

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"<Comparison: {self.found.summary}>"

    def __str__(self) -> str:
        from fastbench.core import terminal

        console = terminal.console(width=_WIDTH, force_terminal=False, force_jupyter=False)
        with console.capture() as capture:
            console.print(self)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from fastbench.report.compare.show import screen

        yield screen(self.found, options.max_width)

    def _repr_html_(self) -> str:
        from fastbench.report.compare import load_screen, set_screen
        from fastbench.report.compare.pair_screen import NOTHING_DIFFERS
        from fastbench.report.formats.html_table import Field, Head, render

        titles = set_screen.used_columns(self.pairs, set_screen.COLUMNS)
        rows = [
            [Field(text=pair.label), *(Field(text=cells[title]) for title in titles)]
            for pair in self.pairs
            for cells in [set_screen.cells_of(pair)]
        ]
        found = self.found
        differences = [
            f"{name}: {_side(a)} → {_side(b)}" for name, a, b in set_screen.named_differences(found)
        ]
        under_load = ""
        if found.under_load:
            heads = [Head(title="under load", align="left"), *map(_head, load_screen.COLUMNS)]
            of_load = [
                [Field(text=text) for text in (row.label, *load_screen.cells_of(row))]
                for row in found.under_load.rows
            ]
            below = (*load_screen.alarms(found.under_load), *load_screen.notes(found.under_load))
            under_load = render(heads, [("", of_load)], below=below)
        return (
            render(
                [
                    Head(title="configuration", align="left"),
                    *map(_head, titles),
                ],
                [("", rows)],
                above=[f"A {found.name_a}", f"B {found.name_b}", f"{found.summary}."],
                below=[
                    *set_screen.alarms(self.pairs),
                    *(differences or [NOTHING_DIFFERS]),
                    *set_screen.set_notes(found, titles),
                ],
            )
            * bool(rows)
            + under_load
        )


def _head(title: str) -> Any:
    from fastbench.report.formats.html_table import Head

    return Head(title=title, align="left" if title in ("verdict", "figure") else "right")


def _side(value: Any) -> str:
    from fastbench.records.differences import side_in_words

    return side_in_words(value)
