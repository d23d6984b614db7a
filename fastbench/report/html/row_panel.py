"""All that a row's panel on the page says: how it ran, on what, with which settings, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import NOT_AVAILABLE, counted, format_bytes
from fastbench.records.differences import short_commit
from fastbench.report.sheet.row_in_words import how_it_ran, predictions, size_of_model

if TYPE_CHECKING:
    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row

__all__ = ["panel_of"]

_DIGEST_DIGITS: Final = 10


def panel_of(row: Row) -> list[tuple[str, str]]:
    """What is known of a row by topic, `(topic, words)`; what is not known is not said."""
    facts = [
        ("how it ran", "" if row.invalid else how_it_ran(row)),
        ("predictions", "" if row.invalid else predictions(row)),
        ("notes", "; ".join(row.record.notes)),
        ("configuration", _configuration(row)),
        ("loader", _settings(row.record)),
        ("images", _images(row.record)),
        ("machine", _machine(row)),
        ("software", _software(row)),
        ("measured", f"{row.record.created}, {row.record.command}"),
        ("file", str(row.path)),
    ]
    return [(topic, words) for topic, words in facts if words]


def _configuration(row: Row) -> str:
    record, size = row.record, size_of_model(row)
    resized = _listed(record.preprocess)
    parts = [
        f"{record.model} ({record.weights})",
        *([size] if size else []),
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
        parts.append("1 class" if classes == 1 else f"{classes:,} classes")
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
