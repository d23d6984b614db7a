"""Do the raw numbers of a record contradict each other? Then it is INVALID, whatever it says.

Harnesses have published tables whose 95th percentile lies below their mean, and throughputs that
batch size and step time do not allow: each figure came from other samples. Here all figures derive
from one set of raw numbers (so that percentiles are in order by construction), and what those must
fulfil is checked on every record. That no time is negative or NaN is in their types (`fields.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.records.accuracy import Accuracy
    from fastbench.records.record import Record
    from fastbench.records.speed import Throughput

__all__ = ["find_contradictions"]

TOLERANCE: Final = 0.02
"""How far the steps' sum may be from the wall time: the last synchronisation, the first request."""


def find_contradictions(record: Record) -> list[str]:
    """What cannot be, in words; nothing where the record is valid."""
    found = [
        *_of_times(record.throughput),
        *_of_counts(record),
        *(_of_accuracy(record.accuracy, record) if record.accuracy else ()),
    ]
    if record.parity and not 0 <= record.parity.num_agreeing <= record.parity.num_samples:
        found.append(
            f"{record.parity.num_agreeing} of {record.parity.num_samples} predictions agree"
        )
    return found


def _of_times(throughput: Throughput) -> Iterator[str]:
    steps_s, wall_s = throughput.step_times_s, throughput.wall_s
    if not steps_s:
        yield "there are no step times"
        return
    if wall_s == 0:
        yield "the windows took no time"
        return
    if abs(sum(steps_s) / wall_s - 1) > TOLERANCE:
        yield (
            f"the steps take {sum(steps_s):.3f} s together and the windows {wall_s:.3f} s: "
            f"throughput and step times are not of the same run"
        )
    if not throughput.windows:
        return
    windows = throughput.windows
    if abs(sum(window.wall_s for window in windows) / wall_s - 1) > 1e-6:
        yield "the windows' times do not add up"
    if sum(window.num_images for window in windows) != throughput.num_images:
        yield "the windows' images do not add up"
    if sum(window.num_steps for window in windows) != len(steps_s):
        yield "there is not one step time a step"
        return
    start = 0
    for window in windows:
        its_steps_s = steps_s[start : start + window.num_steps]
        start += window.num_steps
        if not 0 <= window.wait_s <= window.wall_s:
            yield "a window waited longer than it took"
        if not window.wall_s or abs(sum(its_steps_s) / window.wall_s - 1) > TOLERANCE:
            yield "a window took another time than its steps"


def _of_counts(record: Record) -> Iterator[str]:
    throughput, num_samples = record.throughput, record.data["num_samples"]
    if throughput.num_images != throughput.num_epochs * num_samples:
        yield (
            f"{throughput.num_images:,} images are not {throughput.num_epochs:,} epochs of "
            f"{num_samples:,}"
        )
    if any(window.num_images % num_samples for window in throughput.windows):
        yield "a window's images are not whole epochs"
    most = len(throughput.step_times_s) * throughput.batch_size
    if throughput.num_images > most:
        yield f"{throughput.num_images:,} images came in {most:,} places of batches"
    for name, ceiling in (("loader", record.loader_ceiling), ("model", record.model_ceiling)):
        if ceiling and not (ceiling.num_images > 0 and ceiling.wall_s > 0):
            yield f"the {name}'s ceiling has no images or no time"


def _of_accuracy(accuracy: Accuracy, record: Record) -> Iterator[str]:
    top1, top5, num = accuracy.top1_correct, accuracy.top5_correct, accuracy.num_samples
    if not 0 <= top1 <= top5 <= num:
        yield f"{top1:,} hits of top-1 and {top5:,} of top-5 among {num:,} samples"
    if num != record.data["num_samples"]:
        yield f"{num:,} samples are scored of {record.data['num_samples']:,}"
    if (found := accuracy.per_class) is not None and (
        sum(found.num_samples),
        sum(found.top1_correct),
        sum(found.top5_correct),
    ) != (num, top1, top5):
        yield "the hits of the classes do not add up"
    if found is not None and any(
        not 0 <= hits1 <= hits5 <= samples
        for hits1, hits5, samples in zip(
            found.top1_correct, found.top5_correct, found.num_samples, strict=True
        )
    ):
        yield "a class has more hits than samples"
