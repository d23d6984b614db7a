"""What was measured of a row: raw numbers of its passes, and what the machine did meanwhile.

SI units; `_s` is seconds. As in all of a record, what derives from the numbers is a property.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from fastbench.core.stats import geometric_mean_interval, percentile, supported_percentile
from fastbench.records.fields import (
    Amount,
    Celsius,
    Count,
    Duration,
    Percent,
    Positive,
    Settings,
    Stored,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_WAITS: Final = 0.05


class WarmUp(Stored, frozen=True, kw_only=True):
    """What was run before the first window and not counted.

    `compile_s` is how much longer the model's first run takes than a later one: compilation, choice
    of kernels. `first_batch_s` is from asking the loader for its first batch to having it.
    """

    model_load_s: Amount
    loader_start_s: Amount
    compile_s: Amount
    first_batch_s: Amount
    num_batches: Positive
    wall_s: Amount


class Window(Stored, frozen=True, kw_only=True):
    """One timed window, synchronised at both ends; of end to end whole epochs, but in rounds.

    `wait_s` is the time that the host spent asking the loader for batches.
    """

    num_images: Positive
    num_steps: Positive
    wall_s: Duration
    wait_s: Amount

    @property
    def images_per_s(self) -> float:
        """Valid images over the window's wall seconds."""
        return self.num_images / self.wall_s

    @property
    def waits(self) -> bool:
        """Whether the host waited for the loader, whose queues were empty then."""
        return self.wait_s > _WAITS * self.wall_s


def reach_of(rates: Sequence[float]) -> float | None:
    """How far the 95 % interval of windows' throughputs reaches above their geometric mean, as a
    share of it; None for one window.
    """
    centre, interval = geometric_mean_interval(rates)
    return interval and interval[1] / centre - 1


class Round(Stored, frozen=True, kw_only=True):
    """Short windows of the pipeline and its parts, next to each other: the machine was the same.

    `loader` is the loader with nothing behind it, None if it has no ceiling; `model` is the model
    on a batch that lies on the device.
    """

    end_to_end: Window
    loader: Window | None
    model: Window


class Throughput(Stored, frozen=True, kw_only=True):
    """All timed end-to-end windows together, and each of them: from files to predictions.

    `step_times_s` has the time from each completed batch to the next, the pipeline full.
    `windows` is empty in records of version 2 and older, which have one window. `is_settled` says
    whether the step time had settled when the warm-up ended; None if that was not checked.
    `kernel_s` is `wall_s` by the kernel's clock, in steps of 0.01 s; None if it is not known.
    """

    num_images: Positive
    num_epochs: Positive
    batch_size: Positive
    wall_s: Duration
    step_times_s: list[Amount]
    windows: list[Window] = msgspec.field(default_factory=list)
    is_settled: bool | None = None
    kernel_s: Amount | None = None

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
        difference = max(self.rates) - min(self.rates)
        return difference and difference / (self.images_per_s or difference)

    @property
    def reach(self) -> float | None:
        """As `reach_of` its windows; None for one, or one without an image a second."""
        return reach_of(self.rates) if min(self.rates) > 0 else None

    @property
    def padded_share(self) -> float:
        """Share of the batches' places that held no image: the model computes all of them."""
        num_places = len(self.step_times_s) * self.batch_size
        return 1 - self.num_images / num_places if num_places else 0.0

    @property
    def stall_share(self) -> float | None:
        """Share of the wall time in which the host waited for the loader; None if not known."""
        waited_s = sum(window.wait_s for window in self.windows)
        return waited_s / self.wall_s if self.windows else None

    def step_time_s(self, pct: float) -> float | None:
        """A percentile of the step times; None if there are too few."""
        return supported_percentile(self.step_times_s, pct)


class GpuTelemetry(Stored, frozen=True, kw_only=True):
    """What NVML said of the GPU while the windows ran: a value for each reading, None if unknown.

    `energy_j` is what the total-energy counter grew by. `throttle_reasons` names what lowered the
    clocks in any reading, `num_foreign_processes` counts other processes on the GPU.
    """

    energy_j: Amount | None
    power_w: list[Amount]
    power_limit_w: Amount | None
    sm_utilization_pct: list[Percent]
    memory_utilization_pct: list[Percent]
    jpeg_utilization_pct: list[Percent]
    sm_clock_mhz: list[Amount]
    temperature_c: list[Celsius]
    memory_used_bytes: list[Count]
    throttle_reasons: list[str]
    num_foreign_processes: Count | None


class Telemetry(Stored, frozen=True, kw_only=True):
    """What the run used while its windows ran, `wall_s` seconds together.

    `cpu_s` is CPU time of this process and its children, `kernel_cpu_s` the part that the kernel
    took for them, and `num_faults` their page faults: memory that the kernel had to find, and
    mostly to clear. `rss_bytes` is their resident memory, a value for each reading.
    `foreign_cpu_s` is CPU time of everything else on the cores (None if it cannot be told, as in
    some containers). `gpu` is None without one. `cpu_quota` is what the run may use
    of the `num_cores` cores, in cores; of `num_periods` periods of the quota `num_throttled` were
    throttled. All three are None without a quota.
    """

    wall_s: Duration
    interval_s: Amount
    num_readings: Count
    num_images: Positive
    num_cores: Positive
    cpu_s: Amount
    foreign_cpu_s: Amount | None
    rss_bytes: list[Count]
    gpu: GpuTelemetry | None
    cpu_quota: Amount | None = None
    num_periods: Count | None = None
    num_throttled: Count | None = None
    kernel_cpu_s: Amount | None = None
    num_faults: Count | None = None

    @property
    def kernel_share(self) -> float | None:
        """The kernel's share of the CPU time; None if it is not known."""
        if self.kernel_cpu_s is None or not self.cpu_s:
            return None
        return self.kernel_cpu_s / self.cpu_s

    @property
    def faults_per_image(self) -> float | None:
        """Page faults for each image; None if they are not known."""
        return None if self.num_faults is None else self.num_faults / self.num_images

    @property
    def cpu_s_per_1000_images(self) -> float:
        """CPU seconds of all processes of the run for 1,000 images."""
        return 1000 * self.cpu_s / self.num_images

    @property
    def foreign_cpu_share(self) -> float | None:
        """Share of the run's core time that other processes took; None if it cannot be told.

        Under a quota they take what they do not leave of it: the rest was never the run's.
        """
        if self.foreign_cpu_s is None or not self.wall_s * self.num_cores:
            return None
        usable = min(self.num_cores, self.cpu_quota or math.inf)
        taken_s = self.foreign_cpu_s - (self.num_cores - usable) * self.wall_s
        return max(0.0, taken_s) / (usable * self.wall_s)

    @property
    def throttled_share(self) -> float | None:
        """Share of the CPU quota's periods in which the run stood still; None without a quota."""
        if not self.num_periods or self.num_throttled is None:
            return None
        return self.num_throttled / self.num_periods

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


class Ceiling(Stored, frozen=True, kw_only=True):
    """One part of the pipeline alone: the loader, or the model on a resident batch. The sum of its
    windows in the rounds; a window of its own in records of version 7 and older.

    `cpu_s` is CPU time of this process and its children meanwhile, None if it was not watched.
    """

    num_images: Positive
    wall_s: Duration
    cpu_s: Amount | None = None

    @property
    def images_per_s(self) -> float:
        """Images over wall seconds."""
        return self.num_images / self.wall_s


class Compilation(Stored, frozen=True, kw_only=True):
    """Graphs and graph breaks of torch.compile (best 1 and 0), and graphs that it made in the timed
    passes (best 0).
    """

    num_graphs: Count
    num_graph_breaks: Count
    num_recompiles: Count


class Trial(Stored, frozen=True, kw_only=True):
    """One try of a search for the loader's settings; `images_per_s` is None if it failed."""

    settings: Settings
    images_per_s: Amount | None


class Latency(Stored, frozen=True, kw_only=True):
    """Batch latency: from asking the loader for a batch to its predictions on the host, with no
    prefetching and nothing else in flight.
    """

    batch_size: Positive
    samples_s: list[Duration]

    @property
    def median_s(self) -> float | None:
        """The median batch latency."""
        return self.percentile_s(50)

    def percentile_s(self, pct: float) -> float | None:
        """A percentile of the batch latency; None if there are too few samples."""
        return supported_percentile(self.samples_s, pct) if self.samples_s else None
