"""One `fastbench run`: from a config to records, a row a model and loader.

The order is chosen so that what can fail fails early: the names, the device and the output folder
are checked before the data is drawn, the data before a model is loaded, and each record is written
as soon as its row is measured. A row that fails is reported and the next one runs.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench import environment, parity, runner, tune
from fastbench.clock import make_clock
from fastbench.data.labels import Labels, map_labels
from fastbench.data.manifest import Manifest, scan
from fastbench.device import choose_device, mapped_errors
from fastbench.errors import FastbenchError
from fastbench.loaders import Factory, check_options, resolve
from fastbench.loaders.base import LoaderSpec, Preprocess, Setting
from fastbench.models import check_name
from fastbench.models.classifier import Classifier, Scores, Tally
from fastbench.models.zoo import LoadedModel, load_model
from fastbench.results import Ceiling, Parity, Record, Trial, write_record
from fastbench.row import Bench, Conditions, make_record, open_loader, run_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from fastbench.config import RunConfig

__all__ = ["FailedRow", "Session"]

DEFAULT_BATCH_SIZE = {"cuda": 256, "cpu": 32}
NUM_SAMPLE_IMAGES = 1000


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
            classifier = self._classifier(bench.model, "float32", None)
            return self._score(
                bench, name, dataclasses.replace(spec, dtype="float32"), classifier
            ).predictions

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
            notes = []
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
        return make_record(
            self._conditions,
            bench,
            spec,
            passes,
            loader=name,
            scores=scores,
            parity=self._parity(bench, name, scores.predictions) if passes.reads_images else None,
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

    def _parity(self, bench: Bench, name: str, predictions: list[int]) -> Parity | None:
        reference = self._config.reference
        is_reference = (
            name == reference and self._conditions.dtype == "float32" and not self._config.compile
        )
        if is_reference:
            bench.reference_predictions = predictions
        if bench.reference_predictions is None:
            return None
        return parity.compare_predictions(
            predictions,
            bench.reference_predictions,
            bench.labels.indices,
            reference=reference,
            is_reference=is_reference,
        )

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
        )
        return tune.apply(spec, self._config.options_of(loader))


def _find_data(config: RunConfig, draw_progress: Callable[[int, int], None]) -> Manifest:
    if config.data != "sample":
        return scan(Path(config.data), limit=config.limit)
    from fastbench.data.sample import ensure_sample

    num_images = max(NUM_SAMPLE_IMAGES, config.limit or 0)
    return scan(ensure_sample(num_images, on_progress=draw_progress), limit=config.limit)
