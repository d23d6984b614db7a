"""Batches that are run before a window and not counted, until the step time has settled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from fastbench.core.stats import percentile
from fastbench.records.speed import WarmUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastbench.measure.clock import Clock
    from fastbench.measure.durations import Durations
    from fastbench.measure.pipeline import BatchModel, Stream

NUM_SETTLED: Final = 3
SETTLED: Final = 0.1


def warm_up(
    stream: Stream,
    model: BatchModel,
    clock: Clock,
    durations: Durations,
    *,
    look_around: Callable[[], None] | None = None,
) -> tuple[WarmUp, bool | None]:
    """Run some batches, for some time, and until the step time has settled.

    `look_around` is called after the first batch, when the loader's processes have started: the
    batches that follow take out what the loader gains meanwhile. Also returns whether it has
    settled, None if that was not checked. The seconds that loading and compiling took are left at
    0, for the caller to fill in.
    """
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
        clock.mark()  # keeps the host from running away from the device
        now = time.perf_counter()
        steps_s.append(now - before)
        if look_around is not None and len(steps_s) == 1:
            look_around()
        wall_s = now - start
        if len(steps_s) < durations.warm_up_batches or wall_s < durations.warm_up_seconds:
            continue
        is_settled = has_settled(steps_s) if durations.settle_seconds > 0 else None
        if is_settled is not False or wall_s >= durations.settle_seconds:
            break
    warmed_up = WarmUp(
        model_load_s=0.0,
        loader_start_s=0.0,
        compile_s=0.0,
        first_batch_s=first_batch_s,
        num_batches=len(steps_s),
        wall_s=wall_s,
    )
    return warmed_up, is_settled


def empty_the_queue(
    stream: Stream,
    model: BatchModel,
    clock: Clock,
    num_gained: int,
    look_around: Callable[[], None] | None = None,
) -> None:
    """Run the batches that the loader may have gained, and two more, before another window.

    `look_around` is called after the first of them, as in `warm_up`.
    """
    clock.start()
    for number in range(num_gained + 2):
        model(stream.take().images_NCHW)
        clock.mark()
        if look_around is not None and number == 0:
            look_around()


def has_settled(steps_s: Sequence[float]) -> bool:
    """Whether the median step times of the last half and of the quarter before it are alike.

    They are within a tenth of each other, and both spans have some steps. The spans grow with the
    time that has passed, since a few steps of a slow drift are always alike.
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


def warm_up_loader(stream: Stream, num_batches: int, seconds: float) -> None:
    """Read at least `num_batches` batches, for at least `seconds`."""
    start = time.perf_counter()
    while num_batches > 0 or time.perf_counter() - start < seconds:
        stream.take()
        num_batches -= 1
