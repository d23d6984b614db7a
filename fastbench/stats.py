"""Statistics of a run, as pure functions of plain numbers; each formula names its source.

They do not know where a number comes from: whether steps were independent, or the machine
was quiet, is for the caller to doubt.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MIN_SAMPLES",
    "mcnemar_p",
    "paired_difference_interval",
    "percentile",
    "supported_percentile",
    "wilson_interval",
]

Z_95: Final = 1.959963984540054
"""The 0.975 quantile of the standard normal distribution."""

MIN_SAMPLES: Final = {50: 1, 90: 64, 95: 130, 99: 662, 99.9: 6636}
"""Samples without which a percentile says nothing, by the binomial early-stopping rule of
MLPerf LoadGen (mlperf/inference, loadgen/early_stopping.cc, 99 % confidence)."""


def percentile(samples: Sequence[float], pct: float) -> float:
    """The `pct`-th percentile, 0..100, by linear interpolation between order statistics.

    Definition 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American
    Statistician 50 (1996), which numpy calls `linear`. Raises `ValueError` without samples.
    """
    if not samples:
        raise ValueError("a percentile needs at least one sample")
    if not 0 <= pct <= 100:
        raise ValueError(f"a percentile lies in 0..100, not {pct}")
    ordered = sorted(samples)
    position = (len(ordered) - 1) * pct / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    # Not a*(1-t) + b*t: between equal samples that can round to less than both.
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def supported_percentile(samples: Sequence[float], pct: float) -> float | None:
    """`percentile`, or None where the samples are too few to support it (see `MIN_SAMPLES`)."""
    return percentile(samples, pct) if len(samples) >= MIN_SAMPLES[pct] else None


def wilson_interval(num_hits: int, num_samples: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a proportion, as shares of 0..1; 95 % by default.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    JASA 22 (1927). Raises `ValueError` for a count that cannot be.
    """
    if num_samples < 1 or not 0 <= num_hits <= num_samples:
        raise ValueError(f"{num_hits} hits of {num_samples} is not a proportion")
    share = num_hits / num_samples
    denominator = 1 + z**2 / num_samples
    center = (share + z**2 / (2 * num_samples)) / denominator
    half = (
        z / denominator * math.sqrt(share * (1 - share) / num_samples + z**2 / (4 * num_samples**2))
    )
    # At 0 and n the exact bound is 0 and 1; rounding must not step outside.
    return (
        0.0 if num_hits == 0 else center - half,
        1.0 if num_hits == num_samples else center + half,
    )


def mcnemar_p(only_first: int, only_second: int) -> float:
    """The two-sided exact p of McNemar's test: how likely discordant pairs split so unevenly.

    Under the null each of the n discordant pairs falls on either side like a coin; twice the
    smaller binomial tail, at most 1. Q. McNemar, Psychometrika 12 (1947); exact form in A. Agresti,
    "Categorical Data Analysis", 3rd ed. (2013), section 11.1. Raises `ValueError` below zero.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"{only_first} and {only_second} discordant pairs cannot be")
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


def paired_difference_interval(
    only_first: int, only_second: int, num_pairs: int, z: float = Z_95
) -> tuple[float, float]:
    """The interval of (only_second - only_first) / num_pairs, as shares of -1..1; 95 % by default.

    A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24 (2005): Wald's interval after half an observation is
    added to each of the four cells. Raises `ValueError` for counts that cannot be.
    """
    if min(only_first, only_second) < 0 or not 0 < num_pairs >= only_first + only_second:
        raise ValueError(f"{only_first} and {only_second} of {num_pairs} pairs cannot be")
    first, second, n = only_first + 0.5, only_second + 0.5, num_pairs + 2
    difference = (second - first) / n
    half = z * math.sqrt(first + second - (second - first) ** 2 / n) / n
    return max(-1.0, difference - half), min(1.0, difference + half)
