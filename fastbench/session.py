"""One `fastbench run`: from a config to records, a row a model and loader.

The order is chosen so that what can fail fails early: the names, the device and the output folder
are checked before the data is drawn, the data before a model is loaded, and each record is written
as soon as its row is measured. A row that fails is reported and the next one runs.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import shlex
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench import environment, parity, runner
from fastbench.clock import make_clock
from fastbench.data.labels import Labels, map_labels
from fastbench.data.manifest import Manifest, scan
from fastbench.device import choose_device, mapped_errors
from fastbench.errors import FastbenchError
from fastbench.loaders import Factory, resolve
from fastbench.loaders.base import Loader, LoaderSpec
from fastbench.models import check_name
from fastbench.models.classifier import Classifier, Tally
from fastbench.models.zoo import LoadedModel, load_model
from fastbench.results import (
    SCHEMA_VERSION,
    Accuracy,
    Latency,
    Parity,
    Record,
    Throughput,
    WarmUp,
    write_record,
)

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
        for name in config.models:
            check_name(name)
        self._manifest = _find_data(config, draw_progress)
        on_gpu = self.device.type == "cuda"
        self._dtype = (
            ("float16" if on_gpu else "float32") if config.dtype == "auto" else config.dtype
        )
        self._batch_size = config.batch_size or DEFAULT_BATCH_SIZE[self.device.type]
        self._num_threads = config.num_threads or environment.num_cores()
        self._plan = runner.Plan.make(min_seconds=config.min_seconds, quick=config.quick)

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

    def _prepare(self, name: str) -> _Bench:
        """Load a model, map its labels, compile it, and get the reference's predictions."""
        config = self._config
        self._say(f"{name}: loading the model" + (", compiling it" if config.compile else ""))
        start = time.perf_counter()
        model = load_model(name, config.weights, seed=config.seed)
        load_s = time.perf_counter() - start
        labels = map_labels(self._manifest.folders, model.classes)
        with mapped_errors(f"the warm-up of {name}", self._batch_size):
            classifier = self._classifier(model, self._dtype, self._compile_mode)
            compile_s = classifier.warm_up(model.preprocess.crop)
        bench = _Bench(model, labels, classifier, load_s, compile_s)
        # A float32 eager row of the reference is its own reference: no second pass is needed.
        if config.reference != "none" and (self._dtype != "float32" or config.compile):
            self._say(f"{name} · {config.reference}: the reference's predictions in float32")
            bench.reference_predictions = self._score_reference(bench)
        return bench

    def _score_reference(self, bench: _Bench) -> list[int] | None:
        name = self._config.reference
        spec = dataclasses.replace(self._spec(bench.model), dtype="float32")
        with mapped_errors("the reference's pass", self._batch_size):
            classifier = self._classifier(bench.model, "float32", None)
            tally = self._tally(bench.labels)
            with _open(self._factories[name], spec) as loader:
                if not loader.reads_images:
                    return None
                scores = runner.score(loader, classifier, tally)
        runner.check_each_once(scores, 1, self._manifest.names, name)
        return scores.predictions

    def _measure(self, bench: _Bench, name: str) -> Record:
        """The passes of one row."""
        spec = self._spec(bench.model)
        tally = self._tally(bench.labels)
        with mapped_errors(f"{bench.model.name} behind {name}", self._batch_size):
            start = time.perf_counter()
            with _open(self._factories[name], spec) as loader:
                loader_start_s = time.perf_counter() - start
                measured = runner.end_to_end(
                    loader,
                    bench.classifier,
                    tally,
                    make_clock(self.device),
                    self._plan,
                    spec.num_batches,
                )
                settings, reads_images = dict(loader.settings), loader.reads_images
            scores = tally.read()
            runner.check_each_once(scores, measured.num_epochs, self._manifest.names, name)
            with _open(self._factories[name], dataclasses.replace(spec, prefetch=0)) as loader:
                latencies_s = runner.probe_latency(loader, bench.classifier, self._plan)
        notes = []
        if scores.hits and len(set(scores.hits)) > 1:
            notes.append(
                f"hits differ between epochs (top-1 {min(scores.hits)[0]} to "
                f"{max(scores.hits)[0]}): the loader or the model is not deterministic"
            )
        accuracy = None
        if reads_images and scores.hits:
            top1, top5 = scores.hits[0]
            accuracy = Accuracy(
                num_samples=len(self._manifest), top1_correct=top1, top5_correct=top5
            )
        return Record(
            schema_version=SCHEMA_VERSION,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["fastbench", *sys.argv[1:]]),
            loader=name,
            model=bench.model.name,
            weights=bench.model.weights,
            device=str(self.device),
            dtype=self._dtype,
            compile_mode=self._compile_mode,
            batch_size=self._batch_size,
            num_threads=self._num_threads,
            config=dataclasses.asdict(self._config),
            environment=environment.describe(),
            data={
                "root": str(self._manifest.root),
                "num_samples": len(self._manifest),
                "num_classes": len(self._manifest.classes),
                "num_bytes": sum(self._manifest.num_bytes),
                "digest": self._manifest.digest,
            },
            preprocess={
                **dataclasses.asdict(bench.model.preprocess),
                "source": bench.model.preprocess_source,
            },
            loader_settings=settings,
            labels=bench.labels.how if reads_images else "no labels: the images are not read",
            warm_up=WarmUp(
                model_load_s=bench.load_s,
                loader_start_s=loader_start_s,
                compile_s=bench.compile_s,
                first_batch_s=measured.first_batch_s,
                num_batches=measured.warm_up_batches,
                wall_s=measured.warm_up_s,
            ),
            throughput=Throughput(
                num_images=measured.num_images,
                num_epochs=measured.num_epochs,
                batch_size=self._batch_size,
                wall_s=measured.wall_s,
                step_times_s=measured.step_times_s,
            ),
            latency=Latency(batch_size=self._batch_size, samples_s=latencies_s),
            accuracy=accuracy,
            parity=self._parity(bench, name, scores.predictions) if reads_images else None,
            notes=notes,
        )

    def _parity(self, bench: _Bench, name: str, predictions: list[int]) -> Parity | None:
        reference = self._config.reference
        is_reference = name == reference and self._dtype == "float32" and not self._config.compile
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

    @property
    def _compile_mode(self) -> str | None:
        return self._config.compile_mode if self._config.compile else None

    def _classifier(self, model: LoadedModel, dtype: str, compile_mode: str | None) -> Classifier:
        return Classifier(
            copy.deepcopy(model.module),  # a cast to float16 and back would not be the weights
            device=str(self.device),
            dtype=dtype,
            batch_size=self._batch_size,
            compile_mode=compile_mode,
        )

    def _tally(self, labels: Labels) -> Tally:
        return Tally(len(self._manifest), labels.indices, str(self.device))

    def _spec(self, model: LoadedModel) -> LoaderSpec:
        return LoaderSpec(
            paths=self._manifest.paths,
            batch_size=self._batch_size,
            preprocess=model.preprocess,
            device=str(self.device),
            dtype=self._dtype,
            num_threads=self._num_threads,
            seed=self._config.seed,
        )


@dataclass
class _Bench:
    """A model on the bench: what its rows share."""

    model: LoadedModel
    labels: Labels
    classifier: Classifier
    load_s: float
    compile_s: float
    reference_predictions: list[int] | None = None


def _find_data(config: RunConfig, draw_progress: Callable[[int, int], None]) -> Manifest:
    if config.data != "sample":
        return scan(Path(config.data), limit=config.limit)
    from fastbench.data.sample import ensure_sample

    num_images = max(NUM_SAMPLE_IMAGES, config.limit or 0)
    return scan(ensure_sample(num_images, on_progress=draw_progress), limit=config.limit)


@contextlib.contextmanager
def _open(factory: Factory, spec: LoaderSpec) -> Iterator[Loader]:
    loader = factory(spec)
    try:
        yield loader
    finally:
        loader.close()
