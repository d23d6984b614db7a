"""How long does it take, and what comes out? The timed passes over a loader and a classifier.

The runner is handed its clock, its loader and its classifier; it knows nothing of DALI, of
command lines or of JSON.

*End to end.* Batches are drawn from an endless stream of epochs, and timed in several windows: the
median of their throughputs is the result, their spread says how far it can be trusted. A warm-up
runs straight into each: stopping in between would fill the loader's queues and give the window
batches for free. The first goes on until the step time has settled. A window is a whole number of
epochs, so every sample is timed and scored equally often, though it may begin in the middle of one.
The model's stream is synchronised before and after it, never within; hits are counted on the device
and read once at the end.

*Loader alone, model alone.* The same loader with nothing behind it, and the same model on one batch
that lies on the device: the two ceilings that an end-to-end throughput cannot exceed.

*Batch latency.* One batch at a time from a loader that prefetches nothing, from the request to
the predictions on the host.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from fastbench.core.errors import LoaderError
from fastbench.core.stats import MIN_SAMPLES, percentile
from fastbench.records.speed import Ceiling, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from fastbench.loaders.base import Batch, Loader
    from fastbench.measure.clock import Clock
    from fastbench.measure.tally import Scores, Tally

__all__ = [
    "EndToEnd",
    "Plan",
    "check_each_once",
    "end_to_end",
    "has_settled",
    "loader_alone",
    "model_alone",
    "probe_latency",
    "sample_loader",
    "score",
]


NUM_SETTLED: Final = 3
SETTLED: Final = 0.1


class Model(Protocol):
    """What the runner needs of a `Classifier`."""

    batch_size: int

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        ...


class Watch(Protocol):
    """Looks at the machine while windows run (see `telemetry.py`)."""

    def begin(self) -> None:
        """A window opens."""
        ...

    def end(self, num_images: int) -> None:
        """It has closed, after so many images."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to warm up and to measure: both the batches and the seconds must be reached.

    `settle_seconds` is the longest that a warm-up goes on for a step time that does not settle.
    """

    min_seconds: float
    warm_up_batches: int
    warm_up_seconds: float
    latency_batches: int
    latency_seconds: float
    ceiling_seconds: float = 0.0
    min_batches: int = 1
    num_windows: int = 1
    settle_seconds: float = 0.0

    @classmethod
    def make(cls, *, min_seconds: float, num_windows: int, quick: bool) -> Plan:
        """The default plan, or one for a first look."""
        if quick:
            return cls(
                min_seconds=0.0,
                warm_up_batches=4,
                warm_up_seconds=0.0,
                latency_batches=3,
                latency_seconds=0.0,
            )
        return cls(
            min_seconds=min_seconds,
            # All windows together have the steps that a 90th percentile needs.
            min_batches=-(-MIN_SAMPLES[90] // num_windows),
            num_windows=num_windows,
            warm_up_batches=10,
            warm_up_seconds=1.0,
            settle_seconds=10.0,
            latency_batches=10,
            latency_seconds=min(2.0, min_seconds),
            ceiling_seconds=min(2.0, min_seconds),
        )


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """Raw numbers of one end-to-end pass; seconds. `windows` has each, the rest is of all."""

    num_epochs: int
    windows: list[Window]
    step_times_s: list[float]
    first_batch_s: float
    warm_up_batches: int
    warm_up_s: float
    is_settled: bool | None

    @property
    def num_images(self) -> int:
        """Images of all windows."""
        return sum(window.num_images for window in self.windows)

    @property
    def wall_s(self) -> float:
        """Seconds of all windows."""
        return sum(window.wall_s for window in self.windows)


class _Stream:
    """Endless epochs of a loader's batches, and the time that was spent asking for them."""

    def __init__(self, loader: Loader) -> None:
        self._batches = _endless(loader)
        self.wait_s = 0.0

    def take(self) -> Batch:
        """The next batch."""
        start = time.perf_counter()
        batch = next(self._batches)
        self.wait_s += time.perf_counter() - start
        return batch


def end_to_end(
    loader: Loader,
    model: Model,
    tally: Tally,
    clock: Clock,
    plan: Plan,
    num_batches: int,
    *,
    watch: Watch | None = None,
    evict: Callable[[], None] | None = None,
) -> EndToEnd:
    """Warm up, then time whole epochs of `num_batches` batches, `plan.num_windows` times.

    A window ends with the epoch in which `plan.min_seconds` and `plan.min_batches` are reached.
    `evict` puts the files out of the page cache before each window, which then is one epoch. What
    the loader has read ahead by then is in its queue, and does not come from the disk.
    """
    stream = _Stream(loader)
    windows: list[Window] = []
    step_times_s: list[float] = []
    num_epochs = 0
    first_batch_s = warm_up_s = 0.0
    warm_up_batches = 0
    is_settled: bool | None = None
    for number in range(plan.num_windows):
        warm_up = _warm_up(stream, model, clock, plan, settle=number == 0)
        if number == 0:
            first_batch_s, warm_up_s = warm_up.first_batch_s, warm_up.wall_s
            warm_up_batches, is_settled = warm_up.num_batches, warm_up.is_settled
        if evict is not None:
            evict()
        num_images = num_steps = 0
        waited_s = stream.wait_s
        if watch is not None:
            watch.begin()
        clock.start()
        while num_steps == 0 or not (
            evict is not None
            or (clock.elapsed() >= plan.min_seconds and num_steps >= plan.min_batches)
        ):
            tally.begin_epoch()
            for _ in range(num_batches):
                batch = stream.take()
                tally.add(model(batch.images_NCHW), batch)
                num_images += batch.num_valid
                clock.mark()
            num_steps += num_batches
            num_epochs += 1
        wall_s = clock.stop()
        if watch is not None:
            watch.end(num_images)
        step_times_s += clock.step_times()
        windows.append(
            Window(
                num_images=num_images,
                num_steps=num_steps,
                wall_s=wall_s,
                wait_s=stream.wait_s - waited_s,
            )
        )
    return EndToEnd(
        num_epochs=num_epochs,
        windows=windows,
        step_times_s=step_times_s,
        first_batch_s=first_batch_s,
        warm_up_batches=warm_up_batches,
        warm_up_s=warm_up_s,
        is_settled=is_settled,
    )


@dataclass(frozen=True, kw_only=True)
class _WarmUp:
    first_batch_s: float
    wall_s: float
    num_batches: int
    is_settled: bool | None


def _warm_up(stream: _Stream, model: Model, clock: Clock, plan: Plan, *, settle: bool) -> _WarmUp:
    """Run batches that are not counted: some of them, for some time, and until steps are steady."""
    start = time.perf_counter()
    steps_s: list[float] = []
    first_batch_s = 0.0
    clock.start()
    while True:
        before = time.perf_counter()
        batch = stream.take()
        if not steps_s:
            first_batch_s = time.perf_counter() - start
        model(batch.images_NCHW)
        clock.mark()  # which keeps the host from running away from the device
        now = time.perf_counter()
        steps_s.append(now - before)
        wall_s = now - start
        if len(steps_s) < plan.warm_up_batches or wall_s < plan.warm_up_seconds:
            continue
        looked_at = settle and plan.settle_seconds > 0
        is_settled = has_settled(steps_s) if looked_at else None
        if is_settled is not False or wall_s >= plan.settle_seconds:
            return _WarmUp(
                first_batch_s=first_batch_s,
                wall_s=wall_s,
                num_batches=len(steps_s),
                is_settled=is_settled,
            )


def has_settled(steps_s: Sequence[float]) -> bool:
    """Whether the step time of the last half of all the time is that of the quarter before it.

    Their medians are within a tenth of each other, and both have some steps. Spans grow with the
    time that has passed: a few steps of a slow drift are always alike.
    """
    elapsed = 0.0
    last: list[float] = []
    before: list[float] = []
    total = sum(steps_s)
    for step_s in reversed(steps_s):
        elapsed += step_s
        if elapsed <= total / 2:
            last.append(step_s)
        elif elapsed <= 3 * total / 4:
            before.append(step_s)
    if min(len(last), len(before)) < NUM_SETTLED:
        return False
    return abs(percentile(last, 50) / percentile(before, 50) - 1) < SETTLED


def loader_alone(
    loader: Loader,
    clock: Clock,
    plan: Plan,
    num_batches: int,
    *,
    cpu_s: Callable[[], float] | None = None,
    evict: Callable[[], None] | None = None,
) -> Ceiling:
    """Iterate a loader with nothing behind it: whole epochs, warmed up like `end_to_end`.

    `cpu_s` tells the CPU seconds that this process and its children have used so far.
    """
    stream = _Stream(loader)
    _warm_up_loader(stream, plan.warm_up_batches, plan.warm_up_seconds)
    if evict is not None:
        evict()
    num_images = 0
    used_s = cpu_s() if cpu_s else 0.0
    clock.start()
    while num_images == 0 or (evict is None and clock.elapsed() < plan.ceiling_seconds):
        for _ in range(num_batches):
            num_images += stream.take().num_valid
            clock.mark()
    wall_s = clock.stop()
    return Ceiling(num_images=num_images, wall_s=wall_s, cpu_s=cpu_s() - used_s if cpu_s else None)


def model_alone(model: Model, images_NCHW: torch.Tensor, clock: Clock, plan: Plan) -> Ceiling:
    """Run a model on one batch that lies on the device, again and again."""
    start = time.perf_counter()
    while True:
        model(images_NCHW)
        if time.perf_counter() - start >= plan.warm_up_seconds / 2:
            break
    num_images = 0
    clock.start()
    while num_images < 4 * model.batch_size or clock.elapsed() < plan.ceiling_seconds:
        model(images_NCHW)
        num_images += model.batch_size
        clock.mark()
    return Ceiling(num_images=num_images, wall_s=clock.stop())


def sample_loader(loader: Loader, clock: Clock, seconds: float) -> float:
    """A quick look at a loader alone: images/s over some batches, not over whole epochs."""
    stream = _Stream(loader)
    _warm_up_loader(stream, 6, seconds / 2)
    num_images = num_batches = 0
    clock.start()
    while num_batches < 8 or clock.elapsed() < seconds:
        num_images += stream.take().num_valid
        num_batches += 1
        clock.mark()
    return num_images / clock.stop()


def probe_latency(loader: Loader, model: Model, plan: Plan) -> list[float]:
    """Seconds from asking a loader without prefetching for a batch to its predictions on the host.

    Partial batches are left out, unless there are no others; the first batch is a warm-up.
    """
    samples: list[float] = []
    stream = _endless(loader)
    model(next(stream).images_NCHW).argmax(1).cpu()
    began = time.perf_counter()
    skipped = 0
    while len(samples) < plan.latency_batches or time.perf_counter() - began < plan.latency_seconds:
        start = time.perf_counter()
        batch = next(stream)
        model(batch.images_NCHW).argmax(1).cpu()
        seconds = time.perf_counter() - start
        if batch.num_valid == model.batch_size or skipped > 1:
            samples.append(seconds)
        else:
            skipped += not samples
    return samples


def score(loader: Loader, model: Model, tally: Tally) -> Scores:
    """One untimed epoch, for the reference's predictions."""
    tally.begin_epoch()
    for batch in loader:
        tally.add(model(batch.images_NCHW), batch)
    return tally.read()


def check_each_once(scores: Scores, num_epochs: int, names: Sequence[str], loader: str) -> None:
    """Raise `LoaderError` unless every sample came exactly once an epoch, in order.

    A scored epoch may begin in the middle of one of the loader's, so places may be shifted, all
    by as many.
    """
    for name, times in zip(names, scores.times_seen, strict=True):
        if times != num_epochs:
            raise LoaderError(
                f"The loader {loader!r} delivered {name} {times} times in {num_epochs} epochs. "
                f"Nothing that it delivered can be scored; report this to its author."
            )
    places = scores.places
    for sample, place in enumerate(places):
        expected = (places[0] + sample) % len(places)
        if place != expected:
            raise LoaderError(
                f"The loader {loader!r} delivered {names[sample]} out of order, at place {place} "
                f"of an epoch and not {expected}. Loaders are compared sample by sample; report "
                f"this to its author."
            )


def _warm_up_loader(stream: _Stream, num_batches: int, seconds: float) -> None:
    """Read at least so many batches, for at least so long."""
    start = time.perf_counter()
    while num_batches > 0 or time.perf_counter() - start < seconds:
        stream.take()
        num_batches -= 1


def _endless(loader: Loader) -> Iterator[Batch]:
    return itertools.chain.from_iterable(itertools.repeat(loader))
