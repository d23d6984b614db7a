"""How a row ran and what it predicted, in words: for a run's screen and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastbench.core.units import (
    counted,
    format_milliseconds,
    format_percent,
    format_points,
    format_rate,
    format_seconds,
)
from fastbench.records.fact_values import is_quantized
from fastbench.records.gates import FULL_SET, compare_pixels, gate_in_words
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.sheet.ranks_in_words import ranks_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row


def how_it_ran(row: Row) -> str:
    """What limited a row, how far its windows differ, and what it took."""
    record = row.record
    parts = [
        *_known(row, "verdict", "of-sharing"),
        *_windows(record),
        *ranks_in_words(row),
        *(_known(row, "padding") if record.throughput.padded_share else ()),
        *_known(row, "stall"),
        *_warm_up(record),
        *_known(row, "cpu-s", "watts", "images/J", "jpeg"),
        *(
            f"latency of a batch of {each.batch_size}: {format_milliseconds(each.median_s)} ms "
            f"(n={len(each.samples_s)})"
            for each in (record.latency, *record.other_latencies)
        ),
    ]
    return "; ".join(parts)


def size_of_model(row: Row) -> str:
    """The model's parameters and its arithmetic for an image, as far as they are known."""
    return ", ".join(_known(row, "parameters", "macs"))


def _known(row: Row, *names: str) -> list[str]:
    """These columns in words, where the row has a value for them."""
    columns = [COLUMNS[name] for name in names]
    return [
        column.in_words(value) for column in columns if (value := row.value(column)) is not None
    ]


def _windows(record: Record) -> list[str]:
    throughput = record.throughput
    rates = ", ".join(map(format_rate, throughput.rates))
    steps = counted(len(throughput.step_times_s), "step")
    reach = throughput.reach if record.config.get("max_interval") else None
    return [
        f"{'windows' if len(throughput.rates) > 1 else 'one window'} of {rates} images/s"
        + (f", ±{100 * reach:.1f} % (95 %)" if reach is not None else ""),
        f"{steps} in {format_seconds(throughput.wall_s)}",
    ]


def _warm_up(record: Record) -> Iterator[str]:
    warm_up, made = record.warm_up, record.compilation
    yield (
        f"warm-up of {warm_up.num_batches:,} batches in {format_seconds(warm_up.wall_s)}, "
        f"first batch after {format_seconds(warm_up.first_batch_s)}"
    )
    if made:
        yield (
            f"compiled in {format_seconds(warm_up.compile_s)}: graphs {made.num_graphs}, graph "
            f"breaks {made.num_graph_breaks}, recompilations {made.num_recompiles}"
        )


def predictions(row: Row) -> str:
    """How many predictions were right, and how many are the reference's."""
    record = row.record
    accuracy, parity = record.accuracy, record.parity
    parts = []
    if accuracy:
        hits, of = f"{accuracy.top1_correct:,}", "top-1"
        if accuracy.top5 is not None:
            hits, of = f"{hits} and {accuracy.top5_correct:,}", "top-1 and top-5"
        parts.append(f"{hits} hits of {of} among {accuracy.num_samples:,}")
        parts += _against_published(record)
    else:
        parts.append(f"no accuracy: {record.labels.removeprefix('no labels: ')}")
    if parity and parity.is_reference:
        parts.append("the reference")
    elif parity:
        parts.append(
            f"{parity.num_agreeing:,} of {parity.num_samples:,} agree with {parity.reference}"
        )
        if parity.accuracy_difference is not None:
            gate = f" (gate: {gate_in_words(record.tolerance)})" if is_quantized(record) else ""
            parts.append(f"Δ top-1 {format_points(parity.accuracy_difference)} points{gate}")
        if pixels := parity.pixels:
            parts.append(
                f"pixels {compare_pixels(parity)} in {parity.num_compared:,} images that were "
                f"compared: off by {parity.max_levels:.3g} of 255 levels at most, "
                f"{pixels.mean_levels:.3g} in the mean"
            )
            parts += [f"probable cause: {parity.cause}"] if parity.cause else []
    return "; ".join(parts)


def _against_published(record: Record) -> list[str]:
    """The published top-1, how far the measured one is from it, and whether that is judged."""
    if record.accuracy is None or record.published is None:
        return []
    published = record.published.top1
    gate = f"gate: {gate_in_words(record.tolerance)}"
    if is_quantized(record) and record.parity:
        gate = "no gate of a quantised row"
    elif record.accuracy.num_samples != FULL_SET:
        gate = f"judged on all {FULL_SET:,} images only"
    difference = format_points(record.accuracy.top1 - published)
    return [f"published top-1 {format_percent(published)} %: {difference} points ({gate})"]
