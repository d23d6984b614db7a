"""`fastbench compare`: two records as one screen, what differs before what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbench.comparing import Comparison, Difference, Figure, compare, format_ratio, slowdown
from fastbench.errors import RecordError, UsageError
from fastbench.pairing import Pair, pair_up
from fastbench.stats import MIN_SAMPLES
from fastbench.units import (
    NOT_AVAILABLE,
    format_milliseconds,
    format_percent,
    format_points,
    format_rate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastbench.results import Record

__all__ = ["compare_files", "render"]

EXIT_SLOWER = 1


def compare_files(
    a: Path, b: Path, *, fail_below: float | None = None, allow_unlike: bool = False
) -> tuple[int, list[str]]:
    """Print the comparison of two files or folders; the exit code, and what to complain of.

    The code is 1 where a record of `b` is slower than `fail_below` of its partner, and 2, which
    outweighs it, where that cannot be judged. Raises `UsageError` for a `fail_below` that cannot
    be, `RecordError` as `pair_up` does, and for a record whose figures cannot be.
    """
    if fail_below is not None and not 0 < fail_below < float("inf"):
        raise UsageError(f"--fail-below is {fail_below}. Give a ratio above 0, such as 0.95.")
    found = pair_up(a, b)
    console = Console()
    codes, complaints = [0], []
    for number, pair in enumerate(found.pairs):
        comparison = _compare(pair)
        if number:
            console.rule(style="dim")
        console.print(render(comparison, str(pair.path_a), str(pair.path_b)))
        if fail_below is not None:
            code, why = _judge(comparison, fail_below, allow_unlike=allow_unlike)
            codes.append(code)
            complaints += [f"{pair.path_b}: {why}"] if why else []
    for path, other in [(x, b) for x in found.only_a] + [(x, a) for x in found.only_b]:
        complaints.append(f"{path} has no partner in {other}; it was not compared.")
    if fail_below is not None and found.only_a:
        # A row that is gone would pass else.
        codes.append(UsageError.exit_code)
    return max(codes), complaints


def _compare(pair: Pair) -> Comparison:
    try:
        return compare(pair.a, pair.b)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RecordError(
            f"{pair.path_a} and {pair.path_b} cannot be compared: one of them is damaged "
            f"({error}). Measure again."
        ) from error


def _judge(comparison: Comparison, fail_below: float, *, allow_unlike: bool) -> tuple[int, str]:
    if comparison.invalid:
        return (
            UsageError.exit_code,
            f"It cannot be judged: {comparison.invalid[0]}. Measure again.",
        )
    if comparison.unlike and not allow_unlike:
        names = ", ".join(difference.name for difference in comparison.unlike)
        return (
            UsageError.exit_code,
            f"It cannot be judged: the records differ in {names}. Measure them alike, or judge "
            f"all the same with --allow-unlike.",
        )
    why = slowdown(comparison, fail_below)
    return (EXIT_SLOWER, why) if why else (0, "")


def render(comparison: Comparison, name_a: str, name_b: str) -> RenderableType:
    """The comparison of two records, by the names of their files; fits 80 columns."""
    parts: list[RenderableType] = [_head(comparison, name_a, name_b)]
    if comparison.invalid:
        parts += ["", *(_hanging("!", reason, "bold red") for reason in comparison.invalid)]
    if comparison.unlike:
        parts += ["", _differences("UNLIKE", comparison.unlike, style="red")]
        parts.append(Text("Figures of unlike records do not compare.", style="red"))
    if comparison.changed:
        parts += ["", _differences("what changed", comparison.changed)]
    elif not comparison.unlike:
        parts += ["", Text("Nothing differs in configuration and environment.", style="dim")]
    parts += ["", _figures(comparison), ""]
    parts += [_hanging("·", note, "dim") for note in _footnotes(comparison)]
    flags = ["INVALID"] * bool(comparison.invalid) + ["UNLIKE"] * bool(comparison.unlike)
    verdict = comparison.verdict
    said = f"not comparable ({', '.join(flags)}): {verdict}" if flags else verdict
    style = "bold red" if flags else "bold"
    return Group(*parts, "", _hanging("Verdict:", f"{said}.", style))


def _head(comparison: Comparison, name_a: str, name_b: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for letter, name, record in (("A", name_a, comparison.a), ("B", name_b, comparison.b)):
        grid.add_row(letter, Text.assemble((name, "bold"), "\n", (_about(record), "dim")))
    return grid


def _about(record: Record) -> str:
    gpus, cpu = record.environment.get("gpus", []), record.environment.get("cpu")
    machine = f"{cpu}, {record.environment.get('num_cores')} cores"
    if record.device != "cpu" and gpus:
        machine = gpus[0]["name"]
    compiled = ", compiled" if record.compile_mode else ""
    return (
        f"{record.model}, {record.loader}, {record.dtype}{compiled}, batch {record.batch_size} · "
        f"{machine} · {record.created[:16].replace('T', ' ')}"
    )


def _differences(title: str, differences: Sequence[Difference], style: str = "") -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), style=style, header_style="bold"
    )
    table.add_column(title, overflow="fold", style=style, header_style=f"bold {style}")
    for letter in "AB":
        table.add_column(letter, overflow="fold", style=style)
    for difference in differences:
        # As `Text`: in a plain string, brackets are rich's markup.
        cells = (difference.name, _text(difference.a), _text(difference.b))
        table.add_row(*map(Text, cells))
    return table


def _text(value: Any) -> str:
    if value is None:
        return NOT_AVAILABLE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figures(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("measured")
    table.add_column("", style="dim")
    for header in ("A", "B", "B against A"):
        table.add_column(header, justify="right", no_wrap=True)
    for figure in comparison.figures:
        if _is_missing(figure):
            continue
        change = _change(figure)
        if figure.name == "throughput":  # the one with an interval, as in the verdict
            change = format_ratio(comparison.ratio, comparison.interval)
        unit = {"s": "ms", "share": "%"}.get(figure.unit, figure.unit)
        values = _value(figure, figure.a), _value(figure, figure.b)
        table.add_row(figure.name, unit, *values, change)
    return table


def _is_missing(figure: Figure) -> bool:
    """Whether neither record has it; a step time is shown all the same, for it says why."""
    return figure.a is None and figure.b is None and not figure.name.startswith("step time")


def _value(figure: Figure, value: float | None) -> str:
    if value is None:
        return NOT_AVAILABLE
    if figure.unit == "share":
        return format_percent(value)
    return format_milliseconds(value) if figure.unit == "s" else format_rate(value)


def _change(figure: Figure) -> str:
    if figure.difference is not None:
        return f"{format_points(figure.difference)} pt"
    return NOT_AVAILABLE if figure.ratio is None else format_ratio(figure.ratio)


def _footnotes(comparison: Comparison) -> list[str]:
    a, b = comparison.a, comparison.b
    windows = [len(record.throughput.rates) for record in (a, b)]
    notes = []
    if max(windows) > 1:
        notes.append(
            f"Throughput: medians of {windows[0]} and {windows[1]} windows; the ratio is of their "
            f"geometric means, with Welch's interval."
        )
    notes.append(
        "A and B were not interleaved: what the machine drifted in between is in no interval."
    )
    steps = [len(record.throughput.step_times_s) for record in (a, b)]
    short = [
        f"p{pct} needs {MIN_SAMPLES[pct]}" for pct in (90, 99) if min(steps) < MIN_SAMPLES[pct]
    ]
    if short:
        notes.append(
            f"{NOT_AVAILABLE} too few steps for a percentile (n={steps[0]} and {steps[1]}; "
            f"{', '.join(short)})."
        )
    known = [
        f"{letter} {' to '.join(map(format_percent, record.accuracy.top1_interval))} "
        f"(n={record.accuracy.num_samples:,})"
        for letter, record in (("A", a), ("B", b))
        if record.accuracy
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
    missing = [figure.name for figure in comparison.figures if _is_missing(figure)]
    if missing:
        notes.append(f"In neither record: {', '.join(missing)}.")
    for letter, record in (("A", a), ("B", b)):
        if record.config.get("quick"):
            notes.append(f"{letter} was measured with --quick: a first look, not a result.")
        notes.extend(f"{letter}: {note}." for note in (*record.failures, *record.notes))
    return notes


def _hanging(mark: str, text: str, style: str) -> Table:
    """A paragraph whose further lines are indented below its first word."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style=style)
    grid.add_column(style=style, overflow="fold")
    grid.add_row(mark, Text(text))
    return grid
