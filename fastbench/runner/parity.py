"""A loader compared with the reference.

Of each row of a run all predictions and the pixels of some samples are compared; `fastbench parity`
compares all samples, and times nothing. If the images fail their gates, the fault is named and the
worst image drawn.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import torch
import torchvision

from fastbench.core.atomic_files import file_stem
from fastbench.core.device import mapped_errors
from fastbench.core.errors import FastbenchError, LoaderError, OutputError
from fastbench.core.temporary import shared_folder
from fastbench.data.dataset import varied
from fastbench.measure import agreement
from fastbench.measure.diagnose import name_cause
from fastbench.measure.difference_image import draw_difference
from fastbench.models.registry import files_of
from fastbench.records.accuracy import Pixels  # noqa: TC001 - msgspec reads it
from fastbench.records.gates import judge_pixels, judge_worst
from fastbench.records.record import NO_PARITY, FailedRow, ParityRecord
from fastbench.records.store import write_record
from fastbench.runner import kept
from fastbench.runner.build_record import describe_run
from fastbench.runner.open_loader import open_loader
from fastbench.runner.prepare import Bench, Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.loaders.base import LoaderSpec, Setting
    from fastbench.records.accuracy import Parity

NUM_COMPARED = 128
NUM_COMPARED_QUICK = 32
MOST_STOOD_OUT = 1000


class _Compared(NamedTuple):
    """What was found of some samples' pixels, and what people should know of it."""

    pixels: Pixels
    notes: list[str]


def compare_with_reference(
    workbench: Workbench,
    bench: Bench,
    loader: str,
    spec: LoaderSpec,
    predictions: list[int],
    notes: list[str],
) -> Parity | None:
    """Compare a row's predictions with the reference's, and the pixels of some samples.

    `spec` is that of the timed pass: its settings may change pixels.
    None without a reference, or if it fails or does not read the images.
    """
    name = workbench.config.reference
    if name == "none":
        return None
    # A float32 eager row of the reference is its own reference.
    is_reference = loader == name and workbench.engines.is_as_reference(bench.model)
    if is_reference:
        expected: list[int] | None = predictions
        kept.keep(workbench.folder, depends_on(workbench, bench), predictions)
    else:
        expected = _find_reference(workbench, bench, notes)
    if expected is None:
        return None
    parity = agreement.compare_predictions(
        predictions, expected, bench.labels.indices, reference=name, is_reference=is_reference
    )
    if loader == name:
        return parity
    workbench.progress.say(f"{bench.model.name} · {loader}: pixels against {name}")
    manifest = workbench.manifest
    most = NUM_COMPARED_QUICK if workbench.config.quick else NUM_COMPARED
    spread = varied(manifest.sizes, most)
    differing = {i for i, (a, b) in enumerate(zip(predictions, expected, strict=True)) if a != b}
    # The rare ones first: a decoder's fault in them need not change a prediction.
    stood_out = [*sorted(manifest.unusual), *sorted(differing - manifest.unusual)]
    chosen = sorted(stood_out[:MOST_STOOD_OUT])
    return msgspec.structs.replace(
        parity,
        pixels=_compare_some(workbench, bench, loader, spec, spread, judge_pixels, notes),
        stood_out=_compare_some(workbench, bench, loader, spec, chosen, judge_worst, notes)
        if chosen
        else None,
        num_uncompared=len(stood_out) - len(chosen),
    )


def parity_rows(workbench: Workbench) -> Iterator[ParityRecord | FailedRow]:
    """Compare every other loader with the reference, over all samples.

    A record is on disk when it is yielded. Raises `OutputError` if it cannot be written.
    """
    config = workbench.config
    for name in config.models:
        for loader in config.loaders:
            if loader == config.reference:
                continue
            workbench.progress.say(f"{name} · {loader}: against {config.reference}")
            try:
                record = _parity_row(workbench, name, loader)
            except FastbenchError as error:
                yield FailedRow(name, loader, error)
                continue
            write_record(record, workbench.folder)
            yield record


def _parity_row(workbench: Workbench, name: str, loader: str) -> ParityRecord:
    model, labels = workbench.load(name)
    for note in model.notes:
        workbench.progress.note(f"{name}: {note}.")
    with mapped_errors(f"the comparison of {loader}", workbench.batch_size):
        classifier = workbench.engines.reference(model)
        bench = Bench(model, labels, classifier, float32=classifier)
        spec = workbench.spec(model, loader)
        names = workbench.manifest.names
        found, pixels, settings = _compare(workbench, bench, loader, spec, names, judge_pixels, [])
    return ParityRecord(
        **describe_run(workbench, bench, loader, settings),
        labels=labels.in_words,
        parity=agreement.compare_predictions(
            found.predictions,
            found.reference_predictions,
            labels.indices,
            reference=workbench.config.reference,
            is_reference=False,
            pixels=pixels,
        ),
    )


def _find_reference(workbench: Workbench, bench: Bench, notes: list[str]) -> list[int] | None:
    """The reference's float32 predictions; the first row that needs them makes them.

    None if the reference fails, which the row's notes say, or if it does not read the images.
    """
    key = depends_on(workbench, bench)
    found = kept.find(workbench.folder, key, list[int])
    if found is None or len(found) != len(workbench.manifest):
        name = workbench.config.reference
        workbench.progress.say(f"{bench.model.name} · {name}: the reference's float32 predictions")
        try:
            found = _score_reference(workbench, bench)
        except FastbenchError as error:
            notes.append(f"{NO_PARITY}: {error}")
            return None
        if found is not None:
            kept.keep(workbench.folder, key, found)
    return found


def depends_on(workbench: Workbench, bench: Bench) -> dict[str, Any]:
    """What the reference's predictions of a model depend on."""
    config, model = workbench.config, bench.model
    its_name = config.reference_model
    its_files = None if its_name is None else files_of(its_name, config.weights)
    return {
        "model": [model.name, model.weights, model.classes.outputs, config.seed, model.token],
        "files": model.files,
        "reference_model": [config.reference_model, config.weights, its_files],
        "data": [str(workbench.manifest.root), workbench.manifest.identity],
        "preprocess": dataclasses.asdict(model.preprocess),
        "loader": [config.reference, config.options_of(config.reference), config.resize],
        "on": [str(workbench.device), torch.__version__, torchvision.__version__],
    }


def _score_reference(workbench: Workbench, bench: Bench) -> list[int] | None:
    """One pass of the reference in float32; None if it does not read the images."""
    name = workbench.config.reference
    spec = workbench.spec(bench.model, name)
    with open_loader(
        name, workbench.factories[name], dataclasses.replace(spec, prefetch=0)
    ) as loader:
        if not loader.reads_images:
            return None
    with mapped_errors("the reference's pass", workbench.batch_size):
        spec = dataclasses.replace(spec, dtype="float32")
        return workbench.score(bench, name, spec, workbench.float32(bench))[0].predictions


def _compare_some(
    workbench: Workbench,
    bench: Bench,
    name: str,
    spec: LoaderSpec,
    chosen: Sequence[int],
    judge: Callable[[Pixels], list[str]],
    notes: list[str],
) -> Pixels:
    """Compare the pixels of some samples: one image has 150,000 values.

    Rows of a run that differ in the batch size, the dtype or the threads share the result, which is
    of repeatable pixels in float32, and the picture.
    """
    key = {**depends_on(workbench, bench), "pixels": [name, *spec.options.items()]}
    key["samples"] = list(chosen)
    folder = shared_folder()
    found = kept.find(folder, key, _Compared)
    if found is None:
        manifest = workbench.manifest
        paths = manifest.paths
        spec = dataclasses.replace(spec, paths=[paths[i] for i in chosen], prefetch=0)
        names = [manifest.names[i] for i in chosen]
        its_notes: list[str] = []
        pixels = _compare(workbench, bench, name, spec, names, judge, its_notes)[1]
        found = _Compared(pixels, its_notes)
        kept.keep(folder, key, found)
    notes += [note for note in found.notes if note not in notes]
    return found.pixels


def _compare(
    workbench: Workbench,
    bench: Bench,
    name: str,
    spec: LoaderSpec,
    names: Sequence[str],
    judge: Callable[[Pixels], list[str]],
    notes: list[str],
) -> tuple[agreement.Comparison, Pixels, dict[str, Setting]]:
    """Read a loader and the reference in step; if they differ, name the fault and draw it.

    `spec` is the loader's; the reference gets its samples, and has its own settings. Also returns
    the loader's settings.
    """
    its_name = workbench.config.reference
    spec = dataclasses.replace(spec, dtype="float32", repeatable=True)
    its_spec = workbench.spec(bench.model, its_name)
    its_spec = dataclasses.replace(
        its_spec,
        paths=spec.paths,
        prefetch=its_spec.prefetch if spec.prefetch else 0,
        dtype="float32",
        repeatable=True,
    )
    with (
        open_loader(name, workbench.factories[name], spec) as loader,
        open_loader(its_name, workbench.factories[its_name], its_spec) as its_loader,
    ):
        if not loader.reads_images or not its_loader.reads_images:
            raise LoaderError(
                f"The loaders {name!r} and {its_name!r} cannot be compared: one of them does "
                f"not read the images. Choose two that do."
            )
        settings = dict(loader.settings)
        found = agreement.compare_in_step(
            loader, its_loader, workbench.float32(bench), spec.preprocess, names
        )
    pixels = found.pixels
    if judge(pixels):
        worst = [(spec.paths[i], mine, theirs) for i, mine, theirs in found.worst]
        pixels = msgspec.structs.replace(pixels, cause=name_cause(worst, spec.preprocess))
        size = workbench.config.image_size
        which = (bench.model.name, name, *([] if size is None else [f"{size}-px"]))
        path = workbench.folder / f"{file_stem('parity', *which)}.png"
        _, mine, theirs = found.worst[0]
        note = f"the image that differs most: {path}"
        try:
            draw_difference(theirs, mine, path)
        except OutputError as error:  # the row is measured all the same
            note = str(error)
            workbench.progress.note(note)
        notes.append(note)
    return found, pixels, settings
