"""Two records, A and B: is B faster, what else moved, and may the two be compared at all?

What differs comes before what was measured. Records that differ in batch size, images, dtype, page
cache, preprocessing or reference are *unlike*: a ratio of theirs says nothing of the rest, and must
not be shown without a flag. Everything else that differs is what changed.

What it does not know: the two were measured one after the other, so a drift of the machine between
them is in the ratio and not in its interval, which has the windows' scatter alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.config import RunConfig
from fastbench.stats import log_ratio_interval
from fastbench.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.measurements import GpuTelemetry
    from fastbench.results import Record

__all__ = [
    "PREPROCESS",
    "Comparison",
    "Difference",
    "Figure",
    "compare",
    "conditions",
    "format_ratio",
    "slowdown",
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

_NO_DIFFERENCE: Final = frozenset({"output", "predictions", "running"})
"""Knobs of what is written, not of what is measured."""

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
"""Knobs whose outcome the record has: `auto` and float32 do not differ where both ran float32."""

PREPROCESS: Final = "preprocess: "
"""How the names of the conditions begin that are of the preprocessing."""

_SHOWN_DIGITS: Final = 10


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in both records; None where a record does not know it."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Figure:
    """One measured quantity of both records, SI; None where a record does not have it.

    `unit` is `images/s`, `s`, `s/1,000 images`, `W`, `images/J`, or `share` for shares of 0..1.
    """

    name: str
    unit: str
    a: float | None
    b: float | None

    @property
    def ratio(self) -> float | None:
        """B over A; None for shares, and where a side is missing or zero."""
        return self.b / self.a if self.unit != "share" and self.a and self.b else None

    @property
    def difference(self) -> float | None:
        """B less A, of shares; None for anything else, and where a side is missing."""
        if self.unit != "share" or self.a is None or self.b is None:
            return None
        return self.b - self.a


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two records held against each other; `ratio` is that of the throughputs, B over A.

    The ratio is of the geometric means of the windows' throughputs. `interval` is its 95 %
    interval, None where a record has one window.
    """

    a: Record
    b: Record
    ratio: float
    interval: tuple[float, float] | None
    figures: list[Figure]
    unlike: list[Difference]
    changed: list[Difference]

    @property
    def invalid(self) -> list[str]:
        """Why a record is INVALID, in words, each with the record's letter."""
        return [
            f"{letter} is INVALID: {reason}"
            for letter, record in (("A", self.a), ("B", self.b))
            for reason in getattr(record, "invalid", [])
        ]

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        ratio = format_ratio(self.ratio, self.interval)
        if self.interval is None:
            return f"B is {ratio} A; {self._windows()}: no interval"
        low, high = (format_ratio(bound, self.interval)[:-1] for bound in self.interval)
        if self.is_certain:
            return f"B is {ratio} A (95 %: {low} to {high})"
        return f"no difference found (B is {ratio} A, 95 %: {low} to {high})"

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]

    def _windows(self) -> str:
        num = {"A": len(self.a.throughput.rates), "B": len(self.b.throughput.rates)}
        single = [letter for letter, windows in num.items() if windows == 1]
        return "one window a side" if len(single) == 2 else f"one window in {single[0]}"


def compare(a: Record, b: Record) -> Comparison:
    """Hold B against A."""
    ratio, interval = log_ratio_interval(a.throughput.rates, b.throughput.rates)
    changed = [
        *_row(a, b),
        *_configuration(a, b),
        *_settings(a, b),
        *_environment(a, b),
    ]
    unlike: list[Difference] = []
    its, other = conditions(a), conditions(b)
    for name in dict.fromkeys((*its, *other)):
        of_a, of_b = its.get(name), other.get(name)
        if of_a != of_b:
            # What a record does not know, as one of an old version, is not known to be unlike.
            known = of_a is not None and of_b is not None
            (unlike if known else changed).append(Difference(name, of_a, of_b))
    return Comparison(
        a=a,
        b=b,
        ratio=ratio,
        interval=interval,
        figures=_figures(a, b),
        unlike=unlike,
        changed=changed,
    )


def slowdown(comparison: Comparison, fail_below: float) -> str | None:
    """Why B is too slow: its ratio is certain to be below `fail_below`; None where it is not.

    Certain means that the interval's upper bound is below. Without an interval the ratio itself
    counts, and the sentence says so.
    """
    interval = comparison.interval
    if (interval[1] if interval else comparison.ratio) >= fail_below:
        return None
    if interval is None:
        return (
            f"{comparison.verdict}. The ratio itself is below {fail_below:g}: measure both with "
            f"--windows 3 or more to know how sure that is."
        )
    return f"{comparison.verdict}: certainly below {fail_below:g}."


def format_ratio(ratio: float, interval: tuple[float, float] | None = None) -> str:
    """`1.25x`, `12.5x`; a third decimal where the interval is too narrow to be seen without."""
    if ratio >= 10:
        return f"{ratio:,.1f}x"
    narrow = ratio < 0.1 or (interval is not None and interval[1] - interval[0] < 0.02)
    return f"{ratio:.3f}x" if narrow else f"{ratio:.2f}x"


def _figures(a: Record, b: Record) -> list[Figure]:
    of_a, of_b = _measured(a), _measured(b)
    return [Figure(*key, of_a[key], of_b[key]) for key in of_a]


def _measured(record: Record) -> dict[tuple[str, str], float | None]:
    """What a record measured, by name and unit."""
    throughput, telemetry = record.throughput, record.telemetry
    loader, model, accuracy = record.loader_ceiling, record.model_ceiling, record.accuracy
    # The reference agrees with itself, which is no figure.
    parity = None if record.parity and record.parity.is_reference else record.parity
    return {
        ("throughput", "images/s"): throughput.images_per_s,
        ("step time p50", "s"): throughput.step_time_s(50) if throughput.step_times_s else None,
        ("step time p90", "s"): throughput.step_time_s(90),
        ("step time p99", "s"): throughput.step_time_s(99),
        ("batch latency", "s"): record.latency.median_s,
        ("loader ceiling", "images/s"): loader.images_per_s if loader else None,
        ("model ceiling", "images/s"): model.images_per_s if model else None,
        ("overlap efficiency", "share"): record.overlap_efficiency,
        ("stall share", "share"): throughput.stall_share,
        ("CPU time", "s/1,000 images"): telemetry.cpu_s_per_1000_images if telemetry else None,
        ("GPU power", "W"): telemetry.watts if telemetry else None,
        ("images per joule", "images/J"): telemetry.images_per_joule if telemetry else None,
        ("top-1", "share"): accuracy.top1 if accuracy else None,
        ("top-5", "share"): accuracy.top5 if accuracy else None,
        ("agreement", "share"): parity.agreement if parity else None,
    }


def conditions(record: Record) -> dict[str, Any]:
    """What must not differ between records that are compared (see the module), by name.

    None where a record does not know it; of preprocessing, what it knows.
    """
    preprocess = {
        name: record.preprocess[name] for name in sorted({*record.preprocess} - {"source"})
    }
    return {
        "batch size": record.batch_size,
        "dtype": record.dtype,
        "image set": _image_set(record),
        "page cache": record.data.get("page_cache"),
        **{f"{PREPROCESS}{name}": value for name, value in preprocess.items()},
        "reference": record.parity.reference if record.parity else None,
    }


def _image_set(record: Record) -> str | None:
    digest, num = record.data.get("digest"), record.data.get("num_samples")
    return f"{num:,} images, digest {digest[:_SHOWN_DIGITS]}" if digest and num else None


def _row(a: Record, b: Record) -> Iterator[Difference]:
    for name in _ABOUT_THE_ROW:
        yield from _unequal(name.replace("_", " "), getattr(a, name), getattr(b, name))


def _configuration(a: Record, b: Record) -> Iterator[Difference]:
    defaults = {field.name: _stored(field.default) for field in dataclasses.fields(RunConfig)}
    for name in sorted({*a.config, *b.config} - _RESOLVED - _NO_DIFFERENCE):
        of_a, of_b = _stored(a.config.get(name)), _stored(b.config.get(name))
        both = name in a.config and name in b.config
        # A knob that an older version did not have, at its default in the other, says nothing.
        if both or (of_a if name in a.config else of_b) != defaults.get(name):
            yield from _unequal("--" + name.replace("_", "-"), of_a, of_b)


def _stored(value: Any) -> Any:
    """As JSON gives it back, which has no tuples."""
    return list(value) if isinstance(value, tuple) else value


def _settings(a: Record, b: Record) -> Iterator[Difference]:
    """The loader's settings: one by one, or all of them in one where the loaders differ."""
    if a.loader != b.loader:
        yield from _unequal("loader settings", a.loader_settings, b.loader_settings)
        return
    seen = {("num_threads", a.num_threads, b.num_threads)}
    for name in sorted({*a.loader_settings, *b.loader_settings} - {"dali"}):
        of_a, of_b = a.loader_settings.get(name), b.loader_settings.get(name)
        if (name, of_a, of_b) not in seen:
            yield from _unequal(f"{a.loader}: {name}", of_a, of_b)


def _environment(a: Record, b: Record) -> Iterator[Difference]:
    """The machine, its state and its software."""
    of_a, of_b = _machine(a), _machine(b)
    for name in dict.fromkeys((*of_a, *of_b)):
        yield from _unequal(name, of_a.get(name), of_b.get(name))


def _machine(record: Record) -> dict[str, Any]:
    environment = record.environment
    gpus = [gpu["name"] for gpu in environment.get("gpus", [])]
    memory, git = environment.get("memory_bytes"), environment.get("git")
    gpu: GpuTelemetry | None = record.telemetry.gpu if record.telemetry else None
    commit, plus, changes = (git or "").partition("+")
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
        "fastbench commit": commit[:_SHOWN_DIGITS] + plus + changes or None,
    }


def _unequal(name: str, a: Any, b: Any) -> Iterator[Difference]:
    if a != b:
        yield Difference(name, a, b)
