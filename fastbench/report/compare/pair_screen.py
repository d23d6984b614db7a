"""One pair of `fastbench compare` as a screen: what differs, then what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbench.core.stats import MIN_SAMPLES
from fastbench.core.units import NOT_AVAILABLE, format_percent, format_points
from fastbench.records.advice import worst_of
from fastbench.records.differences import side_in_words
from fastbench.records.facts import FACTS
from fastbench.records.gates import failures_of
from fastbench.records.naming import FIRST_LOOK, full_name
from fastbench.report.columns.column import Row
from fastbench.report.compare.pair_comparison import Figure, PairComparison, format_ratio
from fastbench.report.compare.worsening import find_worsening, median_hits
from fastbench.report.formats.terminal import hanging, paragraphs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastbench.records.differences import Difference
    from fastbench.records.record import Record

_WIDTH: Final = 80
NOTHING_DIFFERS: Final = "Nothing differs in configuration and environment."


def render(
    comparison: PairComparison, name_a: str, name_b: str, width: int = _WIDTH
) -> RenderableType:
    """The comparison of two configurations, by the names of their files; fits 80 columns."""
    about = [_about(runs) for runs in (comparison.runs_a, comparison.runs_b)]
    parts: list[RenderableType] = [head([name_a, name_b], about, "\n")]
    if comparison.invalid:
        parts += ["", *paragraphs("!", comparison.invalid, "bold red", width)]
    if comparison.unlike:
        parts += ["", _differences("UNLIKE", comparison.unlike, style="red")]
        parts.append(Text("Figures of unlike records do not compare.", style="red"))
    if comparison.changed:
        parts += ["", _differences("what changed", comparison.changed)]
    elif not comparison.unlike:
        parts += ["", Text(NOTHING_DIFFERS, style="dim")]
    parts += ["", _figures(comparison, width), ""]
    parts += paragraphs("·", pair_notes(comparison), "dim", width)
    worse = [] if comparison.invalid or comparison.unlike else find_worsening(comparison)
    parts += paragraphs("!", [f"{each}." for each in worse], "bold red", width)
    flags = ["INVALID"] * bool(comparison.invalid) + ["UNLIKE"] * bool(comparison.unlike)
    verdict = comparison.verdict
    said = f"not comparable ({', '.join(flags)}): {verdict}" if flags else verdict
    said += "; predictions got worse" if worse else ""
    style = "bold red" if flags or worse else "bold"
    return Group(*parts, "", *hanging("Verdict:", f"{said}.", style, width))


def head(names: Sequence[str], about: Sequence[str], between: str) -> Table:
    """What A and B are called, and what they are."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for letter, name, text in zip("AB", names, about, strict=True):
        grid.add_row(letter, Text.assemble((name, "bold"), between, (text, "dim")))
    return grid


def _about(runs: Sequence[Record]) -> str:
    repeats = f" · {len(runs)} runs" if len(runs) > 1 else ""
    return f"{full_name(runs[0])} · {FACTS['date'].text(runs[0])}{repeats}"


def table_of_differences(
    title: str, rows: Sequence[tuple[str, Any, Any]], style: str = ""
) -> Table:
    """What is not the same: a name, A's value and B's, a row each."""
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), style=style, header_style="bold"
    )
    table.add_column(title, overflow="fold", style=style, header_style=f"bold {style}")
    for letter in "AB":
        table.add_column(letter, overflow="fold", style=style)
    for name, a, b in rows:
        # As `Text`: in a plain string, brackets are rich's markup.
        table.add_row(*map(Text, (name, side_in_words(a), side_in_words(b))))
    return table


def _differences(title: str, differences: Sequence[Difference], style: str = "") -> Table:
    return table_of_differences(title, [(x.name, x.a, x.b) for x in differences], style)


def _figures(comparison: PairComparison, width: int) -> Table:
    gap = 1 if width < _WIDTH else 2
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap, 0, 0))
    table.add_column("measured", overflow="fold")
    for header in ("A", "B", "B against A"):
        table.add_column(header, justify="right", no_wrap=True)
    for figure in shown_figures(comparison):
        table.add_row(*figure_cells(comparison, figure))
    return table


def shown_figures(comparison: PairComparison) -> list[Figure]:
    """The figures that a side has, and step times in any case: a note says why one is missing."""
    return [figure for figure in comparison.figures if not _is_missing(figure)]


def figure_cells(comparison: PairComparison, figure: Figure) -> tuple[str, str, str, str]:
    """The figure's title, A, B, and B against A."""
    column, change = figure.column, _change(figure)
    if column.name == "images/s":  # the one with an interval, as in the verdict
        change = format_ratio(comparison.ratio, comparison.interval)
    return column.title, column.text(figure.a), column.text(figure.b), change


def _is_missing(figure: Figure) -> bool:
    return figure.a is None and figure.b is None and not figure.column.name.startswith("step")


def _change(figure: Figure) -> str:
    if figure.difference is not None:
        return f"{format_points(figure.difference)} pt"
    return NOT_AVAILABLE if figure.ratio is None else format_ratio(figure.ratio)


def pair_notes(comparison: PairComparison) -> list[str]:
    """What the figures mean, what is missing in them, and the records' own doubts."""
    a, b = comparison.a, comparison.b
    notes = [*_about_the_ratio(comparison)]
    # A figure is of the runs that have it: of repeats, one with enough steps will do.
    steps = [
        max(len(record.throughput.step_times_s) for record in runs)
        for runs in (comparison.runs_a, comparison.runs_b)
    ]
    short = [
        f"p{pct} needs {MIN_SAMPLES[pct]}" for pct in (90, 99) if min(steps) < MIN_SAMPLES[pct]
    ]
    if short:
        notes.append(
            f"{NOT_AVAILABLE} too few steps for a percentile (n={steps[0]} and {steps[1]}; "
            f"{', '.join(short)}); a larger --min-seconds takes more."
        )
    known = [
        f"{letter} {' to '.join(map(format_percent, scored[0].top1_interval))} "
        f"(n={scored[0].num_samples:,})"
        for letter, runs in (("A", comparison.runs_a), ("B", comparison.runs_b))
        if (scored := median_hits(runs))
    ]
    if known:
        notes.append(f"Top-1, 95 %: {', '.join(known)}.")
    references = {record.parity.reference for record in (a, b) if record.parity}
    if references:
        own = [x for x, r in (("A", a), ("B", b)) if r.parity and r.parity.is_reference]
        notes.append(
            f"Agreement: top-1 predictions equal to those of {' or '.join(sorted(references))} in "
            f"float32" + (f", which is {own[0]} itself." if len(own) == 1 else ".")
        )
    missing = [figure.column.heading for figure in comparison.figures if _is_missing(figure)]
    if missing:
        notes.append(f"In neither record: {', '.join(missing)}.")
    return notes + _doubts(comparison)


def _about_the_ratio(comparison: PairComparison) -> list[str]:
    """What the ratio is of, and what its interval does not have."""
    if comparison.has_repeats:
        num = [len(runs) for runs in (comparison.runs_a, comparison.runs_b)]
        single = "" if min(num) > 1 else " A single run is taken to scatter as the other side's do."
        return [
            f"Figures: medians of {num[0]} and {num[1]} runs. The ratio is of the geometric means "
            f"of the runs, each counted once: what differs from run to run is in the interval."
            f"{single}",
            "A and B were not interleaved: a drift that all runs of one side share is in no "
            "interval.",
        ]
    windows = [len(record.throughput.rates) for record in (comparison.a, comparison.b)]
    notes = []
    if max(windows) > 1:
        notes.append(
            f"Throughput: medians of {windows[0]} and {windows[1]} windows; the ratio is of their "
            f"geometric means, with Welch's interval."
        )
    notes.append(
        "One run a side, and not interleaved: what differs from run to run, and what the machine "
        "drifted in between, is in no interval. Repeat both, or use `fastbench run --ab`."
    )
    return notes


def _doubts(comparison: PairComparison) -> list[str]:
    """Failed gates, notes and doubts of the records, each once."""
    notes: dict[str, None] = {}
    for letter, runs in (("A", comparison.runs_a), ("B", comparison.runs_b)):
        for record in runs:
            if record.config.get("quick"):
                notes[f"{letter}: {FIRST_LOOK}"] = None
            for note in (*failures_of(record), *record.notes):
                notes[f"{letter}: {note}."] = None
    sides = {"A": comparison.runs_a, "B": comparison.runs_b}
    return [*notes, *doubts_of({side: [("", x) for x in runs] for side, runs in sides.items()})]


def doubts_of(sides: Mapping[str, Sequence[tuple[str, Record]]]) -> list[str]:
    """What puts figures of a side's records in doubt, each kind once.

    `sides` are its records by the side's letter, each with the name of its row, which may be empty.
    """
    return [
        f"{', '.join(filter(None, (letter, named[number][0])))}: {doubt.doubt}."
        for letter, named in sides.items()
        for number, doubt in worst_of([Row(record=record).doubts for _, record in named])
    ]
