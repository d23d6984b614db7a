"""The process of a trial of `fastbench tune`: what may be tried here, and how good it is.

A trial is one window of the pipeline after a warm-up, of some seconds, not of whole epochs; nothing
is scored. For throughput, rounds of the loader and the model alone follow: the search learns from
them (`measure/search.py`). For batch latency it is the probe of `measure/passes.py`, which
prefetches nothing.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.cores import num_cores
from fastbench.core.device import mapped_errors
from fastbench.core.errors import FastbenchError, OutOfMemoryError, UsageError
from fastbench.loaders.base import LoaderTraits
from fastbench.measure import machine
from fastbench.measure.clock import make_clock
from fastbench.measure.durations import Durations
from fastbench.measure.gaussian_process import (
    OF_BATCHES,
    OF_MODEL_THREADS,
    OF_PREFETCH,
    OF_THREADS,
    Axis,
)
from fastbench.measure.passes import probe_latency
from fastbench.measure.pipeline import Stream
from fastbench.measure.rounds import Rounds
from fastbench.measure.tally import Tally
from fastbench.measure.telemetry import Watch
from fastbench.measure.warm_up import warm_up
from fastbench.records.record import FailedRow
from fastbench.records.speed import Window
from fastbench.runner.objective import LATENCY, THROUGHPUT
from fastbench.runner.open_loader import open_loader
from fastbench.runner.prepare import Workbench, resident_batch
from fastbench.runner.search_loader import given_settings, search_loader, space_of
from fastbench.runner.trials_file import Measured, Space

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress
    from fastbench.data.dataset import Skipped
    from fastbench.loaders.base import LoaderSpec, Setting
    from fastbench.measure.loader_settings import Found
    from fastbench.models.base import LoadedModel

_THREADS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_DOUBLINGS: Final = 3
"""A batch is tried down to an eighth and up to eight times its default."""
_PREFETCH: Final = (1, 2, 4, 8)
_QUICK_S: Final = 1.0
_MIN_BATCHES: Final = 5


def describe(
    config: RunConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped] = (),
    *,
    objective: str,
    loader_search: Found | None = None,
) -> Iterator[Space]:
    """What may be tried; options that were given are not. Raises what no trial could do without.

    `loader_search` is the loader's own, where a search goes on.
    """
    workbench = Workbench(config, folder, tell, leave_out)
    with Watch(workbench.device.index) as watch:
        watch.begin()
        watch.end(1)
        gpu = watch.read().gpu
    model, _ = workbench.load(config.models[0])
    spec = workbench.spec(model, config.timed_loader)
    try:
        default, found = search_loader(workbench, config.timed_loader, spec, loader_search)
    except OutOfMemoryError as error:  # smaller batches may fit
        tell.note(f"{config.timed_loader}'s own search for its settings failed: {error}")
        default, found = spec, None
    yield Space(
        axes=tuple(_axes(workbench, model, spec, default, objective == LATENCY)),
        num_cores=num_cores(),
        loader_search=found,
        device=workbench.gpus[0]["name"] if workbench.gpus else "the CPU",
        identity=workbench.manifest.identity,
        has_energy=gpu is not None and gpu.energy_j is not None,
        environment=machine.describe(workbench.gpus),
    )


def _axes(
    workbench: Workbench,
    model: LoadedModel,
    spec: LoaderSpec,
    default: LoaderSpec,
    for_latency: bool,
) -> Iterator[Axis]:
    """What may be tried of the `spec`; `default` is it with the settings that a run has."""
    config, loader = workbench.config, workbench.config.timed_loader
    own = dict(space_of(loader, workbench.factories[loader], spec))
    given = given_settings(config, loader)
    cores = num_cores()
    if config.batch_size is None and not for_latency:
        sizes = _batch_sizes(workbench, model)
        yield _axis("batch_size", sizes, spec.batch_size, **OF_BATCHES)
    threads = own.pop("num_threads", _up_to(cores, beyond=1))
    if "num_threads" not in given:
        yield _axis("num_threads", threads, default.num_threads, **OF_THREADS)
    if config.model_threads is None and workbench.device.type == "cpu":
        yield _axis("model_threads", _up_to(cores), cores, **OF_MODEL_THREADS)
    prefetch = own.pop("prefetch", _PREFETCH)
    if "prefetch" not in given and not for_latency:
        yield _axis("prefetch", prefetch, default.prefetch, **OF_PREFETCH)
    left = {name: values for name, values in own.items() if name not in given}
    used = _used(workbench, loader, default) if left else {}
    for name, values in left.items():
        yield _axis(name, values, used.get(name))


def _axis(name: str, values: Sequence[Setting], default: Setting, **how: Any) -> Axis:
    """The default is one of the values: in its place among numbers, before others."""
    if default not in values:
        values = (default, *values)
        if all(isinstance(value, int | float) for value in values):
            values = sorted(values)  # type: ignore[type-var]
    return Axis(name, tuple(values), list(values).index(default), **how)


def _batch_sizes(workbench: Workbench, model: LoadedModel) -> list[int]:
    """Those that the model takes, and of which there are enough images."""
    default = workbench.batch_size
    found = []
    for power in range(-_DOUBLINGS, _DOUBLINGS + 1):
        size = int(default * 2.0**power)
        try:
            model.check_batch_size(size)
        except UsageError:  # it was exported for others
            continue
        if size == default or 1 <= size <= len(workbench.manifest):
            found.append(size)
    return found


def _up_to(cores: int, beyond: int = 0) -> list[int]:
    """Numbers of threads up to that of the cores, and some `beyond` it."""
    more = [num for num in _THREADS if num > cores]
    return [*(num for num in _THREADS if num < cores), cores, *more[:beyond]]


def _used(workbench: Workbench, loader: str, spec: LoaderSpec) -> dict[str, Setting]:
    """The settings that a loader has: those that it is told, and what it says of others."""
    try:
        with open_loader(loader, workbench.factories[loader], spec) as opened:
            return {**opened.settings, **spec.options}
    except OutOfMemoryError:  # smaller batches may fit
        return dict(spec.options)


def trial(
    config: RunConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped] = (),
    *,
    objective: str,
    num_samples: int = 0,
) -> Iterator[Measured | FailedRow]:
    """Measure one configuration, batch latency at least `num_samples` times."""
    try:
        workbench = Workbench(config, folder, tell, leave_out)
        yield _measure(workbench, objective, num_samples)
    except FastbenchError as error:
        yield FailedRow(config.models[0], config.timed_loader, error)


def _measure(workbench: Workbench, objective: str, num_samples: int) -> Measured:
    for_latency = objective == LATENCY
    config, loader = workbench.config, workbench.config.timed_loader
    seconds = _QUICK_S if config.quick else config.min_seconds
    durations = Durations(
        min_seconds=seconds,
        warm_up_batches=3,
        warm_up_seconds=min(1.0, seconds),
        settle_seconds=seconds,
        latency_batches=max(10, num_samples),
        latency_seconds=seconds,
        round_seconds=min(0.25, seconds),
        rounds_seconds=seconds / 2,
    )
    model, _ = workbench.load(config.models[0])
    spec = workbench.spec(model, loader)
    if for_latency:
        spec = dataclasses.replace(spec, prefetch=0)
    with mapped_errors(f"{model.name} behind {loader}", workbench.batch_size):
        classifier = workbench.engines.of_rows(model)
        classifier.warm_up()
        with (
            open_loader(loader, workbench.factories[loader], spec) as opened,
            Watch(workbench.device.index) as watch,
        ):
            if for_latency:
                samples_s = probe_latency(opened, classifier, durations).samples_s
                num_images = len(samples_s) * spec.batch_size
                return Measured(num_images=num_images, wall_s=sum(samples_s), samples_s=samples_s)
            clock, stream = make_clock(workbench.device), Stream(opened)
            look_around = watch.look_around
            warm_up(stream, classifier, clock, durations, look_around=look_around)
            num_images = num_batches = 0
            waited_s = stream.wait_s
            watch.begin()
            clock.start()
            while num_batches < _MIN_BATCHES or clock.elapsed() < seconds:
                batch = stream.take()
                classifier(batch.images_NCHW)
                num_images += batch.num_valid
                num_batches += 1
                clock.mark()
            wall_s = clock.stop()
            window = Window(
                num_images=num_images,
                num_steps=num_batches,
                wall_s=wall_s,
                wait_s=stream.wait_s - waited_s,
            )
            watch.end(num_images)
            used = watch.read()
            alone: dict[str, Any] = {}
            if objective == THROUGHPUT:
                traits = LoaderTraits.of(opened)
                rounds = Rounds(
                    classifier,
                    Tally(len(workbench.manifest.names), None, str(workbench.device)),
                    resident_batch(workbench, model),
                    clock,
                    durations.round_seconds,
                    durations.rounds_seconds,
                    num_queued=traits.num_queued(spec.prefetch),
                    num_workers=traits.num_workers,
                    loader_counts=opened.reads_images,
                    watch=watch,
                )
                rounds.take(stream, window)
                alone = {"loader": rounds.loader_ceiling, "model": rounds.model_ceiling}
    return Measured(
        num_images=num_images,
        wall_s=wall_s,
        cpu_s=used.cpu_s,
        energy_j=used.gpu.energy_j if used.gpu else None,
        **alone,
    )
