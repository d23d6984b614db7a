"""What the rows of a run share: the data, the device, the loaders, and models made ready.

Cheap checks come first: names, device and options before the data is drawn or read, the data before
a model is loaded.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastbench.core.cores import cpu_quota, num_cores
from fastbench.core.device import check_tf32, choose_device, mapped_errors
from fastbench.core.engine_facts import COMPILE
from fastbench.core.errors import DataError, DeviceError, ModelError
from fastbench.core.loader_facts import CEILING_LOADER
from fastbench.core.nvidia import near_cores, uuid
from fastbench.core.reading import user_path
from fastbench.core.run_options import DEFAULT_BATCH_SIZE
from fastbench.core.temporary import shared_folder
from fastbench.core.value_types import share_of
from fastbench.data.calibration import check_there
from fastbench.data.dataset import Known, find_images
from fastbench.data.labels import Labels, among_present, map_labels
from fastbench.data.page_cache import forget, read_all, share_in_memory
from fastbench.engines.classifier import forget_compiled
from fastbench.engines.mixes import check as check_mix
from fastbench.engines.mixes import mix_of
from fastbench.engines.registry import resolve as resolve_engine
from fastbench.loaders.base import Factory, LoaderSpec, Setting
from fastbench.loaders.registry import check_options, resolve
from fastbench.measure.durations import Durations
from fastbench.measure.machine import describe_gpus
from fastbench.measure.passes import score
from fastbench.measure.ranks import ALONE, Ranks
from fastbench.measure.stopwatch import Stopwatch
from fastbench.measure.tally import Scores, Tally, check_each_once, check_finite
from fastbench.models.base import LoadedModel, keep_outputs
from fastbench.models.cost import Cost, count_cost
from fastbench.models.input_size import AskedInput
from fastbench.models.registry import check_name, load_model, program_format
from fastbench.runner import calibrate, kept
from fastbench.runner.open_loader import open_loader
from fastbench.runner.row_engines import RowEngines

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import torch

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Count, Progress
    from fastbench.data.dataset import Manifest, Skipped
    from fastbench.engines.classifier import Classifier
    from fastbench.records.accuracy import ProgramCheck

MOSTLY_COLD = 0.05
_LOG = logging.getLogger(__name__)


@dataclass
class Bench:
    """A model ready for its rows.

    `others` is the model for other batch sizes, `resident_NCHW` the batch of the model alone, None
    if its ceiling is not asked for.
    """

    model: LoadedModel
    labels: Labels
    classifier: Classifier
    load_s: float = 0.0
    compile_s: float = 0.0
    resident_NCHW: torch.Tensor | None = None
    graphs_and_breaks: tuple[int, int] = (0, 0)
    float32: Classifier | None = None
    others: list[Classifier] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    program: ProgramCheck | None = None


class Workbench:
    """The tools of a run.

    `folder` takes the records and the pictures; the files of `leave_out` are not used. `dtype` and
    `batch_size` are those of the rows, `compile_mode` is torch.compile's, None for eager. All of
    `ranks` make their workbench at the same time; one that `is_idle` has no image, and no further
    part in it. `cores` are the numbers of those that this rank keeps to.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        progress: Progress,
        leave_out: Collection[Skipped] = (),
        stopwatch: Stopwatch | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.stopwatch = stopwatch or Stopwatch()
        self.config = config
        self.folder = folder
        self.progress = progress
        self.device: torch.device = choose_device(
            config.device,
            stream=config.cuda_stream,
            wait=config.cuda_wait,
            local_rank=ranks.place.local_rank if ranks.size > 1 else None,
        )
        _check_own_gpu(self.device, ranks)
        self.gpus = describe_gpus(self.device)
        self.factories: dict[str, Factory] = {name: resolve(name) for name in config.loaders}
        for name in config.loaders:
            check_options(name, config.options_of(name))
        on_gpu = self.device.type == "cuda"
        self.dtype = config.dtype
        if config.dtype == "auto":
            self.dtype = "float16" if on_gpu else "float32"
        for name in config.models:
            check_name(name)
            mix = mix_of(config, name, device=str(self.device), dtype=self.dtype)
            check_mix(mix)
            resolve_engine(mix.engine)
        if config.reference_model is not None:
            check_name(config.reference_model)
        check_there(config)  # also where this row does not quantise: another one will
        self.stopwatch.enter("images")

        def find() -> Manifest:
            manifest = _find_images(config, progress.count, leave_out)
            if not ranks.is_one_machine:
                progress.say("waiting for the other machines to look at the images")
            return manifest

        self.manifest: Manifest = ranks.once_a_machine(find)
        _check_same_images(self.manifest, ranks)
        self.stopwatch.enter("page_cache")
        self.page_cache, self.page_cache_share = ranks.once_a_machine(
            lambda: _prepare_page_cache(config, self.manifest, progress.count)
        )
        working = ranks.without_idle(len(self.manifest))
        self.is_idle = working is None
        self.ranks = working or ALONE
        self.stopwatch.enter("model")
        self.compile_mode: str | None = None
        if config.engine_name == COMPILE:
            self.compile_mode = config.compile_mode
        self.batch_size: int = config.batch_size or DEFAULT_BATCH_SIZE[self.device.type]
        self.durations = Durations.make(
            min_seconds=config.min_seconds,
            num_windows=config.windows,
            quick=config.quick,
            on_gpu=on_gpu,
            max_interval=None if config.max_interval is None else share_of(config.max_interval),
            latency_samples=config.latency_samples,
        )
        check_tf32(self.device, self.dtype, config.tf32)
        self._every_core = os.sched_getaffinity(0)
        own = _keep_near(self.device, self.ranks) if self.ranks.size > 1 else num_cores()
        self.cores = sorted(os.sched_getaffinity(0))
        self._num_threads = config.num_threads or own
        self.engines = RowEngines(
            config=config,
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
            num_threads=config.model_threads or own,
            load_reference=lambda name: self._load(name, config.weights),
            calibration=lambda model: calibrate.read_batches(
                config, self.manifest, self.spec(model), progress
            ),
        )

    def load(self, name: str) -> tuple[LoadedModel, Labels]:
        """A model with its weights, and the samples' labels as its outputs."""
        is_file = program_format(user_path(name)) is not None
        # A file has its own: those that are given are its reference model's.
        its_own = is_file and self.config.reference_model is not None
        model = self._load(name, "DEFAULT" if its_own else self.config.weights)
        labels = map_labels(self.manifest.words, model.classes, self.manifest.word_sets)
        if self.config.among == "present":
            labels, classes = among_present(labels, model.classes)
            model = keep_outputs(model, classes)
        return model, labels

    def _load(self, name: str, weights: str) -> LoadedModel:
        asked = AskedInput.of(self.config)
        return load_model(name, weights, seed=self.config.seed, asked=asked)

    def float32(self, bench: Bench) -> Classifier:
        """The model of the reference's predictions: float32, eager, without TensorFloat-32."""
        if self.engines.is_as_reference(bench.model):
            return bench.classifier
        if bench.float32 is None:
            bench.float32 = self.engines.reference(bench.model)
        return bench.float32

    @property
    def share(self) -> slice:
        """The samples that this rank is timed with: all, where it is the only one."""
        share = self.ranks.share(len(self.manifest))
        return slice(share.start, share.stop)

    def own(self, spec: LoaderSpec) -> LoaderSpec:
        """A spec of all samples, for this rank's share of them."""
        share = self.share
        return dataclasses.replace(spec, paths=spec.paths[share], sizes=spec.sizes[share])

    def release_cores(self) -> None:
        """Let this rank use all cores again, when nothing is timed any more."""
        os.sched_setaffinity(0, self._every_core)

    def tally(self, bench: Bench, samples: slice = slice(None)) -> Tally:
        """A new tally for a pass over some samples."""
        labels = bench.labels.indices
        return Tally(
            len(self.manifest.names[samples]),
            None if labels is None else labels[samples],
            str(self.device),
            probabilities=self.config.predictions is not None,
        )

    def spec(self, model: LoadedModel, loader: str | None = None) -> LoaderSpec:
        """What a loader is told in this run; without a name, without options of its own."""
        spec = LoaderSpec(
            paths=self.manifest.paths,
            batch_size=self.batch_size,
            preprocess=model.preprocess,
            device=str(self.device),
            dtype=self.engines.images_dtype(model),
            num_threads=self._num_threads,
            seed=self.config.seed,
            largest=self.manifest.largest,
            sizes=self.manifest.sizes,
            resize=self.config.resize,
        )
        return spec if loader is None else spec.with_settings(self.config.options_of(loader))

    def evict(self) -> None:
        """Put the files of this rank's samples out of the page cache."""
        forget(self.manifest.paths[self.share])

    def score(
        self, bench: Bench, name: str, spec: LoaderSpec, classifier: Classifier
    ) -> tuple[Scores, dict[str, Setting]]:
        """Score one untimed pass with repeatable pixels; also the loader's settings in it."""
        spec = dataclasses.replace(spec, repeatable=True)
        with open_loader(name, self.factories[name], spec) as loader:
            scores, settings = score(loader, classifier, self.tally(bench)), dict(loader.settings)
        check_each_once(scores, 1, self.manifest.names, name)
        check_finite(scores, 1, bench.model.name, classifier.dtype)
        _LOG.debug("%s scored", name)
        return scores, settings


def prepare_model(workbench: Workbench, name: str) -> Bench:
    """Load a model, map its labels, and compile it."""
    config = workbench.config
    workbench.progress.say(
        f"{name}: loading the model" + (", compiling it" if workbench.compile_mode else "")
    )
    start = time.perf_counter()
    with workbench.ranks.first_here():  # it may download weights
        model, labels = workbench.load(name)
        if config.reference_model is not None and config.reference != "none":
            workbench.engines.reference_model(model)  # what is wrong with it shows before the row
    load_s = time.perf_counter() - start
    _LOG.debug("%s loaded in %.3f s with %s, %s", name, load_s, model.weights, labels.how)
    if workbench.compile_mode:
        forget_compiled()
    with mapped_errors(f"the warm-up of {name}", workbench.batch_size):
        others = [
            _warmed_up(workbench, model, size)[0]
            for size in dict.fromkeys(config.latency_batch_size)
            if size != workbench.batch_size
        ]
        classifier, compile_s = _warmed_up(workbench, model)
        _LOG.debug("%s ready for %s, %.3f s to compile", name, workbench.dtype, compile_s)
        resident_NCHW = resident_batch(workbench, model) if config.passes == "all" else None
    return Bench(
        model,
        labels,
        classifier,
        load_s=load_s,
        compile_s=compile_s,
        resident_NCHW=resident_NCHW,
        graphs_and_breaks=classifier.num_graphs(),
        others=others,
        cost=count_cost(model),
    )


def _warmed_up(
    workbench: Workbench, model: LoadedModel, batch_size: int | None = None
) -> tuple[Classifier, float]:
    """The model in the rows' dtype and compilation, run once; seconds of compiling."""
    classifier = workbench.engines.of_rows(model, batch_size)
    seconds = classifier.warm_up()
    check_outputs(classifier, model)
    return classifier, seconds


def check_outputs(classifier: Classifier, model: LoadedModel) -> None:
    """Raise `ModelError` if an engine that has run gives another number of classes."""
    num, kept = model.classes.num_classes, model.classes.outputs
    if kept is None and classifier.num_outputs != num:
        raise ModelError(
            f"The engine {classifier.engine} gives {classifier.num_outputs} outputs for the model "
            f"{model.name}, which has {num} classes. Mend the engine, or use --engine eager."
        )


def resident_batch(workbench: Workbench, model: LoadedModel) -> torch.Tensor:
    """A batch of made-up images on the device, for the model alone."""
    with open_loader(CEILING_LOADER, resolve(CEILING_LOADER), workbench.spec(model)) as loader:
        return next(iter(loader)).images_NCHW.clone()


def _check_own_gpu(device: torch.device, ranks: Ranks) -> None:
    """Raise `DeviceError` if another rank has the same GPU."""
    name = uuid(device.index) if device.type == "cuda" and ranks.size > 1 else None
    same = [rank for rank, its in enumerate(ranks.gather(name)) if its == name]
    if name is not None and len(same) > 1:
        raise DeviceError(
            f"Ranks {same[0]} and {same[1]} have the same GPU, {name}. Each needs its own: lower "
            f"--ranks, or start fewer processes on its machine."
        )


def _check_same_images(manifest: Manifest, ranks: Ranks) -> None:
    """Raise `DataError` if another machine has other images under the name."""
    for place, digest in zip(ranks.places, ranks.gather(manifest.digest), strict=True):
        if digest != manifest.digest:
            raise DataError(
                f"The images in {manifest.root} are not the same on {place.host} (rank "
                f"{place.rank}) as on {ranks.place.host}: other names or sizes. Copy them anew."
            )


def _keep_near(device: torch.device, ranks: Ranks) -> int:
    """Keep this process to the cores near its GPU, as far as that is known.

    Returns how many of them are this rank's, if it shares them with the others that keep to them.
    """
    allowed = frozenset(os.sched_getaffinity(0))
    near = near_cores(device.index) & allowed if device.type == "cuda" else frozenset()
    kept = near or allowed
    of_ranks = ranks.gather(kept)
    here = [of_ranks[rank] for rank in ranks.here]
    quota = cpu_quota()  # of all ranks of the machine
    os.sched_setaffinity(0, kept)
    own = len(kept) // here.count(kept)
    return max(1, own if quota is None else min(own, math.ceil(quota) // len(here)))


def _find_images(config: RunConfig, count: Count, leave_out: Collection[Skipped]) -> Manifest:
    """The images; files that another row of the run has checked are not read again."""
    folder, depends_on = shared_folder(), {"files": config.data}
    before = kept.find(folder, depends_on, dict[str, Known]) or {}
    known = dict(before)
    manifest = find_images(config, count, leave_out, known)
    if known != before:
        kept.keep(folder, depends_on, known)
    return manifest


def _prepare_page_cache(
    config: RunConfig, manifest: Manifest, count: Count
) -> tuple[str, float | None]:
    """Bring the files into the state that is asked for; the state, and the share in memory.

    Files that another row of the run has read are not read again, unless some have left the memory.
    """
    paths = manifest.paths
    if config.page_cache == "warm":
        folder, depends_on = shared_folder(), {"read": manifest.identity}
        share = share_in_memory(paths)
        if share == 1 and kept.find(folder, depends_on, bool):
            return "warm", share
        shown = count("reading the files once, to have them in memory")
        stay = read_all(paths, sum(manifest.num_bytes), shown)
        if stay:
            kept.keep(folder, depends_on, True)
        return "warm" if stay else "as found", share_in_memory(paths)
    forget(paths)
    left = share_in_memory(paths)
    return "cold" if left is None or left < MOSTLY_COLD else "not cold", left
