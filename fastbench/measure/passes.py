"""The timed passes over a loader and a model; they return what a record stores.

*End to end.* Batches come from an endless stream of epochs, and are timed in several windows: the
median of the throughputs is the result, their spread its uncertainty. A warm-up runs straight into
each window, since a pause would fill the loader's queues and give the window batches for free. The
first warm-up goes on until the step time has settled. A window is a whole number of epochs, so
every sample is timed and scored equally often; it may begin within one. The model's stream is
synchronised before and after a window, never within. Hits are counted on the device and read once.

*Loader alone, model alone.* The same loader with nothing behind it, and the same model on one batch
that lies on the device: the two ceilings of the end-to-end throughput.

*Batch latency.* One batch at a time from a loader that prefetches nothing, from the request to
the predictions on the host.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastbench.measure.clock import kernel_s
from fastbench.measure.pipeline import Stream, endless
from fastbench.measure.warm_up import warm_up, warm_up_loader
from fastbench.records.speed import Ceiling, Latency, Throughput, WarmUp, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch

    from fastbench.loaders.base import Batch, Loader
    from fastbench.measure.clock import Clock
    from fastbench.measure.durations import Durations
    from fastbench.measure.pipeline import BatchModel
    from fastbench.measure.tally import Scores, Tally
    from fastbench.measure.telemetry import Watch


def end_to_end(
    loader: Iterable[Batch],
    model: BatchModel,
    tally: Tally,
    clock: Clock,
    durations: Durations,
    num_batches: int,
    *,
    watch: Watch | None = None,
    evict: Callable[[], None] | None = None,
) -> tuple[WarmUp, Throughput]:
    """Warm up, then time whole epochs of `num_batches` batches, `durations.num_windows` times.

    A window ends with the epoch in which `durations.min_seconds` and `durations.min_batches` are
    reached. `evict` puts the files out of the page cache before each window, which then is one
    epoch; the batches in the loader's queue have been read already. The returned warm-up is the
    first window's.
    """
    stream = Stream(loader)
    windows: list[Window] = []
    step_times_s: list[float] = []
    num_epochs = 0
    by_kernel_s: list[float] = []
    look_around = watch.look_around if watch is not None else None
    first_warm_up, is_settled = warm_up(
        stream, model, clock, durations, settle=True, look_around=look_around
    )
    for number in range(durations.num_windows):
        if number > 0:
            warm_up(stream, model, clock, durations, settle=False, look_around=look_around)
        if evict is not None:
            evict()
        num_images = num_steps = 0
        waited_s = stream.wait_s
        if watch is not None:
            watch.begin()
        clock.start()
        began_s = kernel_s()
        while num_steps == 0 or not (
            evict is not None
            or (clock.elapsed() >= durations.min_seconds and num_steps >= durations.min_batches)
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
        ended_s = kernel_s()
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
    return first_warm_up, Throughput(
        num_images=sum(window.num_images for window in windows),
        num_epochs=num_epochs,
        batch_size=model.batch_size,
        wall_s=sum(window.wall_s for window in windows),
        step_times_s=step_times_s,
        windows=windows,
        is_settled=is_settled,
        kernel_s=sum(by_kernel_s) if by_kernel_s else None,
    )


def loader_alone(
    loader: Iterable[Batch],
    clock: Clock,
    durations: Durations,
    num_batches: int,
    *,
    watch: Watch | None = None,
    evict: Callable[[], None] | None = None,
) -> Ceiling:
    """Iterate a loader with nothing behind it for whole epochs, after a warm-up.

    `watch` tells the CPU seconds of this process and its children.
    """
    stream = Stream(loader)
    if watch is not None:
        stream.take()  # after which the loader's processes have started
        watch.look_around()
    warm_up_loader(stream, durations.warm_up_batches, durations.warm_up_seconds)
    if evict is not None:
        evict()
    num_images = 0
    used_s = watch.cpu_s() if watch else 0.0
    clock.start()
    while num_images == 0 or (evict is None and clock.elapsed() < durations.ceiling_seconds):
        for _ in range(num_batches):
            num_images += stream.take().num_valid
            clock.mark()
    wall_s = clock.stop()
    return Ceiling(
        num_images=num_images, wall_s=wall_s, cpu_s=watch.cpu_s() - used_s if watch else None
    )


def model_alone(
    model: BatchModel, images_NCHW: torch.Tensor, clock: Clock, durations: Durations
) -> Ceiling:
    """Run a model on one batch that lies on the device, again and again."""
    until = time.perf_counter() + durations.warm_up_seconds / 2
    model(images_NCHW)
    while time.perf_counter() < until:
        model(images_NCHW)
    num_images = 0
    clock.start()
    while num_images < 4 * model.batch_size or clock.elapsed() < durations.ceiling_seconds:
        model(images_NCHW)
        num_images += model.batch_size
        clock.mark()
    return Ceiling(num_images=num_images, wall_s=clock.stop())


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

    The first batch is a warm-up. Partial batches are left out, unless there are no others.
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
