"""All that a row's panel on the page says: how it ran, on what, with which settings, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import (
    counted,
    format_milliseconds,
    format_percent,
    format_points,
    format_rate,
    format_seconds,
    format_value,
)
from fastbench.records.facts import FACTS, MACHINE, OF_OPTIONS, PACKAGES, PREPROCESS, images_of
from fastbench.records.gates import compare_pixels

if TYPE_CHECKING:
    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row

__all__ = ["panel_of"]

_HARDWARE: Final = ("cpu", "cores", "memory", "os", "power-limit")


def panel_of(row: Row) -> list[tuple[str, str]]:
    """What is known of a row by topic, `(topic, words)`; what is not known is not said."""
    facts = [
        ("how it ran", "" if row.invalid else _how_it_ran(row.record)),
        ("predictions", "" if row.invalid else _predictions(row.record)),
        ("configuration", _configuration(row.record)),
        ("loader", _settings(row.record)),
        ("images", _images(row.record)),
        ("machine", _machine(row.record)),
        ("software", _software(row.record)),
        ("measured", f"{row.record.created}, {row.record.command}"),
        ("file", str(row.path)),
    ]
    return [(topic, words) for topic, words in facts if words]


def _how_it_ran(record: Record) -> str:
    throughput, warm_up, telemetry = record.throughput, record.warm_up, record.telemetry
    facts = [record.bound_in_words] if record.bound_in_words else []
    rates = ", ".join(map(format_rate, throughput.rates))
    facts.append(f"{'windows' if len(throughput.rates) > 1 else 'one window'} of {rates} images/s")
    steps = counted(len(throughput.step_times_s), "step")
    facts.append(f"{steps} in {format_seconds(throughput.wall_s)}")
    if throughput.stall_share is not None:
        facts.append(f"{100 * throughput.stall_share:.0f} % of the time waiting for the loader")
    facts.append(
        f"warm-up of {warm_up.num_batches:,} batches in {format_seconds(warm_up.wall_s)}, "
        f"first batch after {format_seconds(warm_up.first_batch_s)}"
    )
    if record.compilation:
        made = record.compilation
        facts.append(
            f"compiled in {format_seconds(warm_up.compile_s)}: graphs {made.num_graphs}, graph "
            f"breaks {made.num_graph_breaks}, recompilations {made.num_recompiles}"
        )
    if telemetry is not None:
        facts.append(f"{telemetry.cpu_s_per_1000_images:.2f} CPU seconds for 1,000 images")
        if telemetry.watts is not None and telemetry.images_per_joule is not None:
            facts.append(
                f"{telemetry.watts:.0f} W, {format_rate(telemetry.images_per_joule)} images/J"
            )
    facts += [
        f"latency of a batch of {latency.batch_size}: {format_milliseconds(latency.median_s)} ms "
        f"(n={len(latency.samples_s)})"
        for latency in (record.latency, *record.other_latencies)
    ]
    return "; ".join(facts)


def _predictions(record: Record) -> str:
    accuracy, parity, facts = record.accuracy, record.parity, []
    if accuracy:
        facts.append(
            f"{accuracy.top1_correct:,} and {accuracy.top5_correct:,} hits of top-1 and top-5 "
            f"among {accuracy.num_samples:,}"
        )
    else:
        facts.append(f"no accuracy: {record.labels.removeprefix('no labels: ')}")
    if record.published:
        facts.append(f"published top-1 {format_percent(record.published.top1)} %")
    if parity and parity.is_reference:
        facts.append("the reference")
    elif parity:
        facts.append(
            f"{parity.num_agreeing:,} of {parity.num_samples:,} agree with {parity.reference}"
        )
        if parity.accuracy_difference is not None:
            facts.append(f"Δ top-1 {format_points(parity.accuracy_difference)} points")
        if pixels := parity.pixels:
            facts.append(
                f"pixels {compare_pixels(pixels)}: {pixels.max_levels:.3g} levels apart at most, "
                f"{pixels.mean_levels:.3g} in the mean"
            )
            facts += [f"probable cause: {pixels.cause}"] if pixels.cause else []
    return "; ".join([*facts, *record.notes])


def _configuration(record: Record) -> str:
    names = [
        *("model", "weights", "dtype", "batch", "compile", "threads"),
        *(*PREPROCESS, *(fact.name for fact in OF_OPTIONS)),
    ]
    return _in_words(record, *names)


def _in_words(record: Record, *names: str) -> str:
    return ", ".join(filter(None, (FACTS[name].text(record) for name in names)))


def _settings(record: Record) -> str:
    tried = f"; {counted(len(record.tuning), 'setting')} tried" if record.tuning else ""
    return ", ".join(filter(None, (record.loader, _listed(record.loader_settings)))) + tried


def _images(record: Record) -> str:
    data = record.data
    parts = [*images_of(record), _in_words(record, "digest", "page-cache")]
    if skipped := data.get("skipped"):
        parts.append(f"{len(skipped):,} skipped")
    return ", ".join(filter(None, [*parts, data.get("root")]))


def _machine(record: Record) -> str:
    names = _HARDWARE if record.device == "cpu" else ("device", *_HARDWARE)
    return _in_words(record, *names)


def _software(record: Record) -> str:
    facts = (name for name, fact in FACTS.items() if fact.topic == MACHINE)
    others = record.environment.get("packages", {}).items()
    return ", ".join(
        [
            _in_words(record, *(name for name in facts if name not in _HARDWARE)),
            *(f"{name} {version}" for name, version in others if version and name not in PACKAGES),
        ]
    )


def _listed(settings: dict[str, Any]) -> str:
    return format_value(settings) if settings else ""
