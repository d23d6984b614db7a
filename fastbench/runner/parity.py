"""A loader against the reference, both read in step: all samples (`fastbench parity`), or some.

Every row of a run has the pixels of some samples compared; `fastbench parity` compares all, and
times nothing. Where the gates say that images differ, the fault is named and the worst image drawn.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from fastbench.core.device import mapped_errors
from fastbench.core.errors import FastbenchError, LoaderError
from fastbench.data.dataset import varied
from fastbench.measure import agreement
from fastbench.measure.diagnose import name_cause
from fastbench.measure.difference_image import draw_difference
from fastbench.records.gates import judge_pixels
from fastbench.records.record import FailedRow, ParityRecord
from fastbench.records.store import write_parity_record
from fastbench.runner.build_record import describe_run
from fastbench.runner.prepare import Bench, Workbench, open_loader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.loaders.base import LoaderSpec, Setting
    from fastbench.records.accuracy import Pixels

__all__ = ["compare_some", "parity_rows"]

NUM_COMPARED = 128
NUM_COMPARED_QUICK = 32


def compare_some(workbench: Workbench, bench: Bench, name: str, notes: list[str]) -> Pixels:
    """The pixels of some samples, of many sizes: an image has 150,000 of them."""
    manifest = workbench.manifest
    most = NUM_COMPARED_QUICK if workbench.config.quick else NUM_COMPARED
    chosen = varied(manifest.sizes, most)
    paths = manifest.paths
    spec = dataclasses.replace(
        workbench.spec(bench.model), paths=[paths[i] for i in chosen], prefetch=0
    )
    names = [manifest.names[i] for i in chosen]
    return _compare(workbench, bench, name, spec, names, notes)[1]


def parity_rows(workbench: Workbench) -> Iterator[ParityRecord | FailedRow]:
    """Hold every loader but the reference against it, in step, over all samples.

    A record is on disk when it is yielded. Raises `OutputError` where it cannot be written.
    """
    config = workbench.config
    for name in config.models:
        for loader in config.loaders:
            if loader == config.reference:
                continue
            workbench.say(f"{name} · {loader}: against {config.reference}")
            try:
                record = _parity_row(workbench, name, loader)
            except FastbenchError as error:
                yield FailedRow(name, loader, error)
                continue
            write_parity_record(record, workbench.folder)
            yield record


def _parity_row(workbench: Workbench, name: str, loader: str) -> ParityRecord:
    model, labels = workbench.load(name)
    settings: dict[str, Setting] = {}
    with mapped_errors(f"the comparison of {loader}", workbench.conditions.batch_size):
        classifier = workbench.classifier(model, "float32", None)
        bench = Bench(model, labels, classifier, float32=classifier)
        spec = workbench.spec(model)
        names = workbench.manifest.names
        found, pixels = _compare(workbench, bench, loader, spec, names, [], settings)
    return ParityRecord(
        **describe_run(workbench.conditions, bench, loader, settings),
        labels=labels.how,
        parity=agreement.compare_predictions(
            found.predictions,
            found.reference_predictions,
            labels.indices,
            reference=workbench.config.reference,
            is_reference=False,
            pixels=pixels,
        ),
    )


def _compare(
    workbench: Workbench,
    bench: Bench,
    name: str,
    spec: LoaderSpec,
    names: Sequence[str],
    notes: list[str],
    settings: dict[str, Setting] | None = None,
) -> tuple[agreement.Comparison, Pixels]:
    """Read a loader and the reference in step; name the fault and draw it where they differ."""
    config, reference = workbench.config, workbench.config.reference
    spec = dataclasses.replace(spec, dtype="float32", repeatable=True)
    its_spec = spec.with_settings(config.options_of(reference))
    spec = spec.with_settings(config.options_of(name))
    with (
        open_loader(name, workbench.factories[name], spec) as loader,
        open_loader(reference, workbench.factories[reference], its_spec) as its_loader,
    ):
        if not loader.reads_images or not its_loader.reads_images:
            raise LoaderError(
                f"The loaders {name!r} and {reference!r} cannot be compared: one of them does "
                f"not read the images. Choose two that do."
            )
        if settings is not None:
            settings.update(loader.settings)
        found = agreement.compare_in_step(
            loader, its_loader, workbench.float32(bench), spec.preprocess
        )
    pixels = found.pixels(names, None)
    if judge_pixels(pixels):
        worst = [(spec.paths[i], *found.worst_levels[i]) for i in found.worst]
        pixels = found.pixels(names, name_cause(worst, spec.preprocess))
        stem = f"parity-{bench.model.name}-{name}".replace("/", "_")
        path = workbench.folder / f"{stem}.png"
        mine, theirs = found.worst_levels[found.worst[0]]
        draw_difference(theirs, mine, path)
        notes.append(f"the image that differs most: {path}")
    return found, pixels
