"""Records of several ranks: merged ones are sound, and each planted contradiction is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders.rank_reports import GPU, NUM_SAMPLES, changed, record_of, reports

from fastbench.records.record import Record
from fastbench.records.store import build_record, write_record
from fastbench.records.validity import find_contradictions


@pytest.mark.parametrize(
    ("clocks", "cores"),
    [
        ("aa", None),
        ("aaa", None),
        ("aa", ([0], [1])),
        ("aa", ([0, 1], [1, 2])),
        ("ab", None),
        ("aabb", ([0, 1], [2, 3], [0, 1], [2, 3])),
        ("aaaaaaaaaa", None),
    ],
)
def test_a_merged_record_does_not_contradict_itself(
    clocks: str, cores: tuple[list[int], ...] | None, tmp_path: Path
) -> None:
    record = record_of(reports(clocks, cores))
    assert find_contradictions(record) == []
    assert len(record.ranks) == len(clocks)
    assert record.throughput.num_images == 4 * NUM_SAMPLES
    # As it is in its file.
    stored = msgspec.json.decode(write_record(record, tmp_path).read_bytes())
    assert find_contradictions(build_record(stored, tmp_path)) == []


def part(number: int, **changes: Any) -> Callable[[Record], Record]:
    """The record with other fields of one rank; those of its parts by `part__field`."""

    def change(record: Record) -> Record:
        ranks = [*record.ranks]
        for name, value in changes.items():
            outer, _, inner = name.partition("__")
            if inner:
                value = msgspec.structs.replace(getattr(ranks[number], outer), **{inner: value})
            ranks[number] = msgspec.structs.replace(ranks[number], **{outer: value})
        return msgspec.structs.replace(record, ranks=ranks)

    return change


def window(number: int, **changes: Any) -> Callable[[Record], Record]:
    """The record with another first window of one rank."""

    def change(record: Record) -> Record:
        first, *others = record.ranks[number].windows
        return part(number, windows=[msgspec.structs.replace(first, **changes), *others])(record)

    return change


def rows(**changes: Any) -> Callable[[Record], Record]:
    """The record with another first window of the row, and a throughput that agrees with it."""

    def change(record: Record) -> Record:
        first, *others = record.throughput.windows
        windows = [msgspec.structs.replace(first, **changes), *others]
        throughput = msgspec.structs.replace(
            record.throughput, windows=windows, wall_s=sum(each.wall_s for each in windows)
        )
        return msgspec.structs.replace(record, throughput=throughput)

    return change


def fields(**changes: Any) -> Callable[[Record], Record]:
    return lambda record: msgspec.structs.replace(record, **changes)


PLANTED: dict[str, tuple[Callable[[Record], Record], str]] = {
    "a rank is gone": (
        lambda record: msgspec.structs.replace(record, ranks=record.ranks[:1]),
        "the parts are of the ranks [0] of 2",
    ),
    "all are gone": (fields(ranks=[]), "the steps take 2.4"),
    "more were asked for": (fields(config={"ranks": 3}), "the parts are of the ranks [0, 1] of 3"),
    "one twice": (part(1, rank=0), "the parts are of the ranks [0, 0] of 2"),
    "a sample more": (part(0, num_samples=6), "the ranks' images add up to 11, and not to 10"),
    "unlike shares": (
        lambda record: part(1, num_samples=7)(part(0, num_samples=3)(record)),
        "the ranks' shares have 3 to 7 images",
    ),
    "a window is missing": (part(1, windows=[]), "a rank has not the row's 2 windows"),
    "images of a window": (
        window(1, num_images=12),
        "the images of the ranks in window 1 add up to 22, and not to 20",
    ),
    "steps of a window": (
        window(1, num_steps=7),
        "the steps of the ranks in window 1 add up to 13, and not to 12",
    ),
    "a rank's window is longer than the row's": (
        window(1, wall_s=0.7),
        "window 1 of rank 1 takes 0.700 s of the row's 0.650 s",
    ),
    "steps of another window": (
        window(0, wall_s=0.5),
        "window 1 of rank 0 has a wall time of 0.500 s, and its steps take 0.600 s",
    ),
    "steps of another rank": (
        window(0, num_steps=7),
        "window 1 of rank 0 has a wall time of 0.600 s, and its steps take 0.7",
    ),
    "a rank waited too long": (window(1, wait_s=0.61), "window 1 of rank 1 waited 0.610 s of its"),
    "the row waited otherwise": (
        rows(wait_s=0.1),
        "window 1 waited 0.100 s, and its ranks 0.015 s in the mean",
    ),
    "clocks that are not of one machine": (
        rows(wall_s=1_000.0),
        "window 1 takes 1000.000 s, and its ranks 0.600 s",
    ),
    "a clock that was changed": (
        part(1, kernel_s=2.0),
        "the windows of rank 1 take 1.200 s, and 2.00 s by the kernel's clock",
    ),
    "latency of other batches": (
        part(1, latency__batch_size=1),
        "the latency of rank 1 is of batches of 1 images",
    ),
    "a latency left out": (
        part(1, latency__samples_s=[0.2, 0.2]),
        "the ranks' latencies add up to 5, and not to 6",
    ),
    "telemetry of other images": (
        part(0, telemetry__num_images=30),
        "the images of rank 0 add up to 20, and not to 30",
    ),
    "telemetry of other cores": (
        part(0, telemetry__num_cores=1),
        "the telemetry of rank 0 is of 1 cores, and it had 2",
    ),
    "a core more": (part(1, cores=[0, 1, 2]), "telemetry is of 2 cores, and the run had 3"),
    "a core of another machine": (
        part(1, machine=1),
        "telemetry is of 2 cores, and the run had 4",
    ),
    "CPU time of one rank": (
        part(0, telemetry__cpu_s=0.75),
        "the ranks took 1.250 CPU seconds, and the row 1.000",
    ),
    "more CPU time than there is": (
        lambda record: part(0, telemetry__cpu_s=9.5)(
            msgspec.structs.replace(
                record, telemetry=msgspec.structs.replace(record.telemetry, cpu_s=10.0)
            )
        ),
        "all processes took 10.250 CPU seconds of 2 cores",
    ),
    "images of one loader alone": (
        part(0, loader_ceiling__num_images=90),
        "the ranks' images of the loader alone add up to 170, and not to 160",
    ),
    "images of one model alone": (
        part(0, model_ceiling__num_images=50),
        "the ranks' images of the model alone add up to 90, and not to 80",
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_contradiction_between_ranks_is_found(case: str) -> None:
    change, said = PLANTED[case]
    found = find_contradictions(change(record_of(reports("aa"))))
    assert any(said in text for text in found), found


def test_more_gpu_memory_than_one_has() -> None:
    """The row's is of all GPUs."""
    found = [
        changed(each, telemetry=msgspec.structs.replace(each.passes.timed["telemetry"], gpu=GPU))
        for each in reports("aa")
    ]
    gpu = {"name": "A GPU", "memory_bytes": 4_000_000_000}
    record = msgspec.structs.replace(record_of(found), environment={"num_cores": 2, "gpus": [gpu]})
    assert find_contradictions(record) == []
    gpu["memory_bytes"] = 3_000_000_000
    (said,) = find_contradictions(record)
    assert said.startswith("4,000,000,000 bytes of GPU memory were used of 3,000,000,000")
