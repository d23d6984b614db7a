"""What a run under load did, in words: its search, where the time went, its slowest query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core.units import (
    and_more,
    counted,
    format_milliseconds,
    format_percent,
    format_quantity,
    format_rate,
    format_seconds,
)
from fastbench.records.load import OFFLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.records.load import LoadRecord, LoadRun, Parts

PARTS: Final = {
    "issue": "load generator",
    "queue": "queue",
    "decode": "decode",
    "batch": "batch wait",
    "model": "model",
    "answer": "answer",
}
"""The parts of a query's time, as they are called."""
_PLACES: Final = ("p50", "p99")
_LEAST: Final = 0.005
"""Smaller shares are not named."""
_MOST_NAMED: Final = 3
_MOST_SIZES: Final = 8


def load_in_words(record: LoadRecord) -> list[tuple[str, str]]:
    """What is known by topic, `(topic, words)`."""
    found = [
        ("search", _search(record)),
        ("run", "; ".join(_run(record))),
        ("time", "; ".join(_time(record))),
        ("batches", _batches(record)),
        ("slowest", _slowest(record)),
        ("failed", _failed(record)),
        ("predictions", "; ".join(_predictions(record))),
    ]
    return [(topic, words) for topic, words in found if words]


def _search(record: LoadRecord) -> str:
    if (ended := record.search_ended) is None:
        return ""
    tried = [run for run in record.by_rate if run.purpose == "search"]
    num_long = len(record.runs) - len(tried)
    parts = []
    if tried:
        num_held = sum(record.limit is not None and run.holds(record.limit) for run in tried)
        rates = " to ".join(dict.fromkeys((_rate(tried[0]), _rate(tried[-1]))))
        parts.append(
            f"{counted(len(tried), 'short run')} at {rates} queries/s, {num_held} of them within "
            f"the limit"
        )
    parts += [counted(num_long, "long run")] if num_long else []
    tolerance = record.rate_tolerance
    to = f" (tolerance {100 * tolerance:g} %)" if tolerance else ""
    return f"{' and '.join(parts)}; {ended}{to}"


def _rate(run: LoadRun) -> str:
    return format_quantity(run.offered_per_s or 0.0)


def _run(record: LoadRecord) -> Iterator[str]:
    run = record.result
    asked = "" if run.offered_per_s is None else f" at {_rate(run)}/s"
    images = "" if run.num_images == run.num_queries else f", {counted(run.num_images, 'image')}"
    confirms = ", to confirm" if run.purpose == "confirm" else ""
    queries = counted(run.num_queries, "query", "queries")
    yield f"{queries}{asked}{images} in {format_seconds(run.wall_s)}{confirms}"
    if run.num_over is not None and record.limit is not None:
        share = format_percent(run.num_over / run.num_queries)
        yield f"{run.num_over:,} ({share} %) took longer than {1000 * record.limit.seconds:g} ms"
    if run.early_stopping_s is not None:
        yield (
            f"LoadGen's estimate, with 99 % confidence, of the percentile that it judges by: "
            f"{format_milliseconds(run.early_stopping_s)} ms"
        )
    if run.num_turned_away:
        waiting = f"{record.max_queued:,} were waiting"
        yield f"{run.num_turned_away:,} turned away, for {waiting}"


def _time(record: LoadRecord) -> Iterator[str]:
    """The shares of the parts of the queries around the median and the 99th percentile."""
    places = _PLACES if record.scenario != OFFLINE else ("all",)
    for name in places:
        if (its := record.parts.get(name)) is not None:
            where = f"at {name}" if name in _PLACES else "in the mean"
            at = f"{where} ({format_milliseconds(its.total_s)} ms)"
            yield f"{at} {shares_in_words(its)}"


def shares_in_words(parts: Parts) -> str:
    """`queue 2 %, model 60 %`, in the order in which a query goes through them."""
    total_s = parts.total_s or 1.0
    shares = {PARTS[name]: seconds / total_s for name, seconds in parts.by_name.items()}
    return ", ".join(f"{x} {100 * share:.0f} %" for x, share in shares.items() if share >= _LEAST)


def _batches(record: LoadRecord) -> str:
    num = sum(record.batches.values())
    if len(record.batches) < 2:
        return ""
    often = sorted(record.batches.items(), key=lambda size: -size[1])
    sizes = [f"{size} ({100 * n / num:.0f} %)" for size, n in often if n >= _LEAST * num]
    return f"{num:,}; most often of {and_more(sizes, _MOST_SIZES)}"


def _slowest(record: LoadRecord) -> str:
    if not record.slowest or record.scenario == OFFLINE:
        return ""
    query = record.slowest[0]
    return (
        f"{query.name}, {format_milliseconds(query.latency_s)} ms, "
        f"{format_seconds(query.arrived_s)} after the first: {shares_in_words(query.parts)}"
    )


def _failed(record: LoadRecord) -> str:
    named = [f"{x.name} ({counted(x.count, 'query', 'queries')}): {x.why}" for x in record.failed]
    return and_more(named, _MOST_NAMED)


def _predictions(record: LoadRecord) -> Iterator[str]:
    if (served := record.served) is not None:
        hits = "" if served.top1_correct is None else f"{served.top1_correct:,} hits of "
        yield f"{hits}{served.num_images:,} images served, {served.num_changed:,} changed"
    if record.accuracy is not None:
        accuracy = record.accuracy
        yield (
            f"each image once: {accuracy.top1_correct:,} hits among {accuracy.num_samples:,}, "
            f"{format_percent(accuracy.top1)} %"
        )
    if record.parity is not None and not record.parity.is_reference:
        parity = record.parity
        yield (
            f"{parity.num_agreeing:,} of {parity.num_samples:,} agree with {parity.reference} "
            f"in float32"
        )


def answered_in_words(record: LoadRecord) -> str:
    """The figure of a row in a line: `441 queries/s within 15 ms at p99`, `p90 8.06 ms`."""
    run = record.result
    if record.latency_bounded_per_s is not None:
        return f"{format_rate(record.latency_bounded_per_s)} queries/s within {record.limit}"
    if record.scenario == OFFLINE:
        return f"{format_rate(run.completed_per_s)} images/s"
    shown = format_milliseconds(run.percentile_s(90))
    return f"p90 {shown} ms, {format_rate(run.completed_per_s)} images/s"
