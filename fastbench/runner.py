"""How long does it take, and what comes out? The timed passes over a loader and a classifier.

The runner is handed its clock, its loader and its classifier; it knows nothing of DALI, of
command lines or of JSON.

*End to end.* Batches are drawn from an endless stream of epochs. Warm-up runs straight into the
window: stopping in between would fill the loader's queues and give the window batches for free.
The window is a whole number of epochs, so every sample is timed and scored equally often, though
it may begin in the middle of one. The device is synchronised before and after it, never within;
hits are counted on the device and read once at the end.

*Loader alone, model alone.* The same loader with nothing behind it, and the same model on one batch
that lies on the device: the two ceilings that an end-to-end throughput cannot exceed.

*Batch latency.* One batch at a time from a loader that prefetches nothing, from the request to
the predictions on the host.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastbench.errors import LoaderError
from fastbench.results import Ceiling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from fastbench.clock import Clock
    from fastbench.loaders.base import Batch, Loader
    from fastbench.models.classifier import Scores, Tally

__all__ = [
    "EndToEnd",
    "Plan",
    "check_each_once",
    "end_to_end",
    "loader_alone",
    "model_alone",
    "probe_latency",
    "sample_loader",
    "score",
]


class Model(Protocol):
    """What the runner needs of a `Classifier`."""

    batch_size: int

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to warm up and to measure: both the batches and the seconds must be reached."""

    min_seconds: float
    warm_up_batches: int
    warm_up_seconds: float
    latency_batches: int
    latency_seconds: float
    ceiling_seconds: float = 0.0

    @classmethod
    def make(cls, *, min_seconds: float, quick: bool) -> Plan:
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
            warm_up_batches=10,
            warm_up_seconds=1.0,
            latency_batches=10,
            latency_seconds=min(2.0, min_seconds),
            ceiling_seconds=min(2.0, min_seconds),
        )


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """Raw numbers of one end-to-end pass; seconds."""

    num_epochs: int
    num_images: int
    wall_s: float
    step_times_s: list[float]
    first_batch_s: float
    warm_up_batches: int
    warm_up_s: float


def end_to_end(
    loader: Loader, model: Model, tally: Tally, clock: Clock, plan: Plan, num_batches: int
) -> EndToEnd:
    """Warm up, then time whole epochs of `num_batches` batches until `plan.min_seconds`."""
    stream = _endless(loader)
    start = time.perf_counter()
    batch = next(stream)
    first_batch_s = time.perf_counter() - start
    warm_up_batches = 0
    while True:
        model(batch.images_NCHW)
        warm_up_batches += 1
        warm_up_s = time.perf_counter() - start
        if warm_up_batches >= plan.warm_up_batches and warm_up_s >= plan.warm_up_seconds:
            break
        batch = next(stream)
    num_epochs = num_images = 0
    clock.start()
    while num_epochs == 0 or clock.elapsed() < plan.min_seconds:
        tally.begin_epoch()
        for batch in itertools.islice(stream, num_batches):
            tally.add(model(batch.images_NCHW), batch)
            num_images += batch.num_valid
            clock.mark()
        num_epochs += 1
    wall_s = clock.stop()
    return EndToEnd(
        num_epochs=num_epochs,
        num_images=num_images,
        wall_s=wall_s,
        step_times_s=clock.step_times(),
        first_batch_s=first_batch_s,
        warm_up_batches=warm_up_batches,
        warm_up_s=warm_up_s,
    )


def loader_alone(loader: Loader, clock: Clock, plan: Plan, num_batches: int) -> Ceiling:
    """Iterate a loader with nothing behind it: whole epochs, warmed up like `end_to_end`."""
    stream = _endless(loader)
    _warm_up_loader(stream, plan.warm_up_batches, plan.warm_up_seconds)
    num_images = 0
    clock.start()
    while num_images == 0 or clock.elapsed() < plan.ceiling_seconds:
        for batch in itertools.islice(stream, num_batches):
            num_images += batch.num_valid
            clock.mark()
    return Ceiling(num_images=num_images, wall_s=clock.stop())


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
    stream = _endless(loader)
    _warm_up_loader(stream, 6, seconds / 2)
    num_images = num_batches = 0
    clock.start()
    while num_batches < 8 or clock.elapsed() < seconds:
        num_images += next(stream).num_valid
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
    """Raise `LoaderError` unless every sample came exactly once an epoch."""
    for name, times in zip(names, scores.times_seen, strict=True):
        if times != num_epochs:
            raise LoaderError(
                f"The loader {loader!r} delivered {name} {times} times in {num_epochs} epochs. "
                f"Nothing that it delivered can be scored; report this to its author."
            )


def _warm_up_loader(stream: Iterator[Batch], num_batches: int, seconds: float) -> None:
    start = time.perf_counter()
    while num_batches > 0 or time.perf_counter() - start < seconds:
        next(stream)
        num_batches -= 1


def _endless(loader: Loader) -> Iterator[Batch]:
    return itertools.chain.from_iterable(itertools.repeat(loader))
