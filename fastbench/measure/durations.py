"""How many batches and seconds the warm-up, the windows and the latency probe take."""

from __future__ import annotations

from dataclasses import dataclass

from fastbench.core.stats import MIN_SAMPLES


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long to warm up and to measure: both the batches and the seconds must be reached.

    After `settle_seconds` a warm-up ends though the step time has not settled. `round_seconds` are
    those of a window in the rounds of loader, model and end to end.
    """

    min_seconds: float
    warm_up_batches: int
    warm_up_seconds: float
    latency_batches: int
    latency_seconds: float
    round_seconds: float = 0.0
    min_batches: int = 1
    num_windows: int = 1
    settle_seconds: float = 0.0

    @classmethod
    def make(cls, *, min_seconds: float, num_windows: int, quick: bool) -> Durations:
        """The default durations, or those of `--quick`."""
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
            # All windows together have enough steps for a 90th percentile.
            min_batches=-(-MIN_SAMPLES[90] // num_windows),
            num_windows=num_windows,
            warm_up_batches=10,
            warm_up_seconds=1.0,
            settle_seconds=10.0,
            latency_batches=10,
            latency_seconds=min(2.0, min_seconds),
            round_seconds=min(0.5, min_seconds),
        )
