"""One row of the table: the passes of a loader before a model, and the record made of them.

The session says what is run and in which order; `runner.py` has the timed loops themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastbench import environment, runner
from fastbench.clock import make_clock
from fastbench.results import (
    SCHEMA_VERSION,
    Accuracy,
    Ceiling,
    Compilation,
    Latency,
    Parity,
    Published,
    Record,
    Throughput,
    Trial,
    WarmUp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from fastbench.config import RunConfig
    from fastbench.data.labels import Labels
    from fastbench.data.manifest import Manifest
    from fastbench.loaders import Factory
    from fastbench.loaders.base import Loader, LoaderSpec, Setting
    from fastbench.models.classifier import Classifier, Scores, Tally
    from fastbench.models.zoo import LoadedModel

__all__ = [
    "Bench",
    "Conditions",
    "Passes",
    "describe_data",
    "describe_preprocess",
    "make_record",
    "open_loader",
    "run_passes",
]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all rows of a session share."""

    config: RunConfig
    manifest: Manifest
    device: torch.device
    dtype: str
    batch_size: int
    plan: runner.Plan

    @property
    def compile_mode(self) -> str | None:
        """torch.compile's mode, None for eager."""
        return self.config.compile_mode if self.config.compile else None


@dataclass
class Bench:
    """A model on the bench: what its rows share."""

    model: LoadedModel
    labels: Labels
    classifier: Classifier
    load_s: float
    compile_s: float
    model_ceiling: Ceiling | None
    num_graphs: int
    num_graph_breaks: int
    reference_predictions: list[int] | None = None
    float32: Classifier | None = None


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What was measured of one row, before it becomes a record."""

    end_to_end: runner.EndToEnd
    scores: Scores
    loader_ceiling: Ceiling | None
    latencies_s: list[float]
    loader_start_s: float
    settings: dict[str, Setting]
    reads_images: bool
    repeatable: bool


@contextlib.contextmanager
def open_loader(factory: Factory, spec: LoaderSpec) -> Iterator[Loader]:
    """A loader that is closed again, whatever happens."""
    loader = factory(spec)
    try:
        yield loader
    finally:
        loader.close()


def run_passes(
    factory: Factory,
    bench: Bench,
    spec: LoaderSpec,
    tally: Tally,
    conditions: Conditions,
    *,
    loader: str,
) -> Passes:
    """End to end, the loader alone, and batch latency.

    Raises `LoaderError` where a sample was lost or repeated.
    """
    plan, clock = conditions.plan, make_clock(conditions.device)
    loader_ceiling = None
    start = time.perf_counter()
    with open_loader(factory, spec) as opened:
        loader_start_s = time.perf_counter() - start
        measured = runner.end_to_end(opened, bench.classifier, tally, clock, plan, spec.num_batches)
        settings = dict(opened.settings)
        reads_images, repeatable = opened.reads_images, getattr(opened, "repeatable", True)
        if reads_images and conditions.config.passes == "all":
            loader_ceiling = runner.loader_alone(opened, clock, plan, spec.num_batches)
    scores = tally.read()
    runner.check_each_once(scores, measured.num_epochs, conditions.manifest.names, loader)
    with open_loader(factory, dataclasses.replace(spec, prefetch=0)) as opened:
        latencies_s = runner.probe_latency(opened, bench.classifier, plan)
    return Passes(
        end_to_end=measured,
        scores=scores,
        loader_ceiling=loader_ceiling,
        latencies_s=latencies_s,
        loader_start_s=loader_start_s,
        settings=settings,
        reads_images=reads_images,
        repeatable=repeatable,
    )


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
    manifest, measured, model = conditions.manifest, passes.end_to_end, bench.model
    num_recompiles = bench.classifier.num_graphs()[0] - bench.num_graphs
    accuracy = None
    if passes.reads_images and scores.hits:
        top1, top5 = scores.hits[0]
        accuracy = Accuracy(num_samples=len(manifest), top1_correct=top1, top5_correct=top5)
    return Record(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["fastbench", *sys.argv[1:]]),
        loader=loader,
        model=model.name,
        weights=model.weights,
        device=str(conditions.device),
        dtype=conditions.dtype,
        compile_mode=conditions.compile_mode,
        batch_size=conditions.batch_size,
        num_threads=spec.num_threads,
        config=dataclasses.asdict(conditions.config),
        environment=environment.describe(),
        data=describe_data(manifest),
        preprocess=describe_preprocess(model),
        loader_settings=passes.settings,
        labels=(bench.labels.how if passes.reads_images else "no labels: the images are not read"),
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
        ),
        loader_ceiling=passes.loader_ceiling,
        model_ceiling=bench.model_ceiling,
        latency=Latency(batch_size=conditions.batch_size, samples_s=passes.latencies_s),
        accuracy=accuracy,
        published=published,
        parity=parity,
        notes=[*notes, *_doubts(passes, num_recompiles)],
    )


def describe_data(manifest: Manifest) -> dict[str, Any]:
    """What a record says of the images."""
    return {
        "root": str(manifest.root),
        "num_samples": len(manifest),
        "num_classes": len(manifest.classes),
        "num_bytes": sum(manifest.num_bytes),
        "largest": list(manifest.largest),
        "digest": manifest.digest,
    }


def describe_preprocess(model: LoadedModel) -> dict[str, Any]:
    """What a record says of the preprocessing."""
    return {**dataclasses.asdict(model.preprocess), "source": model.preprocess_source}


def _doubts(passes: Passes, num_recompiles: int) -> list[str]:
    doubts = []
    hits = passes.scores.hits
    if passes.repeatable and hits and len(set(hits)) > 1:
        doubts.append(
            f"hits differ between epochs (top-1 {min(hits)[0]} to {max(hits)[0]}): the loader or "
            f"the model is not deterministic"
        )
    if num_recompiles:
        doubts.append(
            f"torch.compile made {num_recompiles} more graphs in the timed passes: the throughput "
            f"is too low"
        )
    return doubts
