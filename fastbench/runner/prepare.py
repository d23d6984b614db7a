"""What all rows of a run share: the data, the device, the loaders by name, and models made ready.

What can fail is tried here first, in the order of what it costs: names, device and options before
the data is drawn or read, the data before a model is loaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastbench.core.device import choose_device, num_cores
from fastbench.data.dataset import find_images
from fastbench.data.labels import Labels, among_present, map_labels
from fastbench.data.page_cache import forget, read_all, share_in_memory
from fastbench.loaders.base import Factory, LoaderSpec
from fastbench.loaders.guard import CheckedLoader
from fastbench.loaders.registry import check_options, resolve
from fastbench.measure import passes
from fastbench.measure.tally import Scores, Tally
from fastbench.models.base import LoadedModel, keep_outputs
from fastbench.models.classifier import Classifier
from fastbench.models.cost import Cost
from fastbench.models.registry import check_name, load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import torch

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Count
    from fastbench.data.dataset import Manifest
    from fastbench.loaders.base import Loader
    from fastbench.records.speed import Ceiling

__all__ = ["Bench", "Conditions", "Workbench", "open_loader"]

DEFAULT_BATCH_SIZE = {"cuda": 256, "cpu": 32}
MOSTLY_COLD = 0.05


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a record says of its run beyond its own row."""

    config: RunConfig
    manifest: Manifest
    device: torch.device
    dtype: str
    batch_size: int
    plan: passes.Plan
    page_cache: str
    page_cache_share: float | None

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
    load_s: float = 0.0
    compile_s: float = 0.0
    model_ceiling: Ceiling | None = None
    num_graphs: int = 0
    num_graph_breaks: int = 0
    reference_predictions: list[int] | None = None
    float32: Classifier | None = None
    others: list[Classifier] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


@contextlib.contextmanager
def open_loader(name: str, factory: Factory, spec: LoaderSpec) -> Iterator[Loader]:
    """A loader whose batches are held to the contract, and that is closed whatever happens.

    Raises `LoaderError`, also while it is iterated, where it fails or breaks the contract.
    """
    loader = CheckedLoader(name, factory, spec)
    try:
        yield loader
    finally:
        loader.close()


class Workbench:
    """The tools of a run.

    `say` is told in one line what is being done, `count` shows how far a long count has come;
    `folder` takes the records and the pictures.
    """

    def __init__(
        self, config: RunConfig, folder: Path, *, say: Callable[[str], None], count: Count
    ) -> None:
        self.config = config
        self.folder = folder
        self.say = say
        self.device: torch.device = choose_device(config.device)
        self.factories: dict[str, Factory] = {name: resolve(name) for name in config.loaders}
        for name in config.loaders:
            check_options(name, config.options_of(name))
        for name in config.models:
            check_name(name)
        on_gpu = self.device.type == "cuda"
        manifest = find_images(config, count)
        page_cache, page_cache_share = _prepare_page_cache(config, manifest, count)
        self.conditions = Conditions(
            config=config,
            manifest=manifest,
            device=self.device,
            dtype=("float16" if on_gpu else "float32") if config.dtype == "auto" else config.dtype,
            batch_size=config.batch_size or DEFAULT_BATCH_SIZE[self.device.type],
            plan=passes.Plan.make(
                min_seconds=config.min_seconds, num_windows=config.windows, quick=config.quick
            ),
            page_cache=page_cache,
            page_cache_share=page_cache_share,
        )
        self._num_threads = config.num_threads or num_cores()

    @property
    def manifest(self) -> Manifest:
        """The samples."""
        return self.conditions.manifest

    def load(self, name: str) -> tuple[LoadedModel, Labels]:
        """A model with its weights, and the samples' classes in its space."""
        model = load_model(name, self.config.weights, seed=self.config.seed)
        labels = map_labels(self.manifest.words, model.classes, self.manifest.word_sets)
        if self.config.among == "present":
            labels, classes = among_present(labels, model.classes)
            model = keep_outputs(model, classes)
        return model, labels

    def classifier(
        self,
        model: LoadedModel,
        dtype: str,
        compile_mode: str | None,
        batch_size: int | None = None,
    ) -> Classifier:
        """A model made ready, for batches of the run's size or another; the loaded one stays.

        Raises `UsageError` for batches that the model was not exported for.
        """
        batch_size = batch_size or self.conditions.batch_size
        model.check_batch_size(batch_size)
        return Classifier(
            model.copy_module(),  # a cast to float16 and back would not be the weights
            device=str(self.device),
            dtype=dtype,
            batch_size=batch_size,
            compile_mode=compile_mode,
            name=model.name,
        )

    @property
    def is_float32_eager(self) -> bool:
        """Whether the rows' own model is the one that the reference's predictions come from."""
        return self.conditions.dtype == "float32" and not self.config.compile

    def float32(self, bench: Bench) -> Classifier:
        """The model that the reference's predictions come from: float32, eager."""
        if self.is_float32_eager:
            return bench.classifier
        if bench.float32 is None:
            bench.float32 = self.classifier(bench.model, "float32", None)
        return bench.float32

    def tally(self, bench: Bench) -> Tally:
        """What counts a pass."""
        return Tally(
            len(self.manifest),
            bench.labels.indices,
            str(self.device),
            probabilities=self.config.predictions is not None,
        )

    def spec(self, model: LoadedModel, loader: str | None = None) -> LoaderSpec:
        """What a loader is told in this run; without a name, what all are told."""
        spec = LoaderSpec(
            paths=self.manifest.paths,
            batch_size=self.conditions.batch_size,
            preprocess=model.preprocess,
            device=str(self.device),
            dtype=self.conditions.dtype,
            num_threads=self._num_threads,
            seed=self.config.seed,
            largest=self.manifest.largest,
            resize=self.config.resize,
        )
        return spec if loader is None else spec.with_settings(self.config.options_of(loader))

    def evict(self) -> None:
        """Put the samples' files out of the page cache."""
        forget(self.manifest.paths)

    def score(self, bench: Bench, name: str, spec: LoaderSpec, classifier: Classifier) -> Scores:
        """One untimed pass in which every pixel is repeatable."""
        tally = self.tally(bench)
        spec = dataclasses.replace(spec, repeatable=True)
        with open_loader(name, self.factories[name], spec) as loader:
            scores = passes.score(loader, classifier, tally)
        passes.check_each_once(scores, 1, self.manifest.names, name)
        return scores


def _prepare_page_cache(
    config: RunConfig, manifest: Manifest, count: Count
) -> tuple[str, float | None]:
    """Bring the files into the state that was asked for: what it is, and the share in memory."""
    paths = manifest.paths
    if config.page_cache == "warm":
        shown = count("reading the files once, to have them in memory")
        stay = read_all(paths, sum(manifest.num_bytes), shown)
        return "warm" if stay else "as found", share_in_memory(paths)
    forget(paths)
    left = share_in_memory(paths)
    return "cold" if left is None or left < MOSTLY_COLD else "not cold", left
