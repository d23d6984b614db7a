"""The part of `advice.py` that is of the machine: what it did meanwhile, and its ranks.

A check returns what was seen, what to try, and mostly how bad it is; None where all is well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from fastbench.core.units import and_more, counted
from fastbench.records.facts import FACTS
from fastbench.records.scaling import slowest_rank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.records.record import Record

FOREIGN_CPU: Final = 0.1
THROTTLED: Final = 0.01
KERNEL: Final = 0.25
FAULTS: Final = 1000
"""Page faults an image: a large image that is decoded once has some hundred."""
STRAGGLER: Final = 0.1
_ALIKE: Final = (
    *("device", "cpu", "cores", "cpu-quota", "governor", "instruction-set"),
    *("driver", "cuda", "cudnn", "python", "fastbench", "torch", "torchvision", "dali"),
)
"""The facts in which the machines of a row must not differ."""
_MOST_NAMED: Final = 3

Said = tuple[str, str] | tuple[str, str, float] | None


def throttled(record: Record) -> Said:
    """The GPU lowered its clocks."""
    gpu = record.telemetry.gpu if record.telemetry else None
    if gpu is None or not gpu.throttle_reasons:
        return None
    return (
        f"the GPU lowered its clocks ({', '.join(gpu.throttle_reasons)})",
        "cool it or raise its power limit (nvidia-smi -q -d PERFORMANCE), and run again",
    )


def cpu_throttled(record: Record) -> Said:
    """A quota of CPU time was used up."""
    share = record.telemetry.throttled_share if record.telemetry else None
    if share is None or share < THROTTLED:
        return None
    return (
        f"the CPU quota was used up in {100 * share:.0f} % of its periods, and the run stood still",
        "raise the quota (docker run --cpus, limits.cpu of a pod), or use fewer --num-threads and "
        "--model-threads",
        share,
    )


def foreign_gpu(record: Record) -> Said:
    """Other processes were on the GPU."""
    gpu = record.telemetry.gpu if record.telemetry else None
    if gpu is None or not gpu.num_foreign_processes:
        return None
    return (
        f"{counted(gpu.num_foreign_processes, 'other process', 'other processes')} on the GPU",
        "end what nvidia-smi lists, and run again",
        gpu.num_foreign_processes,
    )


def foreign_cpu(record: Record) -> Said:
    """Other processes took the cores."""
    share = record.telemetry.foreign_cpu_share if record.telemetry else None
    if share is None or share < FOREIGN_CPU:
        return None
    return (
        f"other processes took {100 * share:.0f} % of the cores' time",
        "end them and run again, or compare with --ab, which they slow alike",
        share,
    )


def in_kernel(record: Record) -> Said:
    """The kernel was busy with memory that is freed and taken again."""
    if (used := record.telemetry) is None:
        return None
    share, faults = used.kernel_share or 0, used.faults_per_image or 0
    if share < KERNEL or faults < FAULTS:
        return None
    return (
        f"the kernel took {100 * share:.0f} % of the CPU time, for memory that was freed and taken "
        f"again ({faults:,.0f} page faults an image)",
        "--allocator keep"
        if record.environment.get("freed_memory") != "keep"
        else "a smaller --batch-size, or another malloc by LD_PRELOAD",
        share,
    )


def unlike_machines(record: Record) -> Said:
    """Machines of one row with other hardware or software: it is the throughput of neither."""
    unlike = list(_unlike(record))
    if not unlike:
        return None
    return (
        f"the {len(record.machines)} machines are unlike: {and_more(unlike, _MOST_NAMED)}",
        "the same hardware and software on all of them, or each kind in a row of its own",
    )


def _unlike(record: Record) -> Iterator[str]:
    rows = [msgspec.structs.replace(record, environment=each) for each in record.machines]
    for fact in map(FACTS.__getitem__, _ALIKE):
        values = dict.fromkeys(value for row in rows if (value := fact.of(row)) is not None)
        is_said = fact.name == "cpu" and record.device == "cpu"  # which is the device
        if len(values) > 1 and not is_said:
            yield f"{fact.heading} {' and '.join(map(fact.show, values))}"


def straggler(record: Record) -> Said:
    """A rank that all others wait for."""
    slowest = slowest_rank(record)
    if slowest is None or slowest.slower <= STRAGGLER:
        return None
    return (
        str(slowest),
        "look at its machine, its GPU's clocks and what else runs on its cores",
        slowest.slower,
    )
