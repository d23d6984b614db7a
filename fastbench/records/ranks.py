"""What each rank of a row did: its share of the images, and what it took.

The row's own figures are of all ranks together (`runner/merge_ranks.py`); these tell why they are
what they are. SI units; `_s` is seconds.
"""

from __future__ import annotations

import math

import msgspec

from fastbench.core.stats import percentile
from fastbench.records.fields import Amount, Count, Positive, Stored
from fastbench.records.speed import (  # noqa: TC001 - msgspec reads them
    Ceiling,
    Latency,
    Telemetry,
    WarmUp,
    Window,
)


class RankPart(Stored, frozen=True, kw_only=True):
    """One rank. Its windows lie within the row's, which last from the first rank's start to the
    last one's end.

    `machine` counts the machines from 0, `local_rank` the ranks of one. `device_name` is the GPU's,
    None on a CPU. `cores` are the numbers of those that it could use; ranks of a GPU keep to the
    cores near it. `kernel_s` is its windows' time by the kernel's clock. `num_samples` is its share
    of the images. The ceilings are its own, while all ranks were at the same.
    """

    rank: Count
    local_rank: Count
    machine: Count
    host: str
    device: str
    device_name: str | None
    cores: list[Count]
    num_threads: Positive
    num_samples: Positive
    warm_up: WarmUp
    windows: list[Window] = msgspec.field(default_factory=list)
    kernel_s: Amount | None = None
    loader_ceiling: Ceiling | None = None
    model_ceiling: Ceiling | None = None
    latency: Latency | None = None
    telemetry: Telemetry | None = None

    @property
    def rates(self) -> list[float]:
        """The throughput of each of its windows, images/s."""
        return [window.images_per_s for window in self.windows]

    @property
    def images_per_s(self) -> float:
        """Their median."""
        return percentile(self.rates, 50)

    @property
    def wall_s(self) -> float:
        """How long its windows took."""
        return math.fsum(window.wall_s for window in self.windows)
