"""Whether the raw numbers of a record contradict each other: then it is INVALID.

Harnesses have published tables whose 95th percentile lies below their mean, and throughputs that
batch size and step time do not allow: the figures came from different samples. Here all figures
derive from one set of raw numbers, which are checked for every record. Their types (`fields.py`)
exclude negative times and NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.records.accuracy import Accuracy, Parity
    from fastbench.records.record import Record
    from fastbench.records.speed import Throughput

TOLERANCE: Final = 0.02
"""How far the steps' sum may be from the wall time, for the first request and the last wait."""


def find_contradictions(record: Record) -> list[str]:
    """The contradictions, each with its figure, value and window (from 1); none if it is valid."""
    return [
        *_of_times(record.throughput),
        *_of_counts(record),
        *contradictions_of_predictions(record),
    ]


def contradictions_of_predictions(record: Record) -> list[str]:
    """The part of `find_contradictions` that is of accuracy and parity: what gates count on."""
    num = record.data["num_samples"]
    found = [*_of_accuracy(record.accuracy, record)] if record.accuracy else []
    found += _of_parity(record.parity, num) if record.parity else []
    if record.num_changed is not None and record.num_changed > num:
        found.append(f"{record.num_changed:,} of {num:,} predictions changed")
    return found


def _of_parity(parity: Parity, num: int) -> Iterator[str]:
    if parity.num_samples != num:
        yield f"{parity.num_samples:,} predictions are compared of {num:,}"
    if parity.num_agreeing > parity.num_samples:
        yield f"{parity.num_agreeing:,} of {parity.num_samples:,} predictions agree"
    discordant = (parity.only_reference_correct or 0) + (parity.only_row_correct or 0)
    if discordant > parity.num_samples - parity.num_agreeing:
        yield (
            f"{discordant:,} images are lost or won against the reference, and "
            f"{parity.num_agreeing:,} of {parity.num_samples:,} predictions agree"
        )
    for pixels in parity.compared:
        if not 0 < pixels.num_samples <= num or pixels.num_agreeing > pixels.num_samples:
            yield (
                f"top-1 agrees on {pixels.num_agreeing:,} of {pixels.num_samples:,} images whose "
                f"pixels are compared, of {num:,}"
            )
        if not pixels.mean_levels <= pixels.worst_mean_levels * 1.001 <= pixels.max_levels * 1.002:
            yield (
                f"pixels differ by {pixels.mean_levels:.3g} levels in the mean, by "
                f"{pixels.worst_mean_levels:.3g} in the worst image and by "
                f"{pixels.max_levels:.3g} at most"
            )


def _of_times(throughput: Throughput) -> Iterator[str]:
    steps_s, wall_s = throughput.step_times_s, throughput.wall_s
    if not steps_s:
        yield "there are no step times"
        return
    if wall_s <= 0:
        yield f"the windows have a wall time of {wall_s:g} s together"
        return
    if abs(sum(steps_s) / wall_s - 1) > TOLERANCE:
        yield (
            f"the steps take {sum(steps_s):.3f} s together and the windows {wall_s:.3f} s: "
            f"throughput and step times are not of the same run"
        )
    if throughput.windows:
        yield from _of_windows(throughput)


def _of_windows(throughput: Throughput) -> Iterator[str]:
    windows, steps_s = throughput.windows, throughput.step_times_s
    wall_s = sum(window.wall_s for window in windows)
    if abs(wall_s / throughput.wall_s - 1) > 1e-6:
        yield f"the windows' times add up to {wall_s:.3f} s, and not to {throughput.wall_s:.3f} s"
    num_images = sum(window.num_images for window in windows)
    if num_images != throughput.num_images:
        yield f"the windows' images add up to {num_images:,}, and not to {throughput.num_images:,}"
    num_steps = sum(window.num_steps for window in windows)
    if num_steps != len(steps_s):
        yield f"the windows have {num_steps:,} steps, and {len(steps_s):,} step times"
        return
    start = 0
    for number, window in enumerate(windows, 1):
        its_steps_s = sum(steps_s[start : start + window.num_steps])
        start += window.num_steps
        if not 0 <= window.wait_s <= window.wall_s:
            yield f"window {number} waited {window.wait_s:.3f} s of its {window.wall_s:.3f} s"
        if not window.wall_s or abs(its_steps_s / window.wall_s - 1) > TOLERANCE:
            yield (
                f"window {number} has a wall time of {window.wall_s:.3f} s, "
                f"and its steps take {its_steps_s:.3f} s"
            )


def _of_counts(record: Record) -> Iterator[str]:
    throughput, num_samples = record.throughput, record.data["num_samples"]
    if throughput.num_images != throughput.num_epochs * num_samples:
        yield (
            f"{throughput.num_images:,} images are not {throughput.num_epochs:,} epochs of "
            f"{num_samples:,}"
        )
    for number, window in enumerate(throughput.windows, 1):
        if window.num_images % num_samples:
            yield (
                f"window {number} has {window.num_images:,} images, "
                f"which are no whole epochs of {num_samples:,}"
            )
    if throughput.batch_size < 1:
        yield f"a batch has {throughput.batch_size:,} images"
        return
    if record.batch_size != throughput.batch_size:
        yield (
            f"the row's batches have {record.batch_size:,} images, and those of the windows "
            f"{throughput.batch_size:,}"
        )
    num_steps = throughput.num_epochs * -(-num_samples // throughput.batch_size)
    if len(throughput.step_times_s) != num_steps:
        yield (
            f"there are {len(throughput.step_times_s):,} steps, and {throughput.num_epochs:,} "
            f"epochs in batches of {throughput.batch_size:,} take {num_steps:,}"
        )
    for latency in (record.latency, *record.other_latencies):
        if latency.batch_size < 1:
            yield f"a latency is of batches of {latency.batch_size:,} images"
    for name, ceiling in (("loader", record.loader_ceiling), ("model", record.model_ceiling)):
        if ceiling and not (ceiling.num_images > 0 and ceiling.wall_s > 0):
            yield (
                f"the {name}'s ceiling has a wall time of {ceiling.wall_s:g} s, "
                f"its number of images is {ceiling.num_images:,}"
            )


def _of_accuracy(accuracy: Accuracy, record: Record) -> Iterator[str]:
    top1, top5, num = accuracy.top1_correct, accuracy.top5_correct, accuracy.num_samples
    if not 0 <= top1 <= top5 <= num:
        yield f"{top1:,} hits of top-1 and {top5:,} of top-5 among {num:,} samples"
    if num != record.data["num_samples"]:
        yield f"{num:,} samples are scored of {record.data['num_samples']:,}"
    if (found := accuracy.per_class) is None:
        return
    for name, counts, total in (
        ("samples", found.num_samples, num),
        ("hits of top-1", found.top1_correct, top1),
        ("hits of top-5", found.top5_correct, top5),
    ):
        if sum(counts) != total:
            yield f"the classes' {name} add up to {sum(counts):,}, and not to {total:,}"
    for name, samples, hits1, hits5 in zip(
        found.names, found.num_samples, found.top1_correct, found.top5_correct, strict=True
    ):
        if not 0 <= hits1 <= hits5 <= samples:
            yield (
                f"the class {name} has {hits1:,} hits of top-1 and {hits5:,} of top-5 "
                f"among {samples:,} samples"
            )
