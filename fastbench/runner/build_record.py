"""One row of the table: the passes of a loader before a model, and the record made of them.

The session says what is run and in which order; `runner.py` has the timed loops themselves.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastbench.measure import machine
from fastbench.measure import passes as runner
from fastbench.measure.per_class import count_classes, count_confusions, running_values
from fastbench.records.accuracy import Accuracy, Parity, Published
from fastbench.records.record import UNREAD, Record
from fastbench.records.speed import (
    Ceiling,
    Compilation,
    Latency,
    Telemetry,
    Throughput,
    Trial,
    WarmUp,
)
from fastbench.records.store import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastbench.loaders.base import LoaderSpec, Setting
    from fastbench.measure.tally import Scores
    from fastbench.runner.prepare import Bench, Conditions

__all__ = ["Passes", "describe_run", "make_record"]


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What was measured of one row, before it becomes a record."""

    end_to_end: runner.EndToEnd
    scores: Scores
    loader_ceiling: Ceiling | None
    latencies: list[Latency]
    telemetry: Telemetry
    loader_start_s: float
    settings: dict[str, Setting]
    reads_images: bool
    repeatable: bool


def make_record(
    conditions: Conditions,
    bench: Bench,
    spec: LoaderSpec,
    passes: Passes,
    *,
    loader: str,
    scores: Scores,
    parity: Parity | None,
    published: Published | None,
    tuning: list[Trial],
    notes: list[str],
) -> Record:
    """All that is known of a row; `scores` are the timed pass's, or those of a pass apart."""
    measured = passes.end_to_end
    num_recompiles = bench.classifier.num_graphs()[0] - bench.num_graphs
    return Record(
        **describe_run(conditions, bench, loader, passes.settings),
        dtype=conditions.dtype,
        compile_mode=conditions.compile_mode,
        num_threads=spec.num_threads,
        labels=bench.labels.how if passes.reads_images else UNREAD,
        tuning=tuning,
        warm_up=WarmUp(
            model_load_s=bench.load_s,
            loader_start_s=passes.loader_start_s,
            compile_s=bench.compile_s,
            first_batch_s=measured.first_batch_s,
            num_batches=measured.warm_up_batches,
            wall_s=measured.warm_up_s,
        ),
        compilation=(
            Compilation(
                num_graphs=bench.num_graphs,
                num_graph_breaks=bench.num_graph_breaks,
                num_recompiles=num_recompiles,
            )
            if conditions.compile_mode
            else None
        ),
        throughput=Throughput(
            num_images=measured.num_images,
            num_epochs=measured.num_epochs,
            batch_size=conditions.batch_size,
            wall_s=measured.wall_s,
            step_times_s=measured.step_times_s,
            windows=measured.windows,
            is_settled=measured.is_settled,
        ),
        telemetry=passes.telemetry,
        loader_ceiling=passes.loader_ceiling,
        model_ceiling=bench.model_ceiling,
        latency=passes.latencies[0],
        other_latencies=passes.latencies[1:],
        accuracy=_accuracy(bench, scores, conditions) if passes.reads_images else None,
        published=published,
        parity=parity,
        notes=[*notes, *_doubts(passes), *bench.cost.notes],
        num_parameters=bench.cost.num_parameters,
        num_macs=bench.cost.num_macs,
    )


def describe_run(
    conditions: Conditions, bench: Bench, loader: str, settings: Mapping[str, Setting]
) -> dict[str, Any]:
    """The fields of `results.Described`, by name; `settings` are the opened loader's."""
    model = bench.model
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["fastbench", *sys.argv[1:]]),
        "loader": loader,
        "model": model.name,
        "weights": model.weights,
        "device": str(conditions.device),
        "batch_size": conditions.batch_size,
        "config": dataclasses.asdict(conditions.config),
        "environment": machine.describe(),
        "data": _describe_data(conditions),
        "preprocess": {
            **dataclasses.asdict(model.preprocess),
            "source": model.preprocess_source,
        },
        "loader_settings": dict(settings),
    }


def _describe_data(conditions: Conditions) -> dict[str, Any]:
    manifest = conditions.manifest
    pixels = [width * height for width, height in manifest.sizes]
    return {
        "root": str(manifest.root),
        "num_samples": len(manifest),
        "num_classes": len(manifest.classes),
        "num_bytes": sum(manifest.num_bytes),
        "mean_pixels": sum(pixels) / len(pixels),
        "pixels": manifest.octaves,
        "largest": list(manifest.largest),
        "digest": manifest.digest,
        "page_cache": conditions.page_cache,
        "page_cache_share": conditions.page_cache_share,
        "skipped": [dataclasses.asdict(skipped) for skipped in manifest.skipped],
    }


def _accuracy(bench: Bench, scores: Scores, conditions: Conditions) -> Accuracy | None:
    labels, classes = bench.labels.indices, bench.model.classes
    if scores.hits is None or labels is None:
        return None
    # The last epoch, which is the one that left its predictions.
    top1, top5 = scores.hits[-1]
    every = conditions.config.running
    return Accuracy(
        num_samples=len(labels),
        top1_correct=top1,
        top5_correct=top5,
        per_class=count_classes(scores.best, labels, classes),
        confusions=count_confusions(scores.predictions, labels, classes),
        running=running_values(scores.best, labels, every) if every else [],
    )


def _doubts(passes: Passes) -> list[str]:
    hits = passes.scores.hits
    if not passes.repeatable or not hits or len(set(hits)) == 1:
        return []
    return [
        f"hits differ between epochs (top-1 {min(hits)[0]} to {max(hits)[0]}): the loader or "
        f"the model is not deterministic"
    ]
