"""One table from records: a row a record, what it measured above, how sure it is below.

What all rows share stands above the table; what a figure means and what is missing stands below.
Nothing is measured or read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fastbench.core.stats import MIN_SAMPLES
from fastbench.core.units import (
    NOT_AVAILABLE,
    format_bytes,
    format_milliseconds,
    format_percent,
    format_points,
    format_quantity,
    format_rate,
)
from fastbench.records.advice import advise_all
from fastbench.records.facts import compilation, device_name
from fastbench.records.gates import FULL_SET, failures_of, gate_in_words, judge_parity
from fastbench.records.validity import find_contradictions
from fastbench.report.formats.terminal import wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from fastbench.records.accuracy import Accuracy, Parity
    from fastbench.records.record import Record
    from fastbench.records.speed import Throughput

__all__ = ["NARROWEST", "render"]

NARROWEST: Final = 80
"""Columns without which figures would be cut short."""


def render(records: Sequence[Record]) -> RenderableType:
    """The table of some records, with its conditions and footnotes; fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("loader")
    for header in (
        "images/s\nof ceiling",
        "step p50 ms\np90 / p99",
        "latency\nms",
        "top-1 %\n95 % CI",
        "top-5 %\n95 % CI",
        "agree %\nΔ top-1",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    varying = _varying(records)
    for record in records:
        accuracy = record.accuracy
        table.add_row(
            _Name(record.loader, " ".join(_condition(record, name) for name in varying)),
            _throughput(record),
            _step_times(record.throughput),
            _lines(
                format_milliseconds(record.latency.median_s), f"n={len(record.latency.samples_s)}"
            ),
            _share(accuracy, 1),
            _share(accuracy, 5),
            _parity(record.parity),
        )
    return Group(
        *(_conditions(records, varying), "", table, "", _facts(records, varying), ""),
        *_footnotes(records, varying),
        *_advice(records, varying),
    )


_MOST_NAMED = 3
_WIDEST_NAME = 32
MOST_ADVICE = 3

_CONDITIONS = ("model", "device", "dtype", "batch_size", "compile", "num_threads")


def _condition(record: Record, name: str) -> str:
    if name == "compile":
        return compilation(record.compile_mode)
    if name == "model":
        return (
            record.model if record.weights == "embedded" else f"{record.model} ({record.weights})"
        )
    if name == "num_threads":
        return f"{record.num_threads} threads"
    return f"batch {record.batch_size}" if name == "batch_size" else str(getattr(record, name))


def _varying(records: Sequence[Record]) -> list[str]:
    return [
        name for name in _CONDITIONS if len({_condition(record, name) for record in records}) > 1
    ]


def _conditions(records: Sequence[Record], varying: list[str]) -> Text:
    """The lines above the table: the data, what every row has in common, and the models' sizes."""
    first = records[0]
    shared = {name: _condition(first, name) for name in _CONDITIONS if name not in varying}
    threads = shared.pop("num_threads", None)
    data = first.data
    mean = format_bytes(data["num_bytes"] / data["num_samples"])
    machine = device_name(first) or f"unknown {first.device.partition(':')[0]}"
    where = [machine, f"{first.environment['num_cores']} cores", *([threads] if threads else [])]
    return Text.assemble(
        (f"{data['num_samples']:,} JPEGs, {mean} each · {', '.join(shared.values())}\n", "bold"),
        (" · ".join(where), "dim"),
        *((f"\n{line}", "dim") for line in dict.fromkeys(map(_size, records)) if line),
    )


def _size(record: Record) -> str:
    """A model's parameters and arithmetic, where they are known."""
    sizes = []
    if record.num_parameters is not None:
        sizes.append(f"{format_quantity(record.num_parameters / 1e6)} M parameters")
    if record.num_macs is not None:
        sizes.append(f"{format_quantity(record.num_macs / 1e9)} GMACs an image")
    return f"{record.model}: {', '.join(sizes)}" if sizes else ""


@dataclass(frozen=True)
class _Name:
    """What a row is told by. It breaks within words too, which rich does anywhere in them."""

    above: str
    below: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max(map(len, (self.above, self.below)))
        return Measurement(1, longest).clamp(max_width=options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        yield _lines(*("\n".join(wrap(text, width)) for text in (self.above, self.below)))


def _lines(above: str, below: str) -> Text:
    return Text.assemble(above, "\n", (below, "dim"))


def _throughput(record: Record) -> Text:
    if find_contradictions(record):
        return _lines("INVALID", format_rate(record.throughput.images_per_s))
    efficiency = record.overlap_efficiency
    below = "" if efficiency is None else f"{100 * efficiency:.0f}% {record.bound}"
    return _lines(format_rate(record.throughput.images_per_s), below)


def _step_times(throughput: Throughput) -> Text:
    p50, p90, p99 = (format_milliseconds(throughput.step_time_s(pct)) for pct in (50, 90, 99))
    return _lines(p50, f"{p90} / {p99}")


def _share(accuracy: Accuracy | None, k: int) -> Text:
    if accuracy is None:
        return _lines(NOT_AVAILABLE, "")
    share, interval = (
        (accuracy.top1, accuracy.top1_interval)
        if k == 1
        else (accuracy.top5, accuracy.top5_interval)
    )
    low, high = (f"{100 * bound:.1f}" for bound in interval)
    return _lines(format_percent(share), f"{low}–{high}")


def _parity(parity: Parity | None) -> Text:
    if parity is None:
        return _lines(NOT_AVAILABLE, "")
    if parity.is_reference:
        return _lines("reference", "")
    difference = parity.accuracy_difference
    below = NOT_AVAILABLE if difference is None else format_points(difference)
    if judge_parity(parity):
        below = f"FAIL {below}"
    return _lines(format_percent(parity.agreement), below)


def _who(record: Record, varying: Sequence[str]) -> str:
    """A row's name below the table: its model, its loader, and what else tells it apart."""
    others = [_condition(record, name) for name in varying if name != "model"]
    return " · ".join((record.model, record.loader, *others))


def _short(record: Record, records: Sequence[Record], varying: Sequence[str]) -> str:
    """A row's name without the model, where there is but one."""
    who = _who(record, varying)
    several = len({record.model for record in records}) > 1
    return who if several else who.removeprefix(f"{record.model} · ")


def _advice(records: Sequence[Record], varying: Sequence[str]) -> list[Text]:
    """The gravest doubts; an INVALID row's figures say nothing, and give reason for none."""
    valid = [record for record in records if not find_contradictions(record)]
    return [
        Text.assemble(("→ ", "bold"), f"{_who(record, varying)}: {advice}.")
        for record, advice in advise_all(valid, MOST_ADVICE)
    ]


def _facts(records: Sequence[Record], varying: Sequence[str]) -> Table:
    """A paragraph a row: what limits it, how far its windows differ, and what it took."""
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(overflow="fold", max_width=_WIDEST_NAME)  # timm's names are up to 60 long
    facts.add_column()
    for record in records:
        who = Text(_short(record, records, varying))
        facts.add_row(who, Text(_facts_of(record), style="dim"))
    return facts


def _facts_of(record: Record) -> str:
    throughput, telemetry = record.throughput, record.telemetry
    facts = [record.bound_in_words] if record.bound_in_words else []
    if len(throughput.rates) > 1:
        low, high = (format_rate(rate) for rate in (min(throughput.rates), max(throughput.rates)))
        facts.append(f"{len(throughput.rates)} windows {low} to {high} images/s")
    if throughput.stall_share is not None:
        facts.append(f"{100 * throughput.stall_share:.0f} % of the time waiting for the loader")
    if telemetry is not None:
        facts.append(f"{telemetry.cpu_s_per_1000_images:.2f} CPU seconds for 1,000 images")
        if telemetry.watts is not None and telemetry.images_per_joule is not None:
            facts.append(
                f"{telemetry.watts:.0f} W, {format_rate(telemetry.images_per_joule)} images/J"
            )
    if record.decodes:
        num_bytes = record.data["num_bytes"] / record.data["num_samples"] * throughput.images_per_s
        facts.append(f"{format_bytes(num_bytes)}/s of JPEG")
    for latency in record.other_latencies:
        median = format_milliseconds(latency.median_s)
        facts.append(f"latency of a batch of {latency.batch_size}: {median} ms")
    return "; ".join(facts)


def _skipped(records: Sequence[Record]) -> list[str]:
    """The files that no loader read, the first ones by name."""
    skipped = records[0].data.get("skipped", [])
    if not skipped:
        return []
    named = ", ".join(f"{file['name']} {file['why']}" for file in skipped[:_MOST_NAMED])
    more = len(skipped) - _MOST_NAMED
    rest = f", and {more:,} more that the record names" if more > 0 else ""
    return [f"Skipped by every loader: {named}{rest}."]


def _footnotes(records: Sequence[Record], varying: Sequence[str]) -> list[Text]:
    notes = []
    hits = {
        _short(record, records, varying): f"{found.top1_correct} / {found.top5_correct}"
        for record in records
        if (found := record.accuracy)
    }
    if hits:
        counts = ", ".join(map(" ".join, hits.items()))
        if len(hits) > 1 and len(set(hits.values())) == 1:
            scored = "" if len(hits) == len(records) else " that is scored"
            counts = f"{next(iter(hits.values()))} in every row{scored}"
        num = next(record.accuracy.num_samples for record in records if record.accuracy)
        notes.append(f"Hits top-1 / top-5 of n={num:,}: {counts}.")
    random = dict.fromkeys(r.model for r in records if r.weights == "none" and r.accuracy)
    notes.extend(f"{model}: its weights are random, so its accuracy is chance." for model in random)
    notes.extend(_skipped(records))
    reasons = dict.fromkeys(record.labels for record in records if record.accuracy is None)
    notes.extend(f"No accuracy: {reason.removeprefix('no labels: ')}." for reason in reasons)
    ceilings = {name for record in records for name in record.ceilings}
    if ceilings:
        alone = " or ".join(f"the {name} alone" for name in sorted(ceilings))
        slower = ", whichever is slower" if len(ceilings) > 1 else ""
        notes.append(f"Of ceiling: end to end over {alone}{slower}.")
    reference = next((r.parity.reference for r in records if r.parity), None)
    if reference is not None:
        notes.append(
            f"Agree: share of top-1 predictions equal to those of {reference} in float32; "
            f"Δ in percentage points."
        )
    for record in records:
        who = _who(record, varying)
        notes.extend(f"{who}: INVALID: {reason}." for reason in find_contradictions(record))
        if record.published and record.accuracy:
            difference = format_points(record.accuracy.top1 - record.published.top1)
            gate = f"gate: {gate_in_words(record.tolerance)}"
            if record.accuracy.num_samples != FULL_SET:
                gate = f"judged on all {FULL_SET:,} images only"
            notes.append(
                f"{who}: published top-1 {format_percent(record.published.top1)}, "
                f"measured {format_percent(record.accuracy.top1)}, {difference} points ({gate})."
            )
        notes.extend(f"{who}: FAIL: {failure}." for failure in failures_of(record))
        if record.parity and record.parity.pixels and record.parity.pixels.cause:
            notes.append(f"{who}: probable cause: {record.parity.pixels.cause}.")
    fewest = min(len(record.throughput.step_times_s) for record in records)
    short = [f"p{pct} needs {MIN_SAMPLES[pct]}" for pct in (90, 99) if fewest < MIN_SAMPLES[pct]]
    if short:
        notes.append(
            f"{NOT_AVAILABLE} too few steps for a percentile (n={fewest}; {', '.join(short)}): "
            f"raise --min-seconds."
        )
    notes.extend(f"{_who(r, varying)}: {note}." for r in records for note in r.notes)
    if any(record.config["quick"] for record in records):
        notes.append("Measured with --quick: a first look, not a result.")
    return [Text(note, style="dim") for note in notes]
