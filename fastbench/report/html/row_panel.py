"""What a row's panel on the page says: how it ran, on what, with which settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.units import counted, format_seconds, format_value
from fastbench.data.folder_tree import in_words
from fastbench.records.fact_values import images_of
from fastbench.records.facts import FACTS, MACHINE, OF_OPTIONS, PACKAGES, PREPROCESS
from fastbench.report.sheet.engine_in_words import engine_in_words
from fastbench.report.sheet.ranks_in_words import list_ranks
from fastbench.report.sheet.row_in_words import how_it_ran, predictions, size_of_model

if TYPE_CHECKING:
    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row

_HARDWARE: Final = (
    *("cpu", "cores", "affinity", "cpu-quota", "governor", "instruction-set"),
    *("memory", "os", "power-limit"),
)


def panel_of(row: Row) -> list[tuple[str, str]]:
    """What is known of a row by topic, `(topic, words)`; what is not known is not said."""
    facts = [
        ("how it ran", "" if row.invalid else how_it_ran(row)),
        ("ranks", "" if row.invalid else list_ranks(row.record)),
        ("predictions", "" if row.invalid else predictions(row)),
        ("notes", "; ".join(row.record.notes)),
        ("configuration", _configuration(row)),
        *engine_in_words(row.record),
        ("loader", _settings(row.record)),
        ("images", _images(row.record)),
        ("machine", _machine(row.record)),
        ("software", _software(row.record)),
        ("measured", f"{row.record.created}, {row.record.command}"),
        ("file", str(row.path)),
    ]
    return [(topic, words) for topic, words in facts if words]


def _configuration(row: Row) -> str:
    names = [
        *("model", "weights", "dtype", "engine", "batch", "quantize", "ranks"),
        *("threads", "engine-threads", "matmul-precision"),
        *(*PREPROCESS, *(fact.name for fact in OF_OPTIONS)),
    ]
    size = size_of_model(row)
    return ", ".join(filter(None, (_in_words(row.record, *names), size)))


def _in_words(record: Record, *names: str) -> str:
    return ", ".join(filter(None, (FACTS[name].text(record) for name in names)))


def _settings(record: Record) -> str:
    tried = f"; {counted(len(record.tuning), 'setting')} tried" if record.tuning else ""
    if record.tuning_s is not None:
        tried += f" in {format_seconds(record.tuning_s)}"
    settings = format_value(record.loader_settings) if record.loader_settings else ""
    return ", ".join(filter(None, (record.loader, settings))) + tried


def _images(record: Record) -> str:
    data = record.data
    parts = [*images_of(record), _in_words(record, "digest", "page-cache")]
    if skipped := data.get("skipped"):
        parts.append(f"{len(skipped):,} skipped")
    if not_used := data.get("not_used"):
        parts.append(f"{in_words(not_used)} not used")
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
