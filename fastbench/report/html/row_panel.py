"""All that a row's panel on the page says: how it ran, on what, with which settings, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import (
    NOT_AVAILABLE,
    counted,
    format_bytes,
    format_milliseconds,
    format_percent,
    format_points,
    format_rate,
    format_seconds,
)
from fastbench.records.differences import short_commit
from fastbench.records.gates import compare_pixels

if TYPE_CHECKING:
    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row

__all__ = ["panel_of"]

_DIGEST_DIGITS: Final = 10


def panel_of(row: Row) -> list[tuple[str, str]]:
    """What is known of a row by topic, `(topic, words)`; what is not known is not said."""
    facts = [
        ("how it ran", "" if row.invalid else _how_it_ran(row.record)),
        ("predictions", "" if row.invalid else _predictions(row.record)),
        ("configuration", _configuration(row.record)),
        ("loader", _settings(row.record)),
        ("images", _images(row.record)),
        ("machine", _machine(row)),
        ("software", _software(row)),
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
    resized = _listed(record.preprocess)
    parts = [
        f"{record.model} ({record.weights})",
        record.device,
        record.dtype,
        f"batch {record.batch_size}",
        f"compile={record.compile_mode}" if record.compile_mode else "eager",
        counted(record.num_threads, "thread"),
        *([f"preprocessing: {resized}"] if resized else []),
        *(["--quick"] if record.config.get("quick") else []),
    ]
    return ", ".join(parts)


def _settings(record: Record) -> str:
    tried = f"; {counted(len(record.tuning), 'setting')} tried" if record.tuning else ""
    return ", ".join(filter(None, (record.loader, _listed(record.loader_settings)))) + tried


def _images(record: Record) -> str:
    data = record.data
    parts = [counted(data["num_samples"], "JPEG")]
    if num_bytes := data.get("num_bytes"):
        parts.append(f"{format_bytes(num_bytes / data['num_samples'])} each")
    if classes := data.get("num_classes"):
        parts.append(counted(classes, "class", "classes"))
    if digest := data.get("digest"):
        parts.append(f"digest {digest[:_DIGEST_DIGITS]}")
    if state := data.get("page_cache"):
        parts.append(f"page cache {state}")
    if skipped := data.get("skipped"):
        parts.append(f"{len(skipped):,} skipped")
    return ", ".join([*parts, *filter(None, [data.get("root")])])


def _machine(row: Row) -> str:
    environment = row.record.environment
    memory, cores = environment.get("memory_bytes"), environment.get("num_cores")
    parts = [
        row.device if row.record.device != "cpu" else None,
        environment.get("cpu"),
        counted(cores, "core") if cores else None,
        format_bytes(memory) if memory else None,
        environment.get("os"),
    ]
    return ", ".join(filter(None, parts))


def _software(row: Row) -> str:
    environment = row.record.environment
    versions = {
        **environment.get("packages", {}),
        "driver": environment.get("driver"),
        "CUDA": environment.get("cuda"),
        "Python": environment.get("python"),
        "commit": short_commit(row.record),
    }
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_worded(value)}" for name, value in settings.items()
    )


def _worded(value: Any) -> str:
    if value is None:
        return NOT_AVAILABLE
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_worded, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
