"""Whether the raw numbers of a record contradict each other: then it is INVALID.

Harnesses have published tables whose 95th percentile lies below their mean, and throughputs that
batch size and step time do not allow: the figures came from different samples. Here all figures
derive from one set of raw numbers, which are checked for every record. Their types (`fields.py`)
exclude negative numbers, NaN and windows of no time.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from operator import sub
from typing import TYPE_CHECKING

from fastbench.records.accuracy import EXACT_LEVELS
from fastbench.records.load import LoadRecord
from fastbench.records.validity_of_windows import of_ranks, of_sum, of_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.records.accuracy import Accuracy, Parity, Pixels, ProgramCheck, Running
    from fastbench.records.load import Served
    from fastbench.records.record import Record
    from fastbench.records.speed import Telemetry, Window


def find_contradictions(record: Record) -> list[str]:
    """The contradictions, each with its figure, value and window (from 1); none if it is valid."""
    return [
        *(of_ranks(record) if record.ranks else of_times(record.throughput)),
        *_of_counts(record),
        *_of_ceilings(record),
        *(_of_telemetry(record.telemetry, record) if record.telemetry else ()),
        *contradictions_of_predictions(record),
    ]


def contradictions_of_predictions(record: Record | LoadRecord) -> list[str]:
    """The contradictions of accuracy and parity: what gates count on."""
    num, accuracy, published = record.data["num_samples"], record.accuracy, record.published
    found: list[str] = []
    if accuracy and accuracy.num_samples != num:
        found.append(f"{accuracy.num_samples:,} samples are scored of {num:,}")
    if accuracy:
        found += [
            *_of_hits("", *_counts_of(accuracy)),
            *_of_classes(accuracy),
            *_of_running(accuracy, record.config.get("running")),
        ]
    if record.parity:
        found += _of_parity(record.parity, num)
    if accuracy and record.parity and record.parity.discordant:
        lost, won = record.parity.discordant
        if won > accuracy.top1_correct or lost > num - accuracy.top1_correct:
            found.append(
                f"{lost:,} images are lost and {won:,} won against the reference, and "
                f"{accuracy.top1_correct:,} of {num:,} are right"
            )
    if published and published.top1 > published.top5:
        found.append(
            f"a top-1 of {published.top1:g} and a top-5 of {published.top5:g} is published"
        )
    if record.program:
        found += _of_program(record.program)
    if isinstance(record, LoadRecord):
        return [*found, *_of_served(record.served)]
    if record.num_changed is not None and record.num_changed > num:
        found.append(f"{record.num_changed:,} of {num:,} predictions changed")
    return found


def _of_served(served: Served | None) -> Iterator[str]:
    if served and max(served.top1_correct or 0, served.num_changed) > served.num_images:
        yield (
            f"{served.num_images:,} images were served, with {served.top1_correct or 0:,} hits and "
            f"{served.num_changed:,} changed predictions"
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
    num_steps = throughput.num_epochs * record.num_batches
    if len(throughput.step_times_s) != num_steps:
        yield (
            f"there are {len(throughput.step_times_s):,} steps, and {throughput.num_epochs:,} "
            f"epochs in batches of {throughput.batch_size:,} take {num_steps:,}"
        )
    batch_size = record.batch_size
    for of, its in (
        ("the windows", throughput.batch_size),
        ("the latency", record.latency.batch_size),
        ("the configuration", record.config.get("batch_size") or batch_size),
    ):
        if its != batch_size:
            yield f"the row's batches have {batch_size:,} images, and those of {of} {its:,}"
    if num_samples > (record.config.get("limit") or num_samples):
        yield f"there are {num_samples:,} images, and the limit is {record.config['limit']:,}"
    pixels = record.data.get("pixels")
    if pixels is not None:
        yield from of_sum("the images by size", pixels.values(), num_samples)
    if record.compile_mode and not record.compilation:
        yield "the row is compiled, and its graphs are not counted"
    if record.compilation and not record.compile_mode:
        yield "the row is eager, and has graphs of torch.compile"
    if record.warm_up.first_batch_s > record.warm_up.wall_s:
        yield (
            f"the first batch took {record.warm_up.first_batch_s:.3f} s of a warm-up of "
            f"{record.warm_up.wall_s:.3f} s"
        )


def _of_ceilings(record: Record) -> Iterator[str]:
    yield from _of_rounds(record)
    for name, ceiling, whole in (
        ("loader", record.loader_ceiling, record.data["num_samples"]),
        ("model", record.model_ceiling, record.batch_size),
    ):
        if ceiling is None:
            continue
        windows = [each for round_ in record.rounds if (each := getattr(round_, name)) is not None]
        if record.rounds:
            num_images = (window.num_images for window in windows)
            yield from of_sum(f"the images of the {name} alone", num_images, ceiling.num_images)
            wall_s = sum(window.wall_s for window in windows)
            if abs(wall_s / ceiling.wall_s - 1) > 1e-6:
                yield (
                    f"the windows of the {name} alone add up to {wall_s:.3f} s, and not to "
                    f"{ceiling.wall_s:.3f} s"
                )
        elif ceiling.num_images % whole:
            yield (
                f"the {name} alone had {ceiling.num_images:,} images, which are not a multiple of "
                f"{whole:,}"
            )
        num_cores = record.num_cores
        if ceiling.cpu_s and num_cores:
            yield from _of_cpu(f"the {name} alone", ceiling.cpu_s, num_cores, ceiling.wall_s)


def _of_rounds(record: Record) -> Iterator[str]:
    for number, each in enumerate(record.rounds, 1):
        for name in each.__struct_fields__:
            window: Window | None = getattr(each, name)
            if window is None:
                continue
            which = f"{name.replace('_', ' ')} in round {number}"
            if window.num_images > window.num_steps * record.batch_size:
                yield (
                    f"{which} has {window.num_images:,} images in {window.num_steps:,} batches of "
                    f"{record.batch_size:,}"
                )
            if window.wait_s > window.wall_s:
                yield f"{which} waited {window.wait_s:.3f} s of its {window.wall_s:.3f} s"


def _of_cpu(name: str, cpu_s: float, num_cores: int, wall_s: float) -> Iterator[str]:
    # CPU time comes in steps, and a child's when it ends.
    if cpu_s > 1.2 * num_cores * wall_s + 0.5:
        yield f"{name} took {cpu_s:.3f} CPU seconds of {num_cores:,} cores in {wall_s:.3f} s"


def _of_telemetry(telemetry: Telemetry, record: Record) -> Iterator[str]:
    throughput, num_cores = record.throughput, record.num_cores
    if telemetry.num_images != throughput.num_images:
        yield f"telemetry is of {telemetry.num_images:,} images, not {throughput.num_images:,}"
    # It also waits for what the warm-up left on the device.
    late_s = 0.02 * throughput.wall_s + 0.5 * max(1, len(throughput.windows))
    if not 0.98 * throughput.wall_s <= telemetry.wall_s <= throughput.wall_s + late_s:
        yield f"telemetry is of {telemetry.wall_s:.3f} s, and the windows {throughput.wall_s:.3f} s"
    usable, quota = telemetry.num_cores, telemetry.cpu_quota
    if quota is not None and not record.ranks:  # their cores are known by number
        usable = min(usable, math.ceil(quota))
    if num_cores is not None and usable != num_cores:
        yield f"telemetry is of {usable:,} cores, and the run had {num_cores:,}"
    throttled, periods = telemetry.num_throttled or 0, telemetry.num_periods or 0
    if throttled > periods:
        yield f"{throttled:,} of {periods:,} periods of the CPU quota were throttled"
    cpu_s = telemetry.cpu_s + (telemetry.foreign_cpu_s or 0)
    yield from _of_cpu("all processes", cpu_s, telemetry.num_cores, telemetry.wall_s)
    if (telemetry.kernel_cpu_s or 0) > telemetry.cpu_s:
        yield (f"the kernel took {telemetry.kernel_cpu_s:.3f} of {telemetry.cpu_s:.3f} CPU seconds")
    if len(telemetry.rss_bytes) != telemetry.num_readings:
        yield f"{len(telemetry.rss_bytes):,} of {telemetry.num_readings:,} readings have a memory"
    if (gpu := telemetry.gpu) is None:
        return
    for name in gpu.__struct_fields__:
        values = getattr(gpu, name)
        is_read = isinstance(values, list) and name != "throttle_reasons"
        if is_read and len(values) > telemetry.num_readings:
            yield f"{name} has {len(values):,} values of {telemetry.num_readings:,} readings"
    watts = [*gpu.power_w]
    if gpu.energy_j and telemetry.wall_s > 1:  # the counter grows in steps
        watts.append(gpu.energy_j / telemetry.wall_s)
    if gpu.power_limit_w and max(watts, default=0) > 2 * gpu.power_limit_w:
        yield f"the GPU drew {max(watts):,.0f} W, and its limit is {gpu.power_limit_w:,.0f} W"
    memory_bytes = [each.get("memory_bytes", 0) for each in record.environment.get("gpus", [])]
    used_bytes = max(gpu.memory_used_bytes, default=0) / max(1, len(record.ranks))
    # The driver's figure includes what torch's leaves out.
    if max(memory_bytes, default=0) and used_bytes > 1.1 * max(memory_bytes):
        yield f"{used_bytes:,.0f} bytes of GPU memory were used of {max(memory_bytes):,}"


def _of_hits(whose: str, num: int, top1: int, top5: int) -> Iterator[str]:
    if not 0 <= top1 <= top5 <= num:
        yield f"{whose}{top1:,} hits of top-1 and {top5:,} of top-5 among {num:,} samples"


def _counts_of(found: Accuracy | Running) -> tuple[int, int, int]:
    return found.num_samples, found.top1_correct, found.top5_correct


def _of_classes(accuracy: Accuracy) -> Iterator[str]:
    if accuracy.top5 is None and accuracy.top5_correct < accuracy.num_samples:
        yield f"among {accuracy.num_classes} classes a sample is no hit of top-5"
    if (found := accuracy.per_class) is None:
        return
    columns = [found.num_samples, found.top1_correct, found.top5_correct]
    wnids = found.names if found.wnids is None else found.wnids
    lists: list[Sequence[object]] = [found.outputs, found.names, wnids, *columns]
    if len({len(each) for each in lists}) > 1:
        yield "the lists of the classes are not equally long"
        return
    if len(set(found.outputs)) < len(found.outputs):
        yield "two classes are the same output of the model"
    if accuracy.num_classes is not None and len(found.outputs) > accuracy.num_classes:
        yield f"{len(found.outputs)} classes have samples, and the model has {accuracy.num_classes}"
    yield from of_sum("the classes' samples", found.num_samples, accuracy.num_samples)
    yield from of_sum("the classes' hits of top-1", found.top1_correct, accuracy.top1_correct)
    yield from of_sum("the classes' hits of top-5", found.top5_correct, accuracy.top5_correct)
    for name, *counts in zip(found.names, *columns, strict=True):
        yield from _of_hits(f"the class {name} has ", *counts)
    names = dict(zip(found.outputs, found.names, strict=True))
    wrong = Counter(dict(zip(found.outputs, map(sub, columns[0], columns[1]), strict=True)))
    for each in accuracy.confusions:
        wrong[each.label] -= each.count
        if (
            each.label == each.predicted
            or names.get(each.label) != each.label_name
            or names.get(each.predicted, each.predicted_name) != each.predicted_name
        ):
            yield (
                f"output {each.label} ({each.label_name}) is taken for output {each.predicted} "
                f"({each.predicted_name}), and the classes have other names"
            )
        elif wrong[each.label] < 0:
            yield f"more samples of {each.label_name} are taken for others than are wrong"


def _of_running(accuracy: Accuracy, every: int | None) -> Iterator[str]:
    if not accuracy.running:
        return
    counts, num = [*map(_counts_of, accuracy.running)], accuracy.num_samples
    sizes = [each.num_samples for each in accuracy.running]
    if every and sizes != [*range(every, num, every), num]:
        yield f"running values are of {sizes[:3]} images and so on, and not of each {every:,}"
    for before, now in itertools.pairwise([(0, 0, 0), *counts, _counts_of(accuracy)]):
        part = f"the part up to image {now[0]:,} has "
        yield from _of_hits(part, *map(sub, now, before))


def _of_parity(parity: Parity, num: int) -> Iterator[str]:
    if parity.num_samples != num:
        yield f"{parity.num_samples:,} predictions are compared of {num:,}"
    if not 0 <= parity.num_agreeing <= parity.num_samples:
        yield f"{parity.num_agreeing:,} of {parity.num_samples:,} predictions agree"
    if sum(parity.discordant or ()) > parity.num_samples - parity.num_agreeing:
        yield (
            f"{sum(parity.discordant or ()):,} images are lost or won against the reference, and "
            f"{parity.num_agreeing:,} of {parity.num_samples:,} predictions agree"
        )
    if (parity.only_reference_correct is None) != (parity.only_row_correct is None):
        yield "images are known that are lost against the reference, or won, and not both"
    num_out = parity.num_uncompared + (parity.stood_out.num_samples if parity.stood_out else 0)
    if num_out > num:
        yield f"{num_out:,} of {num:,} images stood out"
    for pixels in parity.compared:
        if pixels.num_samples > num or pixels.num_agreeing > pixels.num_samples:
            yield (
                f"top-1 agrees on {pixels.num_agreeing:,} of {pixels.num_samples:,} images whose "
                f"pixels are compared, of {num:,}"
            )
        yield from _of_pixels(pixels)


def _of_program(program: ProgramCheck) -> Iterator[str]:
    if program.num_agreeing > program.num_samples:
        yield (
            f"the engine's top-1 agrees with eager on {program.num_agreeing:,} of "
            f"{program.num_samples:,} images"
        )
    if program.mean_logits > program.max_logits * 1.001:
        yield (
            f"the engine's logits differ from eager's by {program.mean_logits:.3g} in the mean and "
            f"by {program.max_logits:.3g} at most"
        )


def _of_pixels(pixels: Pixels) -> Iterator[str]:
    mean, worst, most = pixels.mean_levels, pixels.worst_mean_levels, pixels.max_levels
    # Rounding: the mean of equal floats may be a little above them.
    if mean > worst * 1.001 or worst > most * 1.001:
        yield (
            f"pixels differ by {mean:.3g} levels in the mean, by {worst:.3g} in the worst image "
            f"and by {most:.3g} at most"
        )
    share = pixels.share_above_one
    least, largest = share * EXACT_LEVELS, share * most + (1 - share) * EXACT_LEVELS
    if (share > 0) != (most > EXACT_LEVELS) or not least <= mean * 1.001 <= largest * 1.002:
        yield (
            f"pixels differ by {mean:.3g} levels in the mean and by {most:.3g} at most, and "
            f"{share:.3g} of them by more than one"
        )
    if pixels.mean_logits > pixels.max_logits * 1.001:
        yield (
            f"logits differ by {pixels.mean_logits:.3g} in the mean and by {pixels.max_logits:.3g} "
            f"at most"
        )
