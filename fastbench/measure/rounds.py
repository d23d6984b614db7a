"""The ceilings of a pipeline, and the pipeline beside them: short windows of each in turn.

Loader alone, model alone and end to end are measured next to each other, so that a drift of the
machine's speed meets all three. Rounds follow each end-to-end window: E L M, M L E, and so on.
Where other programs come and go, a round may be a fifth off however long it is, so many short ones
find more than few long ones in the same time.

What one leaves behind must not help the next. A loader reads ahead while the model runs alone, so
these batches are taken and not counted, until two had to be waited for. The model alone begins when
the loader has had time to fill its queue, and rests. The windows have whole turns of the loader's
workers, which finish at about the same time.

Several ranks take each window at the same time, since they share the machine: a rank that is early
goes on with batches that are not counted, before its window and after it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastbench.measure.ranks import ALONE, Ranks, wait_for_all
from fastbench.records.speed import Ceiling, Round, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from fastbench.loaders.base import Batch
    from fastbench.measure.clock import Clock
    from fastbench.measure.pipeline import BatchModel, Stream
    from fastbench.measure.tally import Tally
    from fastbench.measure.telemetry import Watch

MIN_STEPS: Final = 2
SLOW_STEP_S: Final = 1.0
"""Of batches that take longer than this, one is enough."""
_WAITED: Final = 0.25
"""The share of a batch's time from which on taking it counts as waiting."""
_MORE_AHEAD: Final = 4
"""A loader's queues may hold so many times what it states, and no wait is seen while it is fast."""
_ENOUGH_WAITS: Final = 2
"""One may be the core that another process took, with batches still in the queue."""
_REST: Final = 1.25
"""How much longer than it should take the loader is left to fill its queue."""


@dataclass
class Rounds:
    """Takes the rounds, and keeps them in `rounds`.

    `tally` is a scratch one, for the pipeline to do all that it does when it is scored.
    `resident_NCHW` is the batch of the model alone, on the device. `num_queued` batches may wait in
    the loader's queues, which `num_workers` workers fill. A window takes at least `seconds`, the
    rounds that follow an end-to-end window `for_seconds`. With `loader_counts` off the loader has
    no ceiling. `evict` puts the files out of the page cache.
    """

    model: BatchModel
    tally: Tally
    resident_NCHW: torch.Tensor
    clock: Clock
    seconds: float
    for_seconds: float
    num_queued: int
    num_workers: int
    loader_counts: bool = True
    watch: Watch | None = None
    evict: Callable[[], None] | None = None
    ranks: Ranks = ALONE
    rounds: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tally.begin_epoch()
        self._loader_cpu_s = 0.0
        self._is_full = False
        self._batch_s = self._step_s = 0.0
        self._waits = True

    def take(self, stream: Stream, window: Window) -> None:
        """Pairs of rounds, straight after an end-to-end window: for `for_seconds`, at least one."""
        self._step_s = window.wall_s / window.num_steps
        self._batch_s = self._batch_s or self._step_s
        self._waits = window.waits
        until = time.perf_counter() + self.for_seconds
        self._take_two(stream)
        while self.ranks.any(time.perf_counter() < until):
            self._take_two(stream)

    def _take_two(self, stream: Stream) -> None:
        first = Round(
            end_to_end=self._end_to_end(stream),
            loader=self._loader(stream),
            model=self._model(),
        )
        model, loader = self._model(), self._loader(stream)
        second = Round(end_to_end=self._end_to_end(stream), loader=loader, model=model)
        self.rounds += [first, second]

    @property
    def loader_ceiling(self) -> Ceiling | None:
        """The loader alone in all rounds together; None if it does not count, or without rounds."""
        windows = [each.loader for each in self.rounds if each.loader is not None]
        if not windows:
            return None
        return _together(windows, self._loader_cpu_s if self.watch is not None else None)

    @property
    def model_ceiling(self) -> Ceiling | None:
        """The model alone in all rounds together; None without rounds."""
        return _together([each.model for each in self.rounds]) if self.rounds else None

    def _end_to_end(self, stream: Stream) -> Window:
        def step(batch: Batch) -> None:
            self.tally.add(self.model(batch.images_NCHW), batch)

        # A model that is the slower one has a full queue in front of it, in its windows too.
        return self._loaded(stream, step, self.num_queued if self._waits else 0)

    def _loader(self, stream: Stream) -> Window | None:
        if not self.loader_counts:
            return None
        window = self._loaded(stream, lambda _: None, self.num_queued, is_loader=True)
        self._batch_s = window.wall_s / window.num_steps
        return window

    def _loaded(
        self,
        stream: Stream,
        step: Callable[[Batch], None],
        num_ahead: int,
        *,
        is_loader: bool = False,
    ) -> Window:
        """A window of batches from the loader, after the `num_ahead` that it may have ready."""
        num_waits = 0
        for _ in range((num_ahead + 1) * (_MORE_AHEAD if is_loader else 1)):
            waited_s = stream.wait_s
            step(stream.take())
            num_waits += stream.wait_s - waited_s > _WAITED * self._batch_s
            if num_waits == _ENOUGH_WAITS:
                break
        self._is_full = False

        def take_one() -> int:
            batch = stream.take()
            step(batch)
            return batch.num_valid

        self._wait_for_all(take_one)
        if self.evict is not None:
            self.evict()
        waited_s = stream.wait_s
        used_s = self.watch.cpu_s() if self.watch is not None and is_loader else 0.0
        num_images, num_steps, wall_s = self._window(take_one, self.num_workers)
        if self.watch is not None and is_loader:
            self._loader_cpu_s += self.watch.cpu_s() - used_s
        waited_s = stream.wait_s - waited_s
        self._wait_for_all(take_one)
        return Window(num_images=num_images, num_steps=num_steps, wall_s=wall_s, wait_s=waited_s)

    def _model(self) -> Window:
        if not self._is_full:
            time.sleep(_REST * self.num_queued * self._batch_s)
            self._is_full = True
            self.model(self.resident_NCHW)

        def run() -> int:
            self.model(self.resident_NCHW)
            return self.model.batch_size

        self._wait_for_all(run)
        num_images, num_steps, wall_s = self._window(run, 1)
        self._wait_for_all(run)
        return Window(num_images=num_images, num_steps=num_steps, wall_s=wall_s, wait_s=0.0)

    def _wait_for_all(self, step: Callable[[], int]) -> None:
        def go_on() -> None:
            step()
            self.clock.mark()  # keeps the host from running away from the device

        wait_for_all(self.ranks.arrive(), go_on)

    def _window(self, step: Callable[[], int], multiple: int) -> tuple[int, int, float]:
        """Images, steps and wall seconds of at least `seconds`, in a `multiple` of steps."""
        least = 1 if self._step_s > SLOW_STEP_S else MIN_STEPS
        num_images = num_steps = 0
        self.clock.start()
        while num_steps < least or num_steps % multiple or self.clock.elapsed() < self.seconds:
            num_images += step()
            num_steps += 1
            self.clock.mark()
        return num_images, num_steps, self.clock.stop()


def _together(windows: list[Window], cpu_s: float | None = None) -> Ceiling:
    return Ceiling(
        num_images=sum(window.num_images for window in windows),
        wall_s=sum(window.wall_s for window in windows),
        cpu_s=cpu_s,
    )
