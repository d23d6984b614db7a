"""What is not the same in two records? What makes them unlike, what was set, what it ran on.

Records that differ in batch size, images, dtype, page cache, preprocessing or reference are
*unlike*: a ratio of theirs says nothing of the rest. Everything else that differs is what changed.

What it does not know: what no record holds, such as the temperature of the air.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS
from fastbench.core.loader_facts import VERSION_SETTINGS
from fastbench.core.options import flag
from fastbench.core.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.records.record import Record
    from fastbench.records.speed import GpuTelemetry

__all__ = [
    "PREPROCESS",
    "Difference",
    "device_name",
    "environment_differences",
    "facts_of_environment",
    "must_be_alike",
    "setting_differences",
    "short_commit",
    "split_unlike",
]

_ABOUT_THE_ROW: Final = (
    "loader",
    "model",
    "weights",
    "device",
    "compile_mode",
    "num_threads",
    "labels",
)

_NO_DIFFERENCE: Final = frozenset(
    name for name, option in OPTIONS.items() if option.changes in ("record", "nothing")
)
"""Options of what is written, not of what is measured."""

_RESOLVED: Final = frozenset(
    {
        *_ABOUT_THE_ROW,
        "data",
        "dtype",
        "batch_size",
        "compile",
        "reference",
        "page_cache",
        "loader_option",
    }
)
"""Options whose outcome the record has: `auto` and float32 do not differ where both ran float32."""

PREPROCESS: Final = "preprocess: "
"""How the names of what must be alike begin that are of the preprocessing."""

_SHOWN_DIGITS: Final = 10


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in both records; None where a record does not know it.

    Of several runs that are not alike among themselves, a side is the tuple of what they know.
    """

    name: str
    a: Any
    b: Any


def must_be_alike(record: Record) -> dict[str, Any]:
    """What must not differ between two records, by name; None where the record does not know."""
    found: dict[str, Any] = {
        "batch size": record.batch_size,
        "dtype": record.dtype,
        "image set": _image_set(record),
        "page cache": record.data.get("page_cache"),
    }
    for name in sorted(set(record.preprocess) - {"source"}):
        found[f"{PREPROCESS}{name}"] = record.preprocess[name]
    return {**found, "reference": record.parity.reference if record.parity else None}


def split_unlike(a: Record, b: Record) -> tuple[list[Difference], list[Difference]]:
    """What must be alike and is not: what makes the two unlike, and what one does not know.

    What a record does not know, as one of an old version, is not known to be unlike.
    """
    of_a, of_b = must_be_alike(a), must_be_alike(b)
    unlike: list[Difference] = []
    unknown: list[Difference] = []
    for name in dict.fromkeys((*of_a, *of_b)):
        for difference in _unequal(name, of_a.get(name), of_b.get(name)):
            known = difference.a is not None and difference.b is not None
            (unlike if known else unknown).append(difference)
    return unlike, unknown


def setting_differences(a: Record, b: Record) -> list[Difference]:
    """What was set otherwise: the row, its options, and the loader's settings."""
    return [*_row(a, b), *_options(a, b), *_loader_settings(a, b)]


def environment_differences(a: Sequence[Record], b: Sequence[Record]) -> list[Difference]:
    """The machine, its state and its software, where the runs of A have others than those of B."""
    of_a, of_b = ([facts_of_environment(record) for record in runs] for runs in (a, b))
    names = dict.fromkeys(name for facts in (*of_a, *of_b) for name in facts)
    return [
        difference
        for name in names
        for difference in _unequal(name, _values(of_a, name), _values(of_b, name))
    ]


def facts_of_environment(record: Record) -> dict[str, Any]:
    """What a record was measured on, by name; None where it does not know."""
    environment = record.environment
    gpus = [gpu["name"] for gpu in environment.get("gpus", [])]
    memory = environment.get("memory_bytes")
    gpu: GpuTelemetry | None = record.telemetry.gpu if record.telemetry else None
    return {
        "GPU": ", ".join(gpus) or None,
        "GPU power limit": f"{gpu.power_limit_w:g} W" if gpu and gpu.power_limit_w else None,
        "driver": environment.get("driver"),
        "CPU": environment.get("cpu"),
        "cores": environment.get("num_cores"),
        "memory": format_bytes(memory) if memory else None,
        "OS": environment.get("os"),
        "CUDA": environment.get("cuda"),
        "cuDNN": environment.get("cudnn"),
        "Python": environment.get("python"),
        "OMP_WAIT_POLICY": environment.get("omp_wait_policy"),
        **environment.get("packages", {}),
        "fastbench commit": short_commit(record),
    }


def short_commit(record: Record) -> str | None:
    """The first digits of the commit that fastbench ran from, and whether it had been edited."""
    commit, plus, changes = (record.environment.get("git") or "").partition("+")
    return commit[:_SHOWN_DIGITS] + plus + changes or None


def device_name(record: Record) -> str | None:
    """The name of the GPU that the model ran on, or of the CPU where it ran there."""
    kind, _, index = record.device.partition(":")
    if kind == "cpu":
        cpu: str | None = record.environment.get("cpu")
        return cpu
    names: list[str] = [gpu["name"] for gpu in record.environment.get("gpus", [])]
    number = int(index) if index.isdecimal() else 0
    return names[number] if number < len(names) else None


def _values(facts: Sequence[dict[str, Any]], name: str) -> Any:
    """The one value of the runs that know it, or all there are, in an order that is not theirs."""
    known = dict.fromkeys(value for each in facts if (value := each.get(name)) is not None)
    if len(known) > 1:
        return tuple(sorted(known, key=str))
    return next(iter(known), None)


def _image_set(record: Record) -> str | None:
    digest, num = record.data.get("digest"), record.data.get("num_samples")
    return f"{num:,} images, digest {digest[:_SHOWN_DIGITS]}" if digest and num else None


def _row(a: Record, b: Record) -> Iterator[Difference]:
    for name in _ABOUT_THE_ROW:
        yield from _unequal(name.replace("_", " "), getattr(a, name), getattr(b, name))


def _options(a: Record, b: Record) -> Iterator[Difference]:
    for name in sorted({*a.config, *b.config} - _RESOLVED - _NO_DIFFERENCE):
        of_a, of_b = a.config.get(name), b.config.get(name)
        default = None
        if name in OPTIONS:  # and in no later version alone
            of_a, of_b = OPTIONS[name].take(of_a), OPTIONS[name].take(of_b)
            default = OPTIONS[name].default
        both = name in a.config and name in b.config
        # An option that an older version did not have, at its default in the other, says nothing.
        if both or (of_a if name in a.config else of_b) != default:
            yield from _unequal(flag(name), of_a, of_b)


def _loader_settings(a: Record, b: Record) -> Iterator[Difference]:
    """The loader's settings: one by one, or all of them in one where the loaders differ."""
    if a.loader != b.loader:
        yield from _unequal("loader settings", a.loader_settings, b.loader_settings)
        return
    seen = {("num_threads", a.num_threads, b.num_threads)}
    for name in sorted({*a.loader_settings, *b.loader_settings} - VERSION_SETTINGS):
        of_a, of_b = a.loader_settings.get(name), b.loader_settings.get(name)
        if (name, of_a, of_b) not in seen:
            yield from _unequal(f"{a.loader}: {name}", of_a, of_b)


def _unequal(name: str, a: Any, b: Any) -> Iterator[Difference]:
    if a != b:
        yield Difference(name, a, b)
