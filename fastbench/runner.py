"""How long does it take, and what comes out? The timed passes over a loader and a classifier.

The runner is handed its clock, its loader and its classifier; it knows nothing of DALI, of
command lines or of JSON.

*End to end.* Batches are drawn from an endless stream of epochs. Warm-up runs straight into the
window: stopping in between would fill the loader's queues and give the window batches for free.
The window is a whole number of epochs, so every sample is timed and scored equally often, though
it may begin in the middle of one. The device is synchronised before and after it, never within;
hits are counted on the device and read once at the end.

*Batch latency.* One batch at a time from a loader that prefetches nothing, from the request to
the predictions on the host.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastbench.errors import LoaderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from fastbench.clock import Clock
    from fastbench.loaders.base import Batch, Loader
    from fastbench.models.classifier import Scores, Tally

__all__ = ["EndToEnd", "Plan", "check_each_once", "end_to_end", "probe_latency", "score"]


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


def _endless(loader: Loader) -> Iterator[Batch]:
    return itertools.chain.from_iterable(itertools.repeat(loader))
