"""What `fastbench tune` searches for, and what a trial is worth by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import FastbenchError
from fastbench.core.stats import MIN_SAMPLES, percentile
from fastbench.core.units import format_quantity

if TYPE_CHECKING:
    from fastbench.runner.trials_file import Measured

THROUGHPUT: Final = "throughput"
LATENCY: Final = "latency-p99"


@dataclass(frozen=True)
class Objective:
    """What is searched for. `pct` is the percentile of batch latency, None for other objectives."""

    name: str
    pct: float | None = None

    @property
    def is_less_better(self) -> bool:
        """Whether a smaller value is a better one."""
        return self.name in (LATENCY, "cpu-seconds")

    @property
    def unit(self) -> str:
        """What a value is in."""
        units = {
            THROUGHPUT: "images/s",
            "cpu-seconds": "CPU s/1,000 images",
            "images-per-joule": "images/J",
        }
        return units.get(self.name, f"ms p{self.pct or 99:g}")

    def value(self, measured: Measured) -> float:
        """The value of a trial. Raises `FastbenchError` where it was not measured, or is 0."""
        num_images = measured.num_images
        found = {
            THROUGHPUT: num_images / measured.wall_s,
            "cpu-seconds": 1000 * (measured.cpu_s or 0.0) / num_images,
            "images-per-joule": num_images / (measured.energy_j or math.inf),
        }
        value = found.get(self.name)
        if value is None:
            value = 1e3 * percentile(measured.samples_s, self.pct or 50)
        if not value:
            raise FastbenchError(f"It has no {self.unit}. Choose another --objective.")
        return value

    def text(self, measured: Measured) -> str:
        """The value as people read it."""
        return f"{format_quantity(self.value(measured))} {self.unit}"


def highest_percentile(num_samples: int) -> float:
    """The highest percentile up to the 99th that so many samples support."""
    return max(pct for pct, least in MIN_SAMPLES.items() if least <= num_samples and pct <= 99)
