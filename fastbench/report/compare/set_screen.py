"""Two sets of `fastbench compare` as a screen: what differs, then a line a pair.

Wide screens have the throughputs as well, narrow ones fewer figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbench.core.units import NOT_AVAILABLE, counted, format_points, format_quantity, span
from fastbench.records.naming import full_name
from fastbench.report.compare.pair_comparison import (
    EQUAL,
    FASTER,
    INVALID_PAIR,
    SLOWER,
    UNLIKE,
    UNSURE,
    PairComparison,
    format_ratio,
)
from fastbench.report.compare.pair_screen import (
    NOTHING_DIFFERS,
    doubts_of,
    head,
    table_of_differences,
)
from fastbench.report.formats.terminal import paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.report.compare.pairing import Lone
    from fastbench.report.compare.set_comparison import (
        ComparedPair,
        SetComparison,
        SharedDifference,
    )

WIDE: Final = 100
"""From here on there is room for the throughputs and the number of runs."""

COLUMNS: Final = (
    *("B / A", "95 %", "verdict", "Δ top-1", "agree %", "images/J"),
    *("A images/s", "B images/s", "runs"),
)
_NARROW: Final = COLUMNS[:6]
_DROPPED: Final = ("images/J", "agree %", "Δ top-1", "95 %")
"""What goes first where a screen is narrower than 80 columns."""
_LEAST_LABEL: Final = len("configuration")

WORSE: Final = " !"
REFERENCE: Final = "(ref)"

_STYLES: Final = {
    SLOWER: "bold red",
    FASTER: "bold green",
    UNLIKE: "yellow",
    INVALID_PAIR: "bold red",
    UNSURE: "yellow",
    EQUAL: "",
}


def render(found: SetComparison, width: int, sort: str = "ratio") -> RenderableType:
    """The comparison of two sets; fits 80 columns, and uses more."""
    spans = [span_of(found, side) for side in "ab"]
    parts: list[RenderableType] = [head([found.name_a, found.name_b], spans, "  ")]
    parts += ["", Text(f"{found.summary}.", style="bold"), ""]
    if differences := named_differences(found):
        parts.append(table_of_differences("what differs", differences))
    else:
        parts.append(Text(NOTHING_DIFFERS, style="dim"))
    rows = found.sorted_rows(sort)
    columns = _fitting(rows, used_columns(rows, COLUMNS if width >= WIDE else _NARROW), width)
    parts += ["", Text(" · ".join(found.shared), style="bold"), _table(rows, columns), ""]
    parts += paragraphs("!", alarms(rows), "red", width)
    parts += only_on_one_side(found, width)
    parts += paragraphs("·", set_notes(found, columns), "dim", width)
    return Group(*parts)


def only_on_one_side(found: SetComparison, width: int) -> Iterator[Text]:
    """The configurations without a partner, a paragraph each."""
    for letter, only in (("A", found.only_a), ("B", found.only_b)):
        yield from paragraphs(f"only {letter}", map(lone_in_words, only), "yellow", width)


def span_of(found: SetComparison, side: str) -> str:
    """How many runs a side has, and when they were made."""
    records = found.records(side)
    dates = span([record.created[:16].replace("T", " ") for record in records])
    return f"{counted(len(records), 'run')} · {dates}"


def named_differences(found: SetComparison) -> list[tuple[str, object, object]]:
    """What is not the same: its name, with the number of rows if not all; A's value and B's."""

    def name(difference: SharedDifference) -> str:
        num = len(found.rows)
        scope = "" if difference.num_rows == num else f" ({difference.num_rows} of {num})"
        return difference.name + scope

    return [(name(x), x.a, x.b) for x in found.differences]


def _table(rows: Sequence[ComparedPair], columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("configuration", overflow="fold", min_width=_LEAST_LABEL)
    for column in columns:
        table.add_column(column, justify="left" if column == "verdict" else "right", no_wrap=True)
    for row in rows:
        cells = cells_of(row)
        style = "bold red" if row.worse else _STYLES[row.comparison.word]
        table.add_row(
            Text(row.label),
            *(
                Text(cells[column], style=style if column == "verdict" else "")
                for column in columns
            ),
        )
    return table


def used_columns(rows: Sequence[ComparedPair], columns: Sequence[str]) -> list[str]:
    """The columns in which a row has something; `runs` where a side has several."""
    cells = [cells_of(row) for row in rows]
    repeated = any(row.comparison.has_repeats for row in rows)
    return [
        column
        for column in columns
        if (
            repeated
            if column == "runs"
            else {x[column] for x in cells} - {NOT_AVAILABLE, REFERENCE}
        )
    ]


def _fitting(rows: Sequence[ComparedPair], columns: list[str], width: int) -> list[str]:
    """The columns that fit beside the labels, which may be folded."""
    cells = [cells_of(row) for row in rows]
    wide = {name: max(len(name), *(len(each[name]) for each in cells)) for name in columns}
    for name in _DROPPED:
        taken = sum(wide[each] + 1 for each in columns)
        if _LEAST_LABEL + 1 + taken > width:
            columns = [each for each in columns if each != name]
    return columns


def cells_of(row: ComparedPair) -> dict[str, str]:
    """A row's cells, by the name of the column."""
    comparison = row.comparison
    interval = comparison.interval or ()
    throughput, joule = comparison.figure("images/s"), comparison.figure("images/J")
    return {
        "B / A": _ratio(comparison.ratio),
        "95 %": "–".join(_ratio(bound)[:-1] for bound in interval) or NOT_AVAILABLE,
        "verdict": comparison.word + WORSE * bool(row.worse),
        "Δ top-1": _points(comparison),
        "agree %": _agreement(comparison),
        "images/J": NOT_AVAILABLE if joule.ratio is None else _ratio(joule.ratio),
        "A images/s": throughput.column.text(throughput.a),
        "B images/s": throughput.column.text(throughput.b),
        "runs": f"{len(comparison.runs_a)} + {len(comparison.runs_b)}",
    }


def _ratio(ratio: float) -> str:
    """Three decimals throughout, so that a column can be read downwards."""
    return f"{ratio:.3f}x" if ratio < 10 else format_ratio(ratio)


def _points(comparison: PairComparison) -> str:
    difference = comparison.figure("top-1").difference
    return NOT_AVAILABLE if difference is None else format_points(difference)


def _agreement(comparison: PairComparison) -> str:
    parity, figure = comparison.b.parity, comparison.figure("agreement")
    if parity is not None and parity.is_reference:
        return REFERENCE
    return figure.column.text(figure.b)


def alarms(rows: Sequence[ComparedPair]) -> list[str]:
    """What is wrong with rows, in words: INVALID, unlike, or worse predictions."""
    found = []
    for row in rows:
        comparison = row.comparison
        if comparison.invalid:
            found.append(f"{row.label}: {comparison.invalid[0]}.")
        elif comparison.unlike:
            names = ", ".join(difference.name for difference in comparison.unlike)
            found.append(f"{row.label}: UNLIKE in {names}; its figures do not compare.")
        else:
            found += [f"{row.label}: {worse}." for worse in row.worse]
    return found


def lone_in_words(lone: Lone) -> str:
    """A configuration without a partner, its files, and what differs in the nearest one."""
    return f"{full_name(lone.runs[0].record)} ({lone.files}); {lone.nearest}."


def set_notes(found: SetComparison, columns: Sequence[str]) -> list[str]:
    """What the columns mean, and what is not in the figures."""
    comparisons = [row.comparison for row in found.rows]
    repeated = [comparison.has_repeats for comparison in comparisons]
    notes = ["B / A: ratio of the throughputs, with its 95 % interval."]
    if any(repeated):
        notes.append(
            "Of repeats each run counts once: what differs from run to run is in the interval."
        )
    if not all(repeated):
        which = "Rows with one run a side" if any(repeated) else "One run a side"
        notes.append(
            f"{which}: the interval has the windows' scatter alone, not what differs from run to "
            f"run. Repeat both sides, three times or more."
        )
    notes.append("A drift that all runs of one side share is in no interval.")
    if any(comparison.word == EQUAL for comparison in comparisons):
        notes.append("equal: no difference found; the interval says how large one may be.")
    if any(comparison.word == UNSURE for comparison in comparisons):
        notes.append("unsure: one window has no interval; measure with --windows 3 or more.")
    num_judged = sum(comparison.word in (SLOWER, FASTER, EQUAL) for comparison in comparisons)
    if num_judged >= 10:
        notes.append(
            f"At 95 % one row in twenty looks faster or slower by chance: "
            f"{format_quantity(num_judged / 20)} of {num_judged:,} would."
        )
    if "Δ top-1" in columns:
        notes.append("Δ top-1: B less A, in percentage points.")
    if "agree %" in columns:
        notes.append(
            f"agree %: B's top-1 predictions equal to its reference's; {REFERENCE} is that itself."
        )
    if any(row.worse for row in found.rows):
        notes.append("!: predictions got worse beyond chance, as said above.")
    if "images/J" in columns:
        notes.append("images/J: ratio of the images for each joule of the GPU, B / A.")
    sides = {
        side.upper(): [(row.label, x.record) for row in found.rows for x in getattr(row.pair, side)]
        for side in "ab"
    }
    return [*notes, *(f"{text}." for text in found.mixed), *doubts_of(sides)]
