"""From the results of a row's passes and the facts of its run to a record."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastbench.core.command_options import CALL_VARIABLE
from fastbench.core.stats import wilson_interval
from fastbench.data.labels import BY_WNID, doubts_of
from fastbench.measure import machine
from fastbench.measure.per_class import count_classes, count_confusions, running_values
from fastbench.records.accuracy import Accuracy, Parity, Published
from fastbench.records.record import UNREAD, Record
from fastbench.records.speed import Compilation
from fastbench.records.store import SCHEMA_VERSION
from fastbench.runner import calibrate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastbench.loaders.base import LoaderSpec, Setting
    from fastbench.measure.loader_settings import Found
    from fastbench.measure.tally import Scores
    from fastbench.runner.prepare import Bench, Workbench

_CHANCE = 1 / 1000
"""Top-1 of a guess among ImageNet's classes, for which values are published."""


@dataclass(frozen=True, kw_only=True)
class Passes:
    """The results of a row's passes: `timed` has fields of `Record`, by name.

    `scores` are the timed epochs'; the rest is what the loader reports of itself, and how many
    graphs torch.compile made meanwhile, which should be none.
    """

    timed: Mapping[str, Any]
    scores: Scores
    settings: Mapping[str, Setting]
    reads_images: bool
    repeatable: bool
    num_recompiles: int = 0


def make_record(
    workbench: Workbench,
    bench: Bench,
    loader: str,
    spec: LoaderSpec,
    passes: Passes,
    *,
    scores: Scores,
    parity: Parity | None,
    num_changed: int | None,
    tuned: Found | None,
    notes: list[str],
) -> Record:
    """The record of a row; `scores` are the timed pass's, or those of an extra pass."""
    config = workbench.config
    compilation = None
    if workbench.compile_mode:
        num_graphs, num_breaks = bench.graphs_and_breaks
        compilation = Compilation(
            num_graphs=num_graphs,
            num_graph_breaks=num_breaks,
            num_recompiles=passes.num_recompiles,
        )
    return Record(
        **describe_run(workbench, bench, loader, passes.settings),
        **passes.timed,
        dtype=workbench.dtype,
        compile_mode=workbench.compile_mode,
        num_threads=spec.num_threads,
        labels=bench.labels.in_words if passes.reads_images else UNREAD,
        tuning=tuned.trials if tuned else [],
        tuning_s=tuned.seconds if tuned else None,
        compilation=compilation,
        accuracy=accuracy_of(workbench, bench, scores) if passes.reads_images else None,
        published=published_of(bench) if passes.reads_images else None,
        parity=parity,
        program=bench.program,
        calibration=calibrate.describe(config, workbench.manifest, workbench.progress),
        num_changed=num_changed,
        accuracy_doubts=_doubts(bench, passes, scores) if passes.reads_images else [],
        notes=[*notes, *bench.model.notes, *bench.cost.notes],
        num_parameters=bench.cost.num_parameters,
        num_macs=bench.cost.num_macs,
        stages=workbench.stopwatch.read(),
    )


def describe_run(
    workbench: Workbench, bench: Bench, loader: str, settings: Mapping[str, Setting]
) -> dict[str, Any]:
    """The fields of `Described`, by name; `settings` are the opened loader's."""
    model = bench.model
    bench.classifier.set_up_torch()  # another one may have run last
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": os.environ.get(CALL_VARIABLE) or shlex.join(["fastbench", *sys.argv[1:]]),
        "loader": loader,
        "model": model.name,
        "weights": model.weights,
        "files": dict(model.files),
        "device": str(workbench.device),
        "batch_size": workbench.batch_size,
        "config": dataclasses.asdict(workbench.config),
        "environment": machine.describe(workbench.gpus),
        "data": _describe_data(workbench),
        "preprocess": {
            **dataclasses.asdict(model.preprocess),
            "source": model.preprocess_source,
        },
        "loader_settings": dict(settings),
        "engine": workbench.engines.describe(model, bench.classifier),
        "process": "caller" if model.token else "own",
    }


def _describe_data(workbench: Workbench) -> dict[str, Any]:
    manifest = workbench.manifest
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
        "contents": manifest.contents,
        "identity": manifest.identity,
        "page_cache": workbench.page_cache,
        "page_cache_share": workbench.page_cache_share,
        "skipped": [dataclasses.asdict(skipped) for skipped in manifest.skipped],
        "not_used": dict(manifest.not_used),
    }


def accuracy_of(workbench: Workbench, bench: Bench, scores: Scores) -> Accuracy | None:
    """The hits of each image once; None without labels."""
    labels, classes = bench.labels.indices, bench.model.classes
    if scores.hits is None or labels is None:
        return None
    # The predictions are the last epoch's.
    top1, top5 = scores.hits[-1]
    every = workbench.config.running
    return Accuracy(
        num_samples=len(labels),
        top1_correct=top1,
        top5_correct=top5,
        num_classes=classes.num_classes,
        per_class=count_classes(scores.best, labels, classes),
        confusions=count_confusions(scores.predictions, labels, classes),
        running=running_values(scores.best, labels, every) if every else [],
    )


def published_of(bench: Bench) -> Published | None:
    """The published accuracy of these weights, if the labels are those that it is for."""
    if bench.model.published is None or bench.labels.how != BY_WNID:
        return None
    top1, top5 = bench.model.published
    return Published(top1=top1, top5=top5)


def _doubts(bench: Bench, passes: Passes, scores: Scores) -> list[str]:
    """Why hits may mean nothing, though they were counted right."""
    found = []
    if scores.is_constant:
        found.append("the model's largest logit is the same for every image")
    if scores.hits is None:
        return found
    top1, _ = scores.hits[-1]
    found += doubts_of(bench.labels, bench.model.classes, top1)
    if published := published_of(bench):
        low, high = wilson_interval(top1, len(scores.best))
        if low <= _CHANCE and high < published.top1:
            found.append(
                f"top-1 is no better than chance, and {100 * published.top1:.1f} % is published"
            )
    hits = passes.scores.hits
    if passes.repeatable and hits and len(set(hits)) > 1:
        found.append(
            f"hits differ between epochs (top-1 {min(hits)[0]} to {max(hits)[0]}), so the loader "
            f"or the model is not deterministic"
        )
    return found
