"""Which of two pipelines is faster: short windows of both in turn, A B B A.

A machine whose speed drifts slows both sides of a pair alike, so pairs find a difference that
separate runs cannot. The result is the Hodges-Lehmann median of the pairs' ratios with its Wilcoxon
interval (`record.ratio_of_pairs`), which an outlier (a neighbour's burst in one window) moves
little. The number of pairs is fixed beforehand: stopping once the interval is narrow would bias it.

While one side runs, the other's loader has filled its queue and sleeps; the queued batches are run
and not counted before its own window opens. Where both are in one process, their effects on each
other (caches, memory) are part of the figures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from fastbench.measure.pipeline import endless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.loaders.base import Loader
    from fastbench.measure.clock import Clock
    from fastbench.measure.pipeline import BatchModel

NUM_PAIRS: Final = 120
"""If ratios scatter by s, the interval's half width is about 1.96 s / sqrt(120). To find a
difference of 5 % nine times in ten, s has to be below 0.17; benchmarks/ab_power.py found 0.14."""
NUM_PAIRS_QUICK: Final = 12
WINDOW_SECONDS: Final = 0.25
"""Short: the nearer two windows are, the more of what disturbs them they share."""
MIN_BATCHES: Final = 2


@dataclass
class Side:
    """One pipeline: its open loader, its model, and the batches that its queues may hold."""

    loader: Loader
    model: BatchModel
    num_queued: int
    clock: Clock

    def __post_init__(self) -> None:
        self._stream = endless(self.loader)

    @property
    def batch_size(self) -> int:
        """The model's."""
        return self.model.batch_size

    def window(self, num_batches: int) -> float:
        """One window's throughput, images/s, after the queued batches have been run."""
        self._run(self.num_queued + 1)
        return self._run(num_batches)

    def _run(self, num_batches: int) -> float:
        self.clock.start()
        num_images = 0
        for _ in range(num_batches):
            batch = next(self._stream)
            self.model(batch.images_NCHW)
            num_images += batch.num_valid
            self.clock.mark()
        return num_images / self.clock.stop()


class AnySide(Protocol):
    """A pipeline, in this process or in another."""

    @property
    def batch_size(self) -> int:
        """Images a batch."""
        ...

    def window(self, num_batches: int) -> float:
        """As of a `Side`."""
        ...


def interleave(a: AnySide, b: AnySide, num_pairs: int) -> Iterator[tuple[float, float]]:
    """The throughputs of A's and B's window, pair by pair; the order within a pair alternates.

    The windows of both have about the same number of images, so that they see the same data.
    """
    for side in (a, b):  # imports, choice of kernels and caches do not belong to the first window
        side.window(MIN_BATCHES)
    seconds = max(_seconds_of_an_image(side) for side in (a, b))
    num_images = WINDOW_SECONDS / seconds
    for pair in range(num_pairs):
        rates = [0.0, 0.0]
        for place in (0, 1) if pair % 2 == 0 else (1, 0):
            side = (a, b)[place]
            num_batches = max(MIN_BATCHES, round(num_images / side.batch_size))
            rates[place] = side.window(num_batches)
        yield rates[0], rates[1]


def _seconds_of_an_image(side: AnySide) -> float:
    start = time.perf_counter()
    rates: list[float] = []
    while len(rates) < 3 and time.perf_counter() - start < 4 * WINDOW_SECONDS:
        rates.append(side.window(MIN_BATCHES))
    return 1 / max(rates)
