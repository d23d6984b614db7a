"""One row of a table: what was run, on what, and the raw numbers.

Nothing is rounded here and nothing derived is stored: throughput, percentiles and intervals are
properties, computed from the samples each time. SI units; `_s` is seconds. `storage.py` makes a
JSON file of it, and has the history of `schema_version`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.findings import Accuracy, Parity, Published
from fastbench.gates import PUBLISHED_TOLERANCE, judge_published
from fastbench.invariants import find_contradictions
from fastbench.measurements import (
    Ceiling,
    Compilation,
    Latency,
    Telemetry,
    Throughput,
    Trial,
    WarmUp,
)
from fastbench.stats import hodges_lehmann_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.errors import FastbenchError

__all__ = [
    "AbRecord",
    "FailedRow",
    "ParityRecord",
    "Record",
    "ratio_of_pairs",
]

BALANCED: Final = 1.1
CONTENDED: Final = 0.85


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row: a model behind a loader, measured and scored.

    `accuracy` is None without labels (`labels` says why, in words), `parity` without a reference;
    both where the loader does not read the images. The ceilings are None where they were not asked
    for, and that of the loader where it makes nothing. `other_latencies` are of other
    batch sizes. `published` is None where the labels are not ImageNet's or the weights state
    nothing. `notes` are doubts, for people.
    """

    schema_version: int
    created: str
    command: str
    loader: str
    model: str
    weights: str
    device: str
    dtype: str
    compile_mode: str | None
    batch_size: int
    num_threads: int
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    preprocess: dict[str, Any]
    loader_settings: dict[str, Any]
    labels: str
    tuning: list[Trial]
    warm_up: WarmUp
    compilation: Compilation | None
    throughput: Throughput
    loader_ceiling: Ceiling | None
    model_ceiling: Ceiling | None
    latency: Latency
    accuracy: Accuracy | None
    published: Published | None
    parity: Parity | None
    notes: list[str]
    telemetry: Telemetry | None = None
    other_latencies: list[Latency] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """The gates of parity and accuracy that the row does not pass, in words."""
        failures = list(self.parity.failures) if self.parity else []
        if self.accuracy and self.published:
            failures += judge_published(self.accuracy, self.published, self.tolerance)
        return failures

    @property
    def invalid(self) -> list[str]:
        """What contradicts itself in the raw numbers, in words: such a record is no measurement."""
        return find_contradictions(self)

    @property
    def tolerance(self) -> str:
        """The gate of the published value: points, or `mlperf`."""
        return str(self.config.get("tolerance", PUBLISHED_TOLERANCE))

    @property
    def bound(self) -> str | None:
        """The lower ceiling, `loader` or `model`; None without ceilings."""
        known = {
            name: ceiling.images_per_s
            for name, ceiling in (("loader", self.loader_ceiling), ("model", self.model_ceiling))
            if ceiling is not None
        }
        return min(known, key=known.__getitem__) if known else None

    @property
    def verdict(self) -> str | None:
        """What limits the pipeline, in words; None without both ceilings.

        Bound by the part whose ceiling is lower; contended where the two together stay well below
        it, since they take cores, memory or the GPU from each other.
        """
        if self.loader_ceiling is None or self.model_ceiling is None:
            return None
        rates = {
            "loader": self.loader_ceiling.images_per_s,
            "model": self.model_ceiling.images_per_s,
        }
        slow, fast = sorted(rates, key=rates.__getitem__)
        ratio = rates[fast] / rates[slow]
        words = f"{slow}-bound, the {fast} alone could do {ratio:.1f}x more"
        if ratio < BALANCED:
            words = "balanced, loader and model alone are equally fast"
        efficiency = self.overlap_efficiency
        if efficiency is not None and efficiency < CONTENDED:
            words += "; contended, the two slow each other down"
        return words

    @property
    def overlap_efficiency(self) -> float | None:
        """End-to-end throughput over the lower ceiling; None without ceilings."""
        lower = {"loader": self.loader_ceiling, "model": self.model_ceiling}.get(self.bound or "")
        return None if lower is None else self.throughput.images_per_s / lower.images_per_s


@dataclass(frozen=True)
class FailedRow:
    """A row that could not be measured."""

    model: str
    loader: str
    error: FastbenchError


def ratio_of_pairs(
    a: Sequence[float], b: Sequence[float]
) -> tuple[float, tuple[float, float] | None]:
    """Of paired throughputs: B's over A's, and its 95 % interval, None with too few pairs.

    The Hodges-Lehmann median of the pairs' log ratios, and Wilcoxon's interval.
    """
    pairs = zip(a, b, strict=True)
    centre, bounds = hodges_lehmann_interval([math.log(y / x) for x, y in pairs])
    return math.exp(centre), bounds and (math.exp(bounds[0]), math.exp(bounds[1]))


@dataclass(frozen=True, kw_only=True)
class AbRecord:
    """Two configurations in turn: the throughputs of their windows, images/s, pair by pair.

    `changes` is what B has otherwise, as it was written; `config` is A's.
    """

    schema_version: int
    created: str
    command: str
    loader: str
    model: str
    weights: str
    device: str
    batch_size: int
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    preprocess: dict[str, Any]
    loader_settings: dict[str, Any]
    changes: list[str]
    other_config: dict[str, Any]
    other_loader_settings: dict[str, Any]
    a_images_per_s: list[float]
    b_images_per_s: list[float]

    @property
    def ratio(self) -> float:
        """B's throughput over A's (see `ratio_of_pairs`)."""
        return ratio_of_pairs(self.a_images_per_s, self.b_images_per_s)[0]

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `ratio`; None with too few pairs."""
        return ratio_of_pairs(self.a_images_per_s, self.b_images_per_s)[1]

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.interval is None:
            return f"B is {self.ratio:.3f}x A, with too few pairs for an interval"
        low, high = self.interval
        scope = f"95 %: {low:.3f} to {high:.3f}, {len(self.a_images_per_s)} pairs"
        if low <= 1 <= high:
            return f"no difference found, B is {self.ratio:.3f}x A ({scope})"
        return f"B is {self.ratio:.3f}x A ({scope})"


@dataclass(frozen=True, kw_only=True)
class ParityRecord:
    """One loader held against the reference in step, over all samples; nothing is timed."""

    schema_version: int
    created: str
    command: str
    loader: str
    model: str
    weights: str
    device: str
    batch_size: int
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    preprocess: dict[str, Any]
    loader_settings: dict[str, Any]
    labels: str
    parity: Parity

    @property
    def failures(self) -> list[str]:
        """The gates that the loader does not pass, in words."""
        return self.parity.failures
