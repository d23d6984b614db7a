"""A model behind one loader or some: a row each, its record on disk as soon as it is measured.

A row that fails is reported and the next one runs. `fastbench run` measures each row in a process
of its own (see `apart.py`), so that a session has one loader; where one has several, the model is
loaded and compiled once.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torchvision

from fastbench.core.device import mapped_errors
from fastbench.core.errors import FastbenchError, LoaderMissingError
from fastbench.core.loader_facts import CEILING_LOADER
from fastbench.data.labels import BY_WNID
from fastbench.loaders.base import FactoryTraits, LoaderTraits
from fastbench.loaders.registry import resolve
from fastbench.measure import agreement, loader_settings
from fastbench.measure import passes as runner
from fastbench.measure.clock import make_clock
from fastbench.measure.telemetry import Watch
from fastbench.models.classifier import forget_compiled
from fastbench.models.cost import count_cost
from fastbench.models.registry import check_name
from fastbench.records.accuracy import Parity, Published
from fastbench.records.record import EVERY_LOADER, FailedRow, Record
from fastbench.records.speed import Latency
from fastbench.records.store import write_record
from fastbench.runner import reference as references
from fastbench.runner.build_record import Passes, make_record
from fastbench.runner.parity import compare_some
from fastbench.runner.predictions_csv import PredictionsFile
from fastbench.runner.prepare import Bench, Conditions, Workbench, open_loader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress
    from fastbench.loaders.base import Factory, LoaderSpec, Preprocess, Setting
    from fastbench.measure.tally import Scores, Tally
    from fastbench.models.base import LoadedModel
    from fastbench.models.classifier import Classifier
    from fastbench.records.speed import Ceiling, Trial

__all__ = ["Session", "measure_row", "run_passes"]


def measure_row(
    config: RunConfig, folder: Path, tell: Progress, models: Sequence[str]
) -> Iterator[tuple[Record | FailedRow, Path | None]]:
    """Measure the one row of a configuration with one model and one loader; and where it is stored.

    Raises the `FastbenchError` that every other row of the run would meet too: of the data, the
    device, the reference, or a name among `models`, those of all rows.
    """
    for name in models:
        check_name(name)
    try:
        workbench = Workbench(config, folder, say=tell.say, count=tell.count)
    except LoaderMissingError as error:
        if config.reference != "none":
            resolve(config.reference)  # without which there is no row at all
        yield FailedRow(config.models[0], config.timed_loader, error), None
        return
    if workbench.device.type == "cpu":
        tell.note("No GPU is used: DALI and the model run on the CPU.")
    file = PredictionsFile(Path(config.predictions).expanduser()) if config.predictions else None
    session = Session(workbench, file)
    for row in session.rows([config.timed_loader]):
        yield row, session.path


class Session:
    """The rows of one model; `predictions` takes what each of them predicts, image by image.

    `path` is where the last record was written.
    """

    def __init__(self, workbench: Workbench, predictions: PredictionsFile | None = None) -> None:
        self._workbench = workbench
        self._config = workbench.config
        self._conditions = workbench.conditions
        self._predictions = predictions
        self.path: Path | None = None
        self._tuned: dict[tuple[str, Preprocess, str], tuple[dict[str, Setting], list[Trial]]] = {}

    def rows(self, loaders: Sequence[str]) -> Iterator[Record | FailedRow]:
        """Measure the configuration's first model behind one loader after the other.

        A record is on disk when it is yielded. Raises `OutputError` where it cannot be written.
        """
        name = self._config.models[0]
        try:
            bench = self._prepare(name)
        except FastbenchError as error:
            yield FailedRow(name, EVERY_LOADER, error)
            return
        for loader in loaders:
            self._workbench.say(f"{name} · {loader}: measuring")
            try:
                record, scores = self._measure(bench, loader)
            except FastbenchError as error:
                yield FailedRow(name, loader, error)
                continue
            self.path = write_record(record, self._workbench.folder)
            yield record
            if self._predictions is not None and scores is not None:
                manifest = self._workbench.manifest
                self._predictions.add(record, manifest, bench.labels, bench.model, scores)

    def _prepare(self, name: str) -> Bench:
        """Load a model, map its labels, and compile it."""
        config, workbench = self._config, self._workbench
        workbench.say(f"{name}: loading the model" + (", compiling it" if config.compile else ""))
        start = time.perf_counter()
        model, labels = workbench.load(name)
        load_s = time.perf_counter() - start
        if config.compile:
            forget_compiled()
        with mapped_errors(f"the warm-up of {name}", self._conditions.batch_size):
            others = self._others(model)
            classifier = workbench.classifier(
                model, self._conditions.dtype, self._conditions.compile_mode
            )
            compile_s = classifier.warm_up(model.preprocess.crop)
            ceiling = self._model_ceiling(classifier, model) if config.passes == "all" else None
        num_graphs, num_graph_breaks = classifier.num_graphs()
        bench = Bench(
            model, labels, classifier, load_s, compile_s, ceiling, num_graphs, num_graph_breaks
        )
        bench.others = others
        bench.cost = count_cost(model)
        return bench

    def _find_reference(self, bench: Bench, notes: list[str]) -> list[int] | None:
        """What the reference predicts in float32; made once, whichever row needs it first.

        Where the reference fails, this row was measured all the same, and its notes say why it is
        held against nothing.
        """
        workbench, reference = self._workbench, self._config.reference
        depends_on = self._reference_depends_on(bench)
        found = references.find(workbench.folder, depends_on, len(workbench.manifest))
        if found is None:
            workbench.say(f"{bench.model.name} · {reference}: the reference's float32 predictions")
            try:
                found = self._score_reference(bench)
            except FastbenchError as error:
                notes.append(f"no parity, for the reference failed: {error}")
                return None
            if found is not None:
                references.keep(workbench.folder, depends_on, found)
        return found

    def _reference_depends_on(self, bench: Bench) -> dict[str, Any]:
        config, workbench, model = self._config, self._workbench, bench.model
        return {
            "model": [model.name, model.weights, model.classes.outputs, config.seed],
            "files": [references.stamp(name) for name in (config.weights, model.name)],
            "data": [str(workbench.manifest.root), workbench.manifest.digest],
            "preprocess": dataclasses.asdict(model.preprocess),
            "loader": [config.reference, config.options_of(config.reference), config.resize],
            "on": [str(workbench.device), torch.__version__, torchvision.__version__],
        }

    def _model_ceiling(self, classifier: Classifier, model: LoadedModel) -> Ceiling:
        spec = self._workbench.spec(model)
        with open_loader(CEILING_LOADER, resolve(CEILING_LOADER), spec) as loader:
            images_NCHW = next(iter(loader)).images_NCHW
            return runner.model_alone(
                classifier, images_NCHW, make_clock(self._conditions.device), self._conditions.plan
            )

    def _score_reference(self, bench: Bench) -> list[int] | None:
        name, workbench = self._config.reference, self._workbench
        spec = workbench.spec(bench.model, name)
        with open_loader(
            name, workbench.factories[name], dataclasses.replace(spec, prefetch=0)
        ) as loader:
            if not loader.reads_images:
                return None
        with mapped_errors("the reference's pass", self._conditions.batch_size):
            spec = dataclasses.replace(spec, dtype="float32")
            return workbench.score(bench, name, spec, workbench.float32(bench)).predictions

    def _measure(self, bench: Bench, name: str) -> tuple[Record, Scores | None]:
        """The passes of one row, and what it predicted, where it read the images."""
        workbench = self._workbench
        with mapped_errors(f"{bench.model.name} behind {name}", self._conditions.batch_size):
            spec, tuning = self._tune(name, workbench.spec(bench.model, name))
            passes = run_passes(
                workbench.factories[name],
                bench,
                spec,
                workbench.tally(bench),
                self._conditions,
                loader=name,
                evict=workbench.evict if self._config.page_cache == "cold" else None,
                others=bench.others,
            )
            notes: list[str] = []
            scores = passes.scores
            if not passes.repeatable:
                scores = workbench.score(bench, name, spec, bench.classifier)
                changed = sum(
                    a != b
                    for a, b in zip(scores.predictions, passes.scores.predictions, strict=True)
                )
                notes.append(
                    f"a sample's pixels depend on its place in the batch with these settings: "
                    f"accuracy and parity are of a repeatable pass; {changed} of "
                    f"{len(scores.predictions)} predictions of the timed pass differ from it"
                )
            found = None
            if passes.reads_images:
                found = self._parity(bench, name, scores.predictions, notes)
        record = make_record(
            self._conditions,
            bench,
            spec,
            passes,
            loader=name,
            scores=scores,
            parity=found,
            published=_published(bench) if passes.reads_images else None,
            tuning=tuning,
            notes=notes,
        )
        return record, scores if passes.reads_images else None

    def _others(self, model: LoadedModel) -> list[Classifier]:
        """The model for the other batch sizes whose latency was asked for."""
        others = []
        for size in dict.fromkeys(self._config.latency_batch_size):
            if size != self._conditions.batch_size:
                others.append(
                    self._workbench.classifier(
                        model, self._conditions.dtype, self._conditions.compile_mode, size
                    )
                )
                others[-1].warm_up(model.preprocess.crop)
        return others

    def _tune(self, name: str, spec: LoaderSpec) -> tuple[LoaderSpec, list[Trial]]:
        """Search for the settings that a loader says are worth it and the user did not give."""
        if self._config.quick:
            return spec, []
        factory = self._workbench.factories[name]
        space_of = FactoryTraits.of(factory).search_space
        fixed = set(self._config.options_of(name))
        if self._config.num_threads is not None:
            fixed.add("num_threads")
        space = {key: values for key, values in space_of(spec).items() if key not in fixed}
        if not space:
            return spec, []
        key = (name, spec.preprocess, spec.dtype)
        if key not in self._tuned:
            self._workbench.say(f"{name}: searching for its best settings")
            self._tuned[key] = loader_settings.search(
                lambda tried: open_loader(name, factory, tried),
                spec,
                space,
                lambda: make_clock(self._conditions.device),
                seconds=1.0,
            )
        settings, trials = self._tuned[key]
        return spec.with_settings(settings), trials

    def _parity(
        self, bench: Bench, name: str, predictions: list[int], notes: list[str]
    ) -> Parity | None:
        reference = self._config.reference
        if reference == "none":
            return None
        # A float32 eager row of the reference is its own reference: no second pass is needed.
        is_reference = name == reference and self._workbench.is_float32_eager
        if is_reference:
            bench.reference_predictions = predictions
            references.keep(self._workbench.folder, self._reference_depends_on(bench), predictions)
        elif bench.reference_predictions is None:
            bench.reference_predictions = self._find_reference(bench, notes)
        if bench.reference_predictions is None:
            return None
        pixels = None
        if name != reference:
            self._workbench.say(f"{bench.model.name} · {name}: pixels against {reference}")
            pixels = compare_some(self._workbench, bench, name, notes)
        return agreement.compare_predictions(
            predictions,
            bench.reference_predictions,
            bench.labels.indices,
            reference=reference,
            is_reference=is_reference,
            pixels=pixels,
        )


def _published(bench: Bench) -> Published | None:
    """What is published of these weights, where the labels are those it was published for."""
    if bench.model.published is None or bench.labels.how != BY_WNID:
        return None
    top1, top5 = bench.model.published
    return Published(top1=top1, top5=top5)


def run_passes(
    factory: Factory,
    bench: Bench,
    spec: LoaderSpec,
    tally: Tally,
    conditions: Conditions,
    *,
    loader: str,
    evict: Callable[[], None] | None = None,
    others: Sequence[Classifier] = (),
) -> Passes:
    """End to end, the loader alone, and batch latency; that of `others`, of other batch sizes, too.

    Raises `LoaderError` where a sample was lost, repeated or out of order.
    """
    plan, clock = conditions.plan, make_clock(conditions.device)
    loader_ceiling = None
    start = time.perf_counter()
    with open_loader(loader, factory, spec) as opened, Watch(conditions.device.index) as watch:
        loader_start_s = time.perf_counter() - start
        measured = runner.end_to_end(
            opened,
            bench.classifier,
            tally,
            clock,
            plan,
            spec.num_batches,
            watch=watch,
            evict=evict,
        )
        telemetry = watch.read()
        settings = dict(opened.settings)
        reads_images, repeatable = opened.reads_images, LoaderTraits.of(opened).repeatable
        if reads_images and conditions.config.passes == "all":
            loader_ceiling = runner.loader_alone(
                opened, clock, plan, spec.num_batches, cpu_s=watch.cpu_s, evict=evict
            )
    scores = tally.read()
    runner.check_each_once(scores, measured.num_epochs, conditions.manifest.names, loader)
    latencies = []
    for classifier in (bench.classifier, *others):
        one_by_one = dataclasses.replace(spec, batch_size=classifier.batch_size, prefetch=0)
        with open_loader(loader, factory, one_by_one) as opened:
            samples_s = runner.probe_latency(opened, classifier, plan)
        latencies.append(Latency(batch_size=classifier.batch_size, samples_s=samples_s))
    return Passes(
        end_to_end=measured,
        scores=scores,
        loader_ceiling=loader_ceiling,
        latencies=latencies,
        telemetry=telemetry,
        loader_start_s=loader_start_s,
        settings=settings,
        reads_images=reads_images,
        repeatable=repeatable,
    )
