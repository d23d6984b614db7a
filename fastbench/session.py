"""One `fastbench run`: from a config to records, a row a model and loader.

The order is chosen so that what can fail fails early: the names, the device and the output folder
are checked before the data is drawn, the data before a model is loaded, and each record is written
as soon as its row is measured. A row that fails is reported and the next one runs.
"""

from __future__ import annotations

import copy
import dataclasses
import shlex
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench import environment, parity, runner, tune
from fastbench.clock import make_clock
from fastbench.data.labels import BY_WNID, Labels, map_labels
from fastbench.data.manifest import Manifest, scan, spread
from fastbench.device import choose_device, mapped_errors
from fastbench.diagnose import name_cause
from fastbench.errors import FastbenchError, LoaderError
from fastbench.gates import judge_pixels
from fastbench.loaders import Factory, check_options, resolve
from fastbench.loaders.base import LoaderSpec, Preprocess, Setting
from fastbench.models import check_name
from fastbench.models.classifier import Classifier, Scores, Tally
from fastbench.models.zoo import LoadedModel, load_model
from fastbench.report.picture import draw_difference
from fastbench.results import (
    SCHEMA_VERSION,
    Ceiling,
    Parity,
    ParityRecord,
    Pixels,
    Published,
    Record,
    Trial,
    write_parity_record,
    write_record,
)
from fastbench.row import (
    Bench,
    Conditions,
    describe_data,
    describe_preprocess,
    make_record,
    open_loader,
    run_passes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from fastbench.config import RunConfig

__all__ = ["FailedRow", "Session"]

DEFAULT_BATCH_SIZE = {"cuda": 256, "cpu": 32}
NUM_SAMPLE_IMAGES = 1000
NUM_COMPARED = 128
NUM_COMPARED_QUICK = 32


@dataclass(frozen=True)
class FailedRow:
    """A row that could not be measured."""

    model: str
    loader: str
    error: FastbenchError


class Session:
    """Everything that the rows of one run share.

    `say` is told in one line what is being done; `draw_progress` gets (images drawn, of how many).
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        *,
        say: Callable[[str], None],
        draw_progress: Callable[[int, int], None],
    ) -> None:
        self._config = config
        self._folder = folder
        self._say = say
        self.device: torch.device = choose_device(config.device)
        self._factories: dict[str, Factory] = {name: resolve(name) for name in config.loaders}
        for name in config.loaders:
            check_options(name, config.options_of(name))
        for name in config.models:
            check_name(name)
        on_gpu = self.device.type == "cuda"
        self._conditions = Conditions(
            config=config,
            manifest=_find_data(config, draw_progress),
            device=self.device,
            dtype=("float16" if on_gpu else "float32") if config.dtype == "auto" else config.dtype,
            batch_size=config.batch_size or DEFAULT_BATCH_SIZE[self.device.type],
            plan=runner.Plan.make(min_seconds=config.min_seconds, quick=config.quick),
        )
        self._num_threads = config.num_threads or environment.num_cores()
        self._tuned: dict[tuple[str, Preprocess, str], tuple[dict[str, Setting], list[Trial]]] = {}

    def rows(self) -> Iterator[Record | FailedRow]:
        """Measure row by row: every model, and for each every loader, the reference first.

        A record is on disk when it is yielded. Raises `OutputError` where it cannot be written.
        """
        for name in self._config.models:
            try:
                bench = self._prepare(name)
            except FastbenchError as error:
                yield FailedRow(name, "every loader", error)
                continue
            for loader in self._config.loaders:
                self._say(f"{name} · {loader}: measuring")
                try:
                    record = self._measure(bench, loader)
                except FastbenchError as error:
                    yield FailedRow(name, loader, error)
                else:
                    write_record(record, self._folder)
                    yield record

    def _prepare(self, name: str) -> Bench:
        """Load a model, map its labels, compile it, and get the reference's predictions."""
        config = self._config
        self._say(f"{name}: loading the model" + (", compiling it" if config.compile else ""))
        start = time.perf_counter()
        model = load_model(name, config.weights, seed=config.seed)
        load_s = time.perf_counter() - start
        labels = map_labels(self._conditions.manifest.folders, model.classes)
        with mapped_errors(f"the warm-up of {name}", self._conditions.batch_size):
            classifier = self._classifier(
                model, self._conditions.dtype, self._conditions.compile_mode
            )
            compile_s = classifier.warm_up(model.preprocess.crop)
            ceiling = self._model_ceiling(classifier, model) if config.passes == "all" else None
        num_graphs, num_graph_breaks = classifier.num_graphs()
        bench = Bench(
            model, labels, classifier, load_s, compile_s, ceiling, num_graphs, num_graph_breaks
        )
        # A float32 eager row of the reference is its own reference: no second pass is needed.
        if config.reference != "none" and (self._conditions.dtype != "float32" or config.compile):
            self._say(f"{name} · {config.reference}: the reference's predictions in float32")
            bench.reference_predictions = self._score_reference(bench)
        return bench

    def _model_ceiling(self, classifier: Classifier, model: LoadedModel) -> Ceiling:
        spec = self._spec(model, "synthetic")
        with open_loader(resolve("synthetic"), dataclasses.replace(spec, options={})) as loader:
            images_NCHW = next(iter(loader)).images_NCHW
            return runner.model_alone(
                classifier, images_NCHW, make_clock(self.device), self._conditions.plan
            )

    def _score_reference(self, bench: Bench) -> list[int] | None:
        name = self._config.reference
        spec = self._spec(bench.model, name)
        if not self._reads_images(name, spec):
            return None
        with mapped_errors("the reference's pass", self._conditions.batch_size):
            spec = dataclasses.replace(spec, dtype="float32")
            return self._score(bench, name, spec, self._float32(bench)).predictions

    def _reads_images(self, name: str, spec: LoaderSpec) -> bool:
        with open_loader(self._factories[name], dataclasses.replace(spec, prefetch=0)) as loader:
            return loader.reads_images

    def _score(self, bench: Bench, name: str, spec: LoaderSpec, classifier: Classifier) -> Scores:
        """One untimed pass in which every pixel is repeatable."""
        tally = self._tally(bench.labels)
        spec = dataclasses.replace(spec, repeatable=True)
        with open_loader(self._factories[name], spec) as loader:
            scores = runner.score(loader, classifier, tally)
        runner.check_each_once(scores, 1, self._conditions.manifest.names, name)
        return scores

    def _measure(self, bench: Bench, name: str) -> Record:
        """The passes of one row."""
        with mapped_errors(f"{bench.model.name} behind {name}", self._conditions.batch_size):
            spec, tuning = self._tune(name, self._spec(bench.model, name))
            passes = run_passes(
                self._factories[name],
                bench,
                spec,
                self._tally(bench.labels),
                self._conditions,
                loader=name,
            )
            notes: list[str] = []
            scores = passes.scores
            if not passes.repeatable:
                scores = self._score(bench, name, spec, bench.classifier)
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
        return make_record(
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

    def _tune(self, name: str, spec: LoaderSpec) -> tuple[LoaderSpec, list[Trial]]:
        """Search for the settings that a loader says are worth it and the user did not give."""
        space_of = getattr(self._factories[name], "search_space", None)
        if space_of is None or self._config.quick:
            return spec, []
        fixed = self._config.options_of(name)
        space = {key: values for key, values in space_of(spec).items() if key not in fixed}
        if not space:
            return spec, []
        key = (name, spec.preprocess, spec.dtype)
        if key not in self._tuned:
            self._say(f"{name}: searching for its best settings")
            self._tuned[key] = tune.search(
                lambda tried: open_loader(self._factories[name], tried),
                spec,
                space,
                lambda: make_clock(self.device),
                seconds=1.0,
            )
        settings, trials = self._tuned[key]
        return tune.apply(spec, settings), trials

    def _parity(
        self, bench: Bench, name: str, predictions: list[int], notes: list[str]
    ) -> Parity | None:
        reference = self._config.reference
        is_reference = (
            name == reference and self._conditions.dtype == "float32" and not self._config.compile
        )
        if is_reference:
            bench.reference_predictions = predictions
        if bench.reference_predictions is None:
            return None
        pixels = None
        if name != reference:
            self._say(f"{bench.model.name} · {name}: pixels against {reference}")
            names, spec = self._some_samples(bench.model)
            _, pixels = self._compare(bench, name, spec, names, notes)
        return parity.compare_predictions(
            predictions,
            bench.reference_predictions,
            bench.labels.indices,
            reference=reference,
            is_reference=is_reference,
            pixels=pixels,
        )

    def parity_rows(self) -> Iterator[ParityRecord | FailedRow]:
        """Hold every loader but the reference against it, in step, over all samples.

        A record is on disk when it is yielded. Raises `OutputError` where it cannot be written.
        """
        config, manifest = self._config, self._conditions.manifest
        for name in config.models:
            for loader in config.loaders:
                if loader == config.reference:
                    continue
                self._say(f"{name} · {loader}: against {config.reference}")
                try:
                    model = load_model(name, config.weights, seed=config.seed)
                    labels = map_labels(manifest.folders, model.classes)
                    with mapped_errors(f"the comparison of {loader}", self._conditions.batch_size):
                        classifier = self._classifier(model, "float32", None)
                        bench = Bench(model, labels, classifier, 0.0, 0.0, None, 0, 0)
                        bench.float32 = classifier
                        spec = self._spec(model, loader)
                        settings: dict[str, Setting] = {}
                        comparison, pixels = self._compare(
                            bench, loader, spec, manifest.names, [], settings
                        )
                except FastbenchError as error:
                    yield FailedRow(name, loader, error)
                    continue
                record = ParityRecord(
                    schema_version=SCHEMA_VERSION,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    command=shlex.join(["fastbench", *sys.argv[1:]]),
                    loader=loader,
                    model=name,
                    weights=model.weights,
                    device=str(self.device),
                    batch_size=self._conditions.batch_size,
                    config=dataclasses.asdict(config),
                    environment=environment.describe(),
                    data=describe_data(manifest),
                    preprocess=describe_preprocess(model),
                    loader_settings=settings,
                    labels=labels.how,
                    parity=parity.compare_predictions(
                        comparison.predictions,
                        comparison.reference_predictions,
                        labels.indices,
                        reference=config.reference,
                        is_reference=False,
                        pixels=pixels,
                    ),
                )
                write_parity_record(record, self._folder)
                yield record

    def _some_samples(self, model: LoadedModel) -> tuple[list[str], LoaderSpec]:
        """Some samples, evenly spread: enough for pixels, of which an image has 150,000."""
        manifest = self._conditions.manifest
        most = NUM_COMPARED_QUICK if self._config.quick else NUM_COMPARED
        chosen = spread(len(manifest), most)
        spec = dataclasses.replace(
            self._spec(model, ""), paths=[manifest.paths[i] for i in chosen], prefetch=0
        )
        return [manifest.names[i] for i in chosen], spec

    def _compare(
        self,
        bench: Bench,
        name: str,
        spec: LoaderSpec,
        names: Sequence[str],
        notes: list[str],
        settings: dict[str, Setting] | None = None,
    ) -> tuple[parity.Comparison, Pixels]:
        """Read a loader and the reference in step; name the fault and draw it where they differ."""
        reference = self._config.reference
        spec = dataclasses.replace(spec, dtype="float32", repeatable=True)
        its_spec = tune.apply(spec, self._config.options_of(reference))
        spec = tune.apply(spec, self._config.options_of(name))
        with (
            open_loader(self._factories[name], spec) as loader,
            open_loader(self._factories[reference], its_spec) as its_loader,
        ):
            if not loader.reads_images or not its_loader.reads_images:
                raise LoaderError(
                    f"The loaders {name!r} and {reference!r} cannot be compared: one of them does "
                    f"not read the images. Choose two that do."
                )
            if settings is not None:
                settings.update(loader.settings)
            found = parity.compare_in_step(
                loader, its_loader, self._float32(bench), spec.preprocess
            )
        pixels = found.pixels(names, None)
        if judge_pixels(pixels):
            worst = [(spec.paths[i], *found.worst_levels[i]) for i in found.worst]
            pixels = found.pixels(names, name_cause(worst, spec.preprocess))
            path = self._folder / f"parity-{bench.model.name}-{name}.png"
            mine, theirs = found.worst_levels[found.worst[0]]
            draw_difference(theirs, mine, path)
            notes.append(f"the image that differs most: {path}")
        return found, pixels

    def _float32(self, bench: Bench) -> Classifier:
        """The model that the reference's predictions come from: float32, eager."""
        if self._conditions.dtype == "float32" and not self._config.compile:
            return bench.classifier
        if bench.float32 is None:
            bench.float32 = self._classifier(bench.model, "float32", None)
        return bench.float32

    def _classifier(self, model: LoadedModel, dtype: str, compile_mode: str | None) -> Classifier:
        return Classifier(
            copy.deepcopy(model.module),  # a cast to float16 and back would not be the weights
            device=str(self.device),
            dtype=dtype,
            batch_size=self._conditions.batch_size,
            compile_mode=compile_mode,
        )

    def _tally(self, labels: Labels) -> Tally:
        return Tally(len(self._conditions.manifest), labels.indices, str(self.device))

    def _spec(self, model: LoadedModel, loader: str) -> LoaderSpec:
        spec = LoaderSpec(
            paths=self._conditions.manifest.paths,
            batch_size=self._conditions.batch_size,
            preprocess=model.preprocess,
            device=str(self.device),
            dtype=self._conditions.dtype,
            num_threads=self._num_threads,
            seed=self._config.seed,
            largest=self._conditions.manifest.largest,
            resize=self._config.resize,
        )
        return tune.apply(spec, self._config.options_of(loader))


def _published(bench: Bench) -> Published | None:
    """What is published of these weights, where the labels are those it was published for."""
    if bench.model.published is None or bench.labels.how != BY_WNID:
        return None
    top1, top5 = bench.model.published
    return Published(top1=top1, top5=top5)


def _find_data(config: RunConfig, draw_progress: Callable[[int, int], None]) -> Manifest:
    if config.data != "sample":
        return scan(Path(config.data), limit=config.limit)
    from fastbench.data.sample import ensure_sample

    num_images = max(NUM_SAMPLE_IMAGES, config.limit or 0)
    return scan(ensure_sample(num_images, on_progress=draw_progress), limit=config.limit)
