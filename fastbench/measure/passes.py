"""The timed passes over a loader and a model; they return what a record stores.

*End to end.* Batches come from an endless stream of epochs, and are timed in several windows: the
median of the throughputs is the result, their spread its uncertainty. A warm-up runs straight into
each window, since a pause would fill the loader's queues and give the window batches for free. The
first one goes on until the step time has settled; the others empty the queues. A window is a whole
number of epochs, so every sample is timed and scored equally often; it may begin within one. The
model's stream is synchronised before and after a window, never within. Hits are counted on the
device and read once.

*Several ranks.* A window begins when all have come to its start, and has the same epochs on each.
Its wall time is from the first start to the last end.

*Loader alone, model alone.* The two ceilings of the end-to-end throughput, in turn with it after
each window (`rounds.py`).

*Batch latency.* One batch at a time from a loader that prefetches nothing, from the request to
the predictions on the host.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from fastbench.measure.clock import kernel_s
from fastbench.measure.pipeline import Stream, endless
from fastbench.measure.ranks import ALONE, wait_for_all
from fastbench.measure.warm_up import empty_the_queue, warm_up, warm_up_loader
from fastbench.records.speed import Latency, Throughput, WarmUp, Window, reach_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.loaders.base import Loader
    from fastbench.measure.clock import Clock
    from fastbench.measure.durations import Durations
    from fastbench.measure.pipeline import BatchModel
    from fastbench.measure.ranks import Ranks
    from fastbench.measure.rounds import Rounds
    from fastbench.measure.tally import Scores, Tally
    from fastbench.measure.telemetry import Watch


_MARGIN: Final = 1.1
"""Ranks agree on a window's epochs beforehand: so much longer than the shortest it should take."""


def end_to_end(
    loader: Loader,
    model: BatchModel,
    tally: Tally,
    clock: Clock,
    durations: Durations,
    num_batches: int,
    *,
    num_queued: int = 0,
    watch: Watch | None = None,
    rounds: Rounds | None = None,
    evict: Callable[[], None] | None = None,
    ranks: Ranks = ALONE,
) -> tuple[WarmUp, Throughput, list[float]]:
    """Warm up, then time whole epochs of `num_batches` batches, in as many windows as asked for.

    `num_queued` batches may wait in the loader's queues. `rounds` follow each window. `ranks` all
    do the same at the same time; `num_batches` are those of this one's share. Also returns each
    window's seconds from the first rank's start to the last one's end.

    A window ends with the epoch in which `durations.min_seconds` and `durations.min_batches` are
    reached. `evict` puts the files out of the page cache before each window, which then is one
    epoch; the batches in the loader's queue have been read already. The returned warm-up is the
    first window's.
    """
    stream = Stream(loader)
    windows: list[Window] = []
    walls_s: list[float] = []
    rates: list[float] = []
    step_times_s: list[float] = []
    num_epochs = 0
    by_kernel_s: list[float] = []
    look_around = watch.look_around if watch is not None else None
    first_warm_up, is_settled = warm_up(stream, model, clock, durations, look_around=look_around)
    epoch_s = num_batches * first_warm_up.wall_s / first_warm_up.num_batches
    while not windows or _goes_on(rates, durations):
        if windows:
            # A queue that was full as the last window ended is full in the next one too.
            num_gained = num_queued if windows[-1].waits else 0
            empty_the_queue(stream, model, clock, num_gained, look_around)
        num_images = num_steps = 0
        left = 1  # one rank looks after each epoch whether that was enough
        if ranks.size > 1:
            # Their warm-ups last unlike long, and whoever waits for a value stands still.
            wait_for_all(ranks.arrive(), lambda: _run_one(stream, model, clock))
            left = int(ranks.max(_num_epochs(durations, num_batches, epoch_s)))
        wait_for_all(ranks.arrive(), lambda: _run_one(stream, model, clock))
        if evict is not None:
            evict()
            left = 1
        waited_s = stream.wait_s
        if watch is not None:
            watch.begin()
        clock.start()
        start_s = time.monotonic()
        began_s = kernel_s()
        while left:
            for _ in range(left):
                tally.begin_epoch()
                for _ in range(num_batches):
                    batch = stream.take()
                    tally.add(model(batch.images_NCHW), batch)
                    num_images += batch.num_valid
                    clock.mark()
                num_steps += num_batches
                num_epochs += 1
            if ranks.size > 1:  # before it hears of the others' ends
                wall_s, ended_s = clock.stop(), kernel_s()
            is_short = evict is None and (
                clock.elapsed() < durations.min_seconds or num_steps < durations.min_batches
            )
            left = int(ranks.any(is_short))
        if ranks.size == 1:
            wall_s, ended_s = clock.stop(), kernel_s()
        if began_s is not None and ended_s is not None:
            by_kernel_s.append(ended_s - began_s)
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
        epoch_s = wall_s * num_batches / num_steps
        walls_s.append(ranks.wall_s(start_s, start_s + wall_s))
        rates.append(ranks.sum(num_images) / walls_s[-1])
        if rounds is not None:
            rounds.take(stream, windows[-1])
    throughput = Throughput(
        num_images=sum(window.num_images for window in windows),
        num_epochs=num_epochs,
        batch_size=model.batch_size,
        wall_s=sum(window.wall_s for window in windows),
        step_times_s=step_times_s,
        windows=windows,
        is_settled=is_settled,
        kernel_s=sum(by_kernel_s) if by_kernel_s else None,
    )
    return first_warm_up, throughput, walls_s


def _num_epochs(durations: Durations, num_batches: int, epoch_s: float) -> int:
    """About how many epochs a window needs, for ranks that agree on it beforehand."""
    return max(
        math.ceil(_MARGIN * durations.min_seconds / epoch_s),
        math.ceil(durations.min_batches / num_batches),
        1,
    )


def _run_one(stream: Stream, model: BatchModel, clock: Clock) -> None:
    """A batch that does not count, while another rank is waited for."""
    model(stream.take().images_NCHW)
    clock.mark()


def _goes_on(rates: list[float], durations: Durations) -> bool:
    """Whether another window is needed, and allowed, after windows with these throughputs."""
    if len(rates) < durations.num_windows or durations.max_interval is None:
        return len(rates) < durations.num_windows
    reach = reach_of(rates)
    is_narrow = reach is not None and reach <= durations.max_interval
    return not is_narrow and len(rates) < durations.max_windows


def sample_loader(loader: Loader, clock: Clock, seconds: float) -> float:
    """A quick look at a loader alone: images/s over some batches, not over whole epochs."""
    stream = Stream(loader)
    warm_up_loader(stream, 6, seconds / 2)
    num_images = num_batches = 0
    clock.start()
    while num_batches < 8 or clock.elapsed() < seconds:
        num_images += stream.take().num_valid
        num_batches += 1
        clock.mark()
    return num_images / clock.stop()


def probe_latency(loader: Loader, model: BatchModel, durations: Durations) -> Latency:
    """Batch latency, with a loader that does not prefetch.

    The first batch is a warm-up. There are fewer samples than asked for where these take longer
    than the limit. Partial batches are left out, unless there are no others.
    """
    samples_s: list[float] = []
    stream = endless(loader)
    model(next(stream).images_NCHW).argmax(1).cpu()
    began = time.perf_counter()
    skipped = 0
    while (
        len(samples_s) < durations.latency_batches
        or time.perf_counter() - began < durations.latency_seconds
    ):
        start = time.perf_counter()
        if samples_s and start - began > durations.latency_limit_s:
            break
        batch = next(stream)
        model(batch.images_NCHW).argmax(1).cpu()
        seconds = time.perf_counter() - start
        if batch.num_valid == model.batch_size or skipped > 1:
            samples_s.append(seconds)
        else:
            skipped += not samples_s
    return Latency(batch_size=model.batch_size, samples_s=samples_s)


def score(loader: Loader, model: BatchModel, tally: Tally) -> Scores:
    """One untimed epoch, for its predictions."""
    tally.begin_epoch()
    for batch in loader:
        tally.add(model(batch.images_NCHW), batch)
    return tally.read()
