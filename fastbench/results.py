"""One row of a table: what was run, on what, and the raw numbers.

Nothing is rounded here and nothing derived is stored: throughput, percentiles and intervals are
properties, computed from the samples each time. SI units; `_s` is seconds. `storage.py` makes a
JSON file of it, and has the history of `schema_version`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastbench.gates import (
    EXACT_LEVELS,
    PUBLISHED_TOLERANCE,
    judge_parity,
    judge_pixels,
    judge_published,
)
from fastbench.invariants import find_contradictions
from fastbench.stats import (
    hodges_lehmann_interval,
    mcnemar_p,
    paired_difference_interval,
    percentile,
    supported_percentile,
    wilson_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.errors import FastbenchError

__all__ = [
    "AbRecord",
    "Accuracy",
    "Ceiling",
    "Compilation",
    "Confusion",
    "FailedRow",
    "GpuTelemetry",
    "Latency",
    "Parity",
    "ParityRecord",
    "PerClass",
    "Pixels",
    "Published",
    "Record",
    "Running",
    "Telemetry",
    "Throughput",
    "Trial",
    "WarmUp",
    "Window",
    "ratio_of_pairs",
]


BALANCED: Final = 1.1
CONTENDED: Final = 0.85


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """What was run before the window and not counted.

    `compile_s` is the first run of the model beyond a later one: compilation, choice of kernels.
    `first_batch_s` is from asking the loader for its first batch to having it.
    """

    model_load_s: float
    loader_start_s: float
    compile_s: float
    first_batch_s: float
    num_batches: int
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Window:
    """One timed end-to-end window: whole epochs, the device synchronised at both ends.

    `wait_s` is the time that the host spent asking the loader for batches.
    """

    num_images: int
    num_steps: int
    wall_s: float
    wait_s: float

    @property
    def images_per_s(self) -> float:
        """Valid images over the window's wall seconds."""
        return self.num_images / self.wall_s


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """All timed end-to-end windows together, and each of them: from files to predictions.

    `step_times_s` has the time from each completed batch to the next, the pipeline full.
    `windows` is empty in records of version 2 and older, which have one. `is_settled` says whether
    the step time had settled when the warm-up ended; None where that was not looked at.
    """

    num_images: int
    num_epochs: int
    batch_size: int
    wall_s: float
    step_times_s: list[float]
    windows: list[Window] = field(default_factory=list)
    is_settled: bool | None = None

    @property
    def rates(self) -> list[float]:
        """Each window's throughput, images/s."""
        return [window.images_per_s for window in self.windows] or [self.num_images / self.wall_s]

    @property
    def images_per_s(self) -> float:
        """The median of the windows' throughputs."""
        return percentile(self.rates, 50)

    @property
    def spread(self) -> float:
        """The largest of the windows' throughputs less the smallest, as a share of the median."""
        return (max(self.rates) - min(self.rates)) / self.images_per_s

    @property
    def stall_share(self) -> float | None:
        """Share of the wall time in which the host waited for the loader."""
        if not self.windows:
            return None
        return sum(window.wait_s for window in self.windows) / self.wall_s

    def step_time_s(self, pct: float) -> float | None:
        """A percentile of the step times; None where they are too few for it."""
        return supported_percentile(self.step_times_s, pct)


@dataclass(frozen=True, kw_only=True)
class GpuTelemetry:
    """What NVML said of the GPU while the windows ran: one value a reading, None where unknown.

    `energy_j` is the difference of the total-energy counter over the windows. `throttle_reasons`
    names what lowered the clocks in any reading; `num_foreign_processes` counts other processes on
    the GPU.
    """

    energy_j: float | None
    power_w: list[float]
    power_limit_w: float | None
    sm_utilization_pct: list[float]
    memory_utilization_pct: list[float]
    jpeg_utilization_pct: list[float]
    sm_clock_mhz: list[float]
    temperature_c: list[float]
    memory_used_bytes: list[int]
    throttle_reasons: list[str]
    num_foreign_processes: int | None


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """What the run took while its windows ran, `wall_s` seconds together.

    `cpu_s` is CPU time of this process and its children, `foreign_cpu_s` that of everything else
    on the machine's cores (None where that cannot be told, as in some containers), `rss_bytes`
    their resident memory, a value a reading. `gpu` is None without one.
    """

    wall_s: float
    interval_s: float
    num_readings: int
    num_images: int
    num_cores: int
    cpu_s: float
    foreign_cpu_s: float | None
    rss_bytes: list[int]
    gpu: GpuTelemetry | None

    @property
    def cpu_s_per_1000_images(self) -> float:
        """CPU seconds for 1,000 images, all processes of the run together."""
        return 1000 * self.cpu_s / self.num_images

    @property
    def foreign_cpu_share(self) -> float | None:
        """Share of the cores' time that other processes took."""
        if self.foreign_cpu_s is None:
            return None
        return self.foreign_cpu_s / (self.wall_s * self.num_cores)

    @property
    def watts(self) -> float | None:
        """Mean power of the GPU over the windows: energy over time, or the mean of the readings."""
        if self.gpu is None:
            return None
        if self.gpu.energy_j is not None:
            return self.gpu.energy_j / self.wall_s
        return sum(self.gpu.power_w) / len(self.gpu.power_w) if self.gpu.power_w else None

    @property
    def images_per_joule(self) -> float | None:
        """Images for each joule that the GPU took."""
        watts = self.watts
        return None if not watts else self.num_images / (watts * self.wall_s)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """One part of the pipeline alone: the loader, or the model on a resident batch."""

    num_images: int
    wall_s: float

    @property
    def images_per_s(self) -> float:
        """Images over wall seconds."""
        return self.num_images / self.wall_s


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """What torch.compile made: graphs and graph breaks (1 and 0 are wanted), and the graphs made
    after the warm-up, in the timed passes (0 is wanted).
    """

    num_graphs: int
    num_graph_breaks: int
    num_recompiles: int


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One try of a search for the loader's settings; None where it failed."""

    settings: dict[str, Any]
    images_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Batch latency: from asking the loader for a batch to its predictions on the host, with no
    prefetching and nothing else in flight.
    """

    batch_size: int
    samples_s: list[float]

    @property
    def median_s(self) -> float | None:
        """The median batch latency."""
        return supported_percentile(self.samples_s, 50) if self.samples_s else None


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """Samples and hits of each class that has samples, in columns; by the model's outputs.

    `wnids` is None where the classes are not ImageNet's.
    """

    outputs: list[int]
    wnids: list[str] | None
    names: list[str]
    num_samples: list[int]
    top1_correct: list[int]
    top5_correct: list[int]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often samples of the class `label` had the top-1 prediction `predicted`."""

    label: int
    label_name: str
    predicted: int
    predicted_name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Running:
    """Hits among the first `num_samples` of the samples, in the order of the data."""

    num_samples: int
    top1_correct: int
    top5_correct: int


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Hits of the last timed epoch, every sample counted once.

    `per_class` is None where it was not kept, `confusions` has the most frequent ones, and
    `running` the values on the way, where they were asked for.
    """

    num_samples: int
    top1_correct: int
    top5_correct: int
    per_class: PerClass | None = None
    confusions: list[Confusion] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)

    @property
    def top1(self) -> float:
        """Top-1 as a share."""
        return self.top1_correct / self.num_samples

    @property
    def top5(self) -> float:
        """Top-5 as a share."""
        return self.top5_correct / self.num_samples

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of top-1."""
        return wilson_interval(self.top1_correct, self.num_samples)

    @property
    def top5_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of top-5."""
        return wilson_interval(self.top5_correct, self.num_samples)


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """A loader's images held against the reference's, in step, and what a float32 eager model
    makes of both; over `num_samples` images spread over the data.

    Differences of pixels are in levels of 0..255 after the normalisation is undone;
    `share_above_one` is the share of values more than 1 level apart. `worst_sample` is the image
    with the largest mean difference. `cause` is the fault that explains it, where one does.
    """

    num_samples: int
    max_levels: float
    mean_levels: float
    share_above_one: float
    worst_sample: str
    worst_mean_levels: float
    max_logits: float
    mean_logits: float
    num_agreeing: int
    cause: str | None

    @property
    def verdict(self) -> str:
        """`exact` (no value above 1 level), `equivalent` or `different`, by the gates."""
        if judge_pixels(self):
            return "different"
        return "exact" if self.max_levels < EXACT_LEVELS else "equivalent"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the weights' publisher states for all of ImageNet's validation set, as shares."""

    top1: float
    top5: float


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Agreement of a row's top-1 predictions with the reference's, on the same samples.

    The reference is a loader's eager float32 run. Of the samples on which the two differ in
    being right, `only_reference_correct` and `only_row_correct` count each side; both are None
    without labels. `is_reference` marks the reference's own row.
    """

    reference: str
    is_reference: bool
    num_samples: int
    num_agreeing: int
    only_reference_correct: int | None
    only_row_correct: int | None
    pixels: Pixels | None

    @property
    def mcnemar_p(self) -> float | None:
        """McNemar's exact p of the discordant pairs; None without labels."""
        if self.only_row_correct is None or self.only_reference_correct is None:
            return None
        return mcnemar_p(self.only_reference_correct, self.only_row_correct)

    @property
    def difference_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `accuracy_difference`."""
        if self.only_row_correct is None or self.only_reference_correct is None:
            return None
        return paired_difference_interval(
            self.only_reference_correct, self.only_row_correct, self.num_samples
        )

    @property
    def failures(self) -> list[str]:
        """The gates that the row does not pass, in words (see `gates.py`)."""
        return [] if self.is_reference else judge_parity(self)

    @property
    def agreement(self) -> float:
        """Top-1 agreement as a share."""
        return self.num_agreeing / self.num_samples

    @property
    def accuracy_difference(self) -> float | None:
        """Top-1 of the row less top-1 of the reference, as a share."""
        if self.only_row_correct is None or self.only_reference_correct is None:
            return None
        return (self.only_row_correct - self.only_reference_correct) / self.num_samples


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
