"""`fastbench run --ab`: windows of two configurations in turn, and one ratio.

Nothing is scored: run each of the two by itself to see whether the predictions are right.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastbench.core.device import mapped_errors
from fastbench.core.errors import FastbenchError, UsageError
from fastbench.loaders.base import LoaderTraits
from fastbench.measure.clock import make_clock
from fastbench.measure.interleave import NUM_PAIRS, NUM_PAIRS_QUICK, Side, interleave
from fastbench.models.classifier import forget_compiled
from fastbench.records.record import AbRecord, FailedRow
from fastbench.records.store import write_record
from fastbench.runner.build_record import describe_run
from fastbench.runner.prepare import Bench, Workbench, open_loader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.loaders.base import Loader, LoaderSpec


def ab_rows(a: Workbench, b: Workbench) -> Iterator[AbRecord | FailedRow]:
    """A row for each model. A record is on disk when it is yielded.

    Raises `OutputError` if it cannot be written, `UsageError` if the two cannot be compared.
    """
    if dataclasses.replace(a.config, ab=()) == b.config:
        raise UsageError("--ab changes nothing: both sides are the same. Give another value.")
    if a.device != b.device:
        raise UsageError("--ab cannot compare two devices. Run each, and use fastbench compare.")
    if len(a.config.models) != len(b.config.models):
        raise UsageError("--ab needs as many models on both sides. Name as many with --ab model=.")
    for name, other in zip(a.config.models, b.config.models, strict=True):
        try:
            record = _ab_row(a, b, name, other)
        except FastbenchError as error:
            yield FailedRow(name, a.config.timed_loader, error)
            continue
        write_record(record, a.folder)
        yield record


def _ab_row(a: Workbench, b: Workbench, name: str, other: str) -> AbRecord:
    a.progress.say(f"{name}: making both sides ready")
    forget_compiled()
    (bench, spec), (other_bench, other_spec) = _prepare(a, name), _prepare(b, other)
    loader, other_loader = a.config.timed_loader, b.config.timed_loader
    with (
        mapped_errors(f"the comparison of {name}", a.batch_size),
        open_loader(loader, a.factories[loader], spec) as opened,
        open_loader(other_loader, b.factories[other_loader], other_spec) as other_opened,
    ):
        quick = a.config.quick
        rates, other_rates = interleave(
            Side(opened, bench.classifier, num_queued(opened, spec)),
            Side(other_opened, other_bench.classifier, num_queued(other_opened, other_spec)),
            make_clock(a.device),
            NUM_PAIRS_QUICK if quick else NUM_PAIRS,
            a.progress.count(f"{name} · {loader}: pairs of windows"),
        )
        return AbRecord(
            **describe_run(a, bench, loader, opened.settings),
            dtype=a.dtype,
            compile_mode=a.compile_mode,
            changes=list(a.config.ab),
            other_config=dataclasses.asdict(b.config),
            other_loader_settings=dict(other_opened.settings),
            a_images_per_s=rates,
            b_images_per_s=other_rates,
        )


def _prepare(workbench: Workbench, name: str) -> tuple[Bench, LoaderSpec]:
    model, labels = workbench.load(name)
    for note in model.notes:
        workbench.progress.note(f"{name}: {note}.")
    with mapped_errors(f"the warm-up of {name}", workbench.batch_size):
        classifier = workbench.rows_classifier(model)
        classifier.warm_up(model.preprocess.crop)
    return Bench(model, labels, classifier), workbench.spec(model, workbench.config.timed_loader)


def num_queued(loader: Loader, spec: LoaderSpec) -> int:
    """Batches that may wait in a loader's queues."""
    return spec.prefetch * LoaderTraits.of(loader).num_workers
