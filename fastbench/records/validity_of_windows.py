"""Whether a record's windows contradict its steps, their sums, its ranks or another clock."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastbench.records.record import Record
    from fastbench.records.speed import Throughput, Window

TOLERANCE: Final = 0.02
"""How far the steps' sum may be from the wall time, for the first request and the last wait."""

CLOCKS_S: Final = 0.1
"""How far two clocks may be apart for each window: its process may have to wait between them."""

APART_S: Final = 10.0
"""How much later than another a rank may begin a window, besides the length of its own."""


def of_times(throughput: Throughput) -> Iterator[str]:
    """Of one rank: its windows, the steps in them, and the kernel's clock."""
    steps_s, wall_s = throughput.step_times_s, throughput.wall_s
    if abs(sum(steps_s) / wall_s - 1) > TOLERANCE:
        yield (
            f"the steps take {sum(steps_s):.3f} s together and the windows {wall_s:.3f} s: "
            f"throughput and step times are not of the same run"
        )
    yield from _of_kernel("", wall_s, throughput.kernel_s, len(throughput.windows))
    if throughput.windows:
        yield from _of_sums(throughput)
        steps = iter(steps_s)
        for number, window in enumerate(throughput.windows, 1):
            yield from _of_window(f"window {number}", window, steps, _has_all_steps(throughput))


def of_ranks(record: Record) -> Iterator[str]:
    """Of several: each rank's windows lie within the row's, whose figures are of all together."""
    throughput, parts = record.throughput, record.ranks
    num_samples, num_windows = record.data["num_samples"], len(throughput.windows)
    if [part.rank for part in parts] != [*range(min(record.num_ranks, num_samples))]:
        yield f"the parts are of the ranks {[part.rank for part in parts]} of {record.num_ranks:,}"
    shares = [part.num_samples for part in parts]
    yield from of_sum("the ranks' images", shares, num_samples)
    if max(shares) - min(shares) > 1:
        yield f"the ranks' shares have {min(shares):,} to {max(shares):,} images"
    if any(len(part.windows) != num_windows for part in parts):
        yield f"a rank has not the row's {num_windows:,} windows"
        return
    yield from _of_sums(throughput)
    steps = iter(throughput.step_times_s)
    for number, window in enumerate(throughput.windows, 1):
        its = [part.windows[number - 1] for part in parts]
        where = f"of the ranks in window {number}"
        num_images = (each.num_images for each in its)
        yield from of_sum(f"the images {where}", num_images, window.num_images)
        yield from of_sum(f"the steps {where}", (each.num_steps for each in its), window.num_steps)
        for part, each in zip(parts, its, strict=True):
            which = f"window {number} of rank {part.rank}"
            yield from _of_window(which, each, steps, _has_all_steps(throughput))
            if each.wall_s > window.wall_s * (1 + TOLERANCE):
                yield f"{which} takes {each.wall_s:.3f} s of the row's {window.wall_s:.3f} s"
        longest_s = max(each.wall_s for each in its)
        if window.wall_s > 2 * longest_s + APART_S:
            yield f"window {number} takes {window.wall_s:.3f} s, and its ranks {longest_s:.3f} s"
        waited_s = sum(each.wait_s for each in its) / len(its)
        if abs(window.wait_s - waited_s) > 1e-6 * (1 + waited_s):
            yield (
                f"window {number} waited {window.wait_s:.3f} s, and its ranks {waited_s:.3f} s in "
                f"the mean"
            )
    for part in parts:
        which = f" of rank {part.rank}"
        yield from _of_kernel(which, part.wall_s, part.kernel_s, num_windows)
        if part.latency and part.latency.batch_size != record.batch_size:
            yield f"the latency{which} is of batches of {part.latency.batch_size:,} images"
        if part.telemetry:
            its_images = (window.num_images for window in part.windows)
            yield from of_sum(f"the images{which}", its_images, part.telemetry.num_images)
            if part.telemetry.num_cores != len(part.cores):
                yield (
                    f"the telemetry{which} is of {part.telemetry.num_cores:,} cores, and it had "
                    f"{len(part.cores):,}"
                )
    yield from _of_all_together(record)


def _of_all_together(record: Record) -> Iterator[str]:
    """What the row has as the sum of its ranks'."""
    parts = record.ranks
    if all(part.latency for part in parts):
        num = (len(part.latency.samples_s) for part in parts if part.latency)
        yield from of_sum("the ranks' latencies", num, len(record.latency.samples_s))
    for name in ("loader", "model"):
        whole, *its = (getattr(each, f"{name}_ceiling") for each in (record, *parts))
        if whole is not None and None not in its:
            num = (each.num_images for each in its)
            yield from of_sum(f"the ranks' images of the {name} alone", num, whole.num_images)
    used = [part.telemetry.cpu_s for part in parts if part.telemetry]
    if record.telemetry and len(used) == len(parts):
        cpu_s = math.fsum(used)
        if abs(record.telemetry.cpu_s - cpu_s) > 1e-6 * (1 + cpu_s):
            yield (
                f"the ranks took {cpu_s:.3f} CPU seconds, and the row {record.telemetry.cpu_s:.3f}"
            )


def _of_kernel(of: str, wall_s: float, kernel_s: float | None, num_windows: int) -> Iterator[str]:
    allowed_s = TOLERANCE * wall_s + CLOCKS_S * max(1, num_windows)
    if kernel_s is not None and abs(kernel_s - wall_s) > allowed_s:
        yield (
            f"the windows{of} take {wall_s:.3f} s, and {kernel_s:.2f} s by the kernel's "
            f"clock: something changed the process's clock, or the machine slept"
        )


def of_sum(name: str, parts: Iterable[int], whole: int) -> Iterator[str]:
    """Parts that do not add up to the whole."""
    if (num := sum(parts)) != whole:
        yield f"{name} add up to {num:,}, and not to {whole:,}"


def _of_sums(throughput: Throughput) -> Iterator[str]:
    windows = throughput.windows
    wall_s = sum(window.wall_s for window in windows)
    if abs(wall_s / throughput.wall_s - 1) > 1e-6:
        yield f"the windows' times add up to {wall_s:.3f} s, and not to {throughput.wall_s:.3f} s"
    num_images = (window.num_images for window in windows)
    yield from of_sum("the windows' images", num_images, throughput.num_images)
    num_steps = [window.num_steps for window in windows]
    yield from of_sum("the windows' steps", num_steps, len(throughput.step_times_s))


def _has_all_steps(throughput: Throughput) -> bool:
    num_steps = sum(window.num_steps for window in throughput.windows)
    return num_steps == len(throughput.step_times_s)


def _of_window(
    which: str, window: Window, steps_s: Iterator[float], steps_are_known: bool
) -> Iterator[str]:
    if not 0 <= window.wait_s <= window.wall_s:
        yield f"{which} waited {window.wait_s:.3f} s of its {window.wall_s:.3f} s"
    its_steps_s = sum(itertools.islice(steps_s, window.num_steps))
    if steps_are_known and abs(its_steps_s / window.wall_s - 1) > TOLERANCE:
        yield (
            f"{which} has a wall time of {window.wall_s:.3f} s, "
            f"and its steps take {its_steps_s:.3f} s"
        )
