"""What executed a row's model, in words: its settings, its setup, and whether it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastbench.core.units import (
    counted,
    format_bytes,
    format_quantity,
    format_seconds,
    format_value,
)
from fastbench.records import fact_values
from fastbench.records.facts import FACTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.records.record import Record


def engine_in_words(record: Record) -> list[tuple[str, str]]:
    """What is known by topic, `(topic, words)`: engine, calibration, program; none for eager."""
    found = [
        ("engine", "; ".join(_engine(record))),
        ("calibration", _calibration(record)),
        ("program", _program(record)),
    ]
    return [(topic, words) for topic, words in found if words]


def _engine(record: Record) -> Iterator[str]:
    if (engine := record.engine) is None:
        return
    names = [FACTS[name].text(record) for name in ("engine", "quantize")]
    yield ", ".join(filter(None, names)) or "its own"
    if engine.settings:
        yield format_value(engine.settings)
    if engine.setup_s:
        steps = [f"{name} {format_seconds(seconds)}" for name, seconds in engine.setup_s.items()]
        yield f"ready in {format_seconds(sum(engine.setup_s.values()))} ({', '.join(steps)})"
    if num_bytes := fact_values.weights_bytes(record):
        yield f"{format_bytes(num_bytes)} of weights"


def _calibration(record: Record) -> str:
    if (used := record.calibration) is None:
        return ""
    images = counted(len(used.names), "image")
    return f"{images} of {used.root}, read by {used.loader} and not scored"


def _program(record: Record) -> str:
    """How the program compares with the eager model, before it was quantised."""
    if (check := record.program) is None:
        return ""
    before = " before it was quantised" if fact_values.is_quantized(record) else ""
    cause = f"; {check.cause}" if check.cause else ""
    return (
        f"top-1 agrees with eager's{before} on {check.num_agreeing:,} of {check.num_samples:,} "
        f"images in {check.dtype}, logits differ by {_logits(check.max_logits)} at most and spread "
        f"by {_logits(check.spread)}{cause}"
    )


def _logits(value: float) -> str:
    return f"{value:.1e}" if 0 < value < 1e-3 else format_quantity(value)
