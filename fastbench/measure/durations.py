"""How long is enough? The batches and the seconds of the warm-up, the windows and the probes."""

from __future__ import annotations

from dataclasses import dataclass

from fastbench.core.stats import MIN_SAMPLES


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long to warm up and to measure: both the batches and the seconds must be reached.

    `settle_seconds` is the longest that a warm-up goes on for a step time that does not settle.
    """

    min_seconds: float
    warm_up_batches: int
    warm_up_seconds: float
    latency_batches: int
    latency_seconds: float
    ceiling_seconds: float = 0.0
    min_batches: int = 1
    num_windows: int = 1
    settle_seconds: float = 0.0

    @classmethod
    def make(cls, *, min_seconds: float, num_windows: int, quick: bool) -> Durations:
        """The default ones, or those for a first look."""
        if quick:
            return cls(
                min_seconds=0.0,
                warm_up_batches=4,
                warm_up_seconds=0.0,
                latency_batches=3,
                latency_seconds=0.0,
            )
        return cls(
            min_seconds=min_seconds,
            # All windows together have the steps that a 90th percentile needs.
            min_batches=-(-MIN_SAMPLES[90] // num_windows),
            num_windows=num_windows,
            warm_up_batches=10,
            warm_up_seconds=1.0,
            settle_seconds=10.0,
            latency_batches=10,
            latency_seconds=min(2.0, min_seconds),
            ceiling_seconds=min(2.0, min_seconds),
        )
