"""How many batches and seconds the warm-up, the windows and the latency probe take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fastbench.core.stats import MIN_SAMPLES

MOST_LATENCY_S: Final = 600.0
"""How long the samples of `--latency-samples` may take, of one batch size."""
MOST_WINDOWS: Final = 10
"""How many times as many windows as asked for there may be, for a narrow interval."""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long to warm up and to measure: both the batches and the seconds must be reached.

    The latency's samples end after `latency_limit_s`, however few they are. After `settle_seconds`
    a warm-up ends though the step time has not settled. `round_seconds` are those of a window in
    the rounds of loader, model and end to end, and `rounds_seconds` of all the rounds that follow
    an end-to-end window. A GPU's windows are longer, since it stands still for some milliseconds as
    one begins. There are `num_windows`, or with `max_interval` as many, up to `max_windows`, as it
    takes for the throughput's 95 % interval to reach no further than that share of it.
    """

    min_seconds: float
    warm_up_batches: int
    warm_up_seconds: float
    latency_batches: int
    latency_seconds: float
    round_seconds: float = 0.0
    rounds_seconds: float = 0.0
    latency_limit_s: float = math.inf
    min_batches: int = 1
    num_windows: int = 1
    max_windows: int = 1
    max_interval: float | None = None
    settle_seconds: float = 0.0

    @classmethod
    def make(
        cls,
        *,
        min_seconds: float,
        num_windows: int,
        quick: bool,
        on_gpu: bool = False,
        max_interval: float | None = None,
        latency_samples: int | None = None,
    ) -> Durations:
        """The default durations, or those of `--quick`; `latency_samples` holds for both."""
        limit_s = math.inf if latency_samples is None else MOST_LATENCY_S
        if quick:
            return cls(
                min_seconds=0.0,
                warm_up_batches=4,
                warm_up_seconds=0.0,
                latency_batches=latency_samples or 3,
                latency_seconds=0.0,
                latency_limit_s=limit_s,
            )
        return cls(
            min_seconds=min_seconds,
            # All windows together have enough steps for a 90th percentile.
            min_batches=-(-MIN_SAMPLES[90] // num_windows),
            num_windows=num_windows,
            max_windows=num_windows if max_interval is None else MOST_WINDOWS * num_windows,
            max_interval=max_interval,
            warm_up_batches=10,
            warm_up_seconds=1.0,
            settle_seconds=10.0,
            latency_batches=latency_samples or 10,
            latency_seconds=0.0 if latency_samples else min(2.0, min_seconds),
            latency_limit_s=limit_s,
            round_seconds=min(0.5 if on_gpu else 0.1, min_seconds),
            rounds_seconds=min(3.0, min_seconds),
        )
