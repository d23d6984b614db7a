"""Statistics of a run, as pure functions of plain numbers; each formula names its source.

`scipy.stats` has some of them too (binomtest, ttest_ind), but its import takes 2 s and a call
0.5 ms, as long as a report of 1,000 records may take. `scipy.special` has their distributions. Its
import takes half a second, so it stands inside the functions that need it.
"""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Z_95: Final = 1.959963984540054
"""The 0.975 quantile of the standard normal distribution."""

MIN_SAMPLES: Final = {50: 1, 90: 64, 95: 130, 99: 662, 99.9: 6636}
"""Samples without which a percentile says nothing, by the binomial early-stopping rule of
MLPerf LoadGen (mlperf/inference, loadgen/early_stopping.cc, 99 % confidence)."""


FEW_PAIRS: Final = 250
"""Up to here McNemar's test is exact in integers, which takes less time than importing SciPy."""


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
    """`percentile`, or None if there are too few samples for it (see `MIN_SAMPLES`)."""
    return percentile(samples, pct) if len(samples) >= MIN_SAMPLES[pct] else None


def percentile_interval(ordered: Sequence[float], pct: float) -> tuple[float, float] | None:
    """The 95 % interval of a percentile between two order statistics of samples in order.

    How many of n independent samples lie below the percentile is binomial: H. A. David and H. N.
    Nagaraja, "Order Statistics", 3rd ed. (2003), section 7.1, with the normal distribution for the
    binomial one. None where there are too few samples to have one above it. Samples that depend on
    each other, as latencies of one queue do, make it too narrow.
    """
    n, p = len(ordered), pct / 100
    half = Z_95 * math.sqrt(n * p * (1 - p))
    low, high = math.floor(n * p - half), math.ceil(n * p + half)
    return (ordered[low], ordered[high]) if low >= 0 and high < n else None


def expected_largest(values: Sequence[float], num: int) -> float:
    """The mean of the largest of `num` values that are drawn from these, each as likely as another.

    The distribution function of the largest is the values' own to the power of `num` (H. A. David
    and H. N. Nagaraja, "Order Statistics", 3rd ed. (2003), section 2.1). Of m values in order the
    k-th is the largest with a probability of (k/m)**num - ((k-1)/m)**num, which is the bootstrap's
    mean without drawing (A. D. Hutson and M. D. Ernst, Journal of the Royal Statistical Society B
    62, 2000). Raises `ValueError` without values, and for a `num` below 1.
    """
    if not values or num < 1:
        raise ValueError("the largest is of at least one value")
    m = len(values)
    return math.fsum(
        value * ((k / m) ** num - ((k - 1) / m) ** num) for k, value in enumerate(sorted(values), 1)
    )


def wilson_interval(num_hits: int, num_samples: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion, as shares of 0..1.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    JASA 22 (1927). Raises `ValueError` for a count that cannot be.
    """
    if num_samples < 1 or not 0 <= num_hits <= num_samples:
        raise ValueError(f"{num_hits} hits of {num_samples} is not a proportion")
    share, z = num_hits / num_samples, Z_95
    denominator = 1 + z**2 / num_samples
    center = (share + z**2 / (2 * num_samples)) / denominator
    half = (
        z / denominator * math.sqrt(share * (1 - share) / num_samples + z**2 / (4 * num_samples**2))
    )
    # At 0 and n the exact bounds are 0 and 1, which rounding must not exceed.
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
    if n <= FEW_PAIRS:
        tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    else:
        from scipy.special import betainc

        tail = float(betainc(n - fewer, fewer + 1, 0.5))
    return min(1.0, 2 * tail)


def mcnemar_p_at_most(difference: int, most_discordant: int) -> float:
    """The largest p that McNemar's test can have, if only the counts of hits are known.

    The discordant pairs split so that the sides differ by `difference`; p is largest for as many
    pairs as possible, `most_discordant`. Raises `ValueError` if these are fewer than the
    difference.
    """
    # The sum of the sides is even if their difference is: one pair may be left over.
    fewer = (most_discordant - abs(difference)) // 2
    if fewer < 0:
        raise ValueError(f"{most_discordant} discordant pairs do not differ by {difference}")
    return mcnemar_p(fewer, fewer + abs(difference))


def paired_difference_interval(
    only_first: int, only_second: int, num_pairs: int
) -> tuple[float, float]:
    """The 95 % interval of (only_second - only_first) / num_pairs, as shares of -1..1.

    A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24 (2005): Wald's interval after half an observation is
    added to each of the four cells. Raises `ValueError` for counts that cannot be.
    """
    if min(only_first, only_second) < 0 or not 0 < num_pairs >= only_first + only_second:
        raise ValueError(f"{only_first} and {only_second} of {num_pairs} pairs cannot be")
    first, second, n = only_first + 0.5, only_second + 0.5, num_pairs + 2
    difference = (second - first) / n
    half = Z_95 * math.sqrt(first + second - (second - first) ** 2 / n) / n
    return max(-1.0, difference - half), min(1.0, difference + half)


def independent_difference_interval(
    first: tuple[int, int], second: tuple[int, int]
) -> tuple[float, float]:
    """The 95 % interval of the second proportion less the first, as shares of -1..1.

    Each is (hits, samples); the samples are taken to be independent. R. G. Newcombe, "Interval
    estimation for the difference between independent proportions", Statistics in Medicine 17
    (1998), method 10: from the Wilson interval of each. Raises `ValueError` for a count that cannot
    be.
    """
    (low_a, high_a), (low_b, high_b) = wilson_interval(*first), wilson_interval(*second)
    a, b = first[0] / first[1], second[0] / second[1]
    difference = b - a
    return (
        difference - math.hypot(b - low_b, high_a - a),
        difference + math.hypot(high_b - b, a - low_a),
    )


def log_ratio_interval(
    a: Sequence[float], b: Sequence[float], *, equal_variances: bool = False
) -> tuple[float, tuple[float, float] | None]:
    """The ratio of the geometric means, b over a, and its 95 % interval.

    Welch's interval for two independent samples of unequal variance, on the logarithms (B. L.
    Welch, Biometrika 34, 1947), with the degrees of freedom of F. E. Satterthwaite, Biometrics
    Bulletin 2 (1946). It is None if a side has one value.

    With `equal_variances` Student's, with the pooled variance. One side may then have one value,
    which is assumed to scatter as the other side does (J. R. Crawford and D. C. Howell, The
    Clinical Neuropsychologist 12, 1998). The interval is None if both have one.

    Raises `ValueError` for an empty side, and for values that are not above zero.
    """
    if not a or not b or min(*a, *b) <= 0:
        raise ValueError("a ratio needs values above zero on both sides")
    logs = [[math.log(value) for value in values] for values in (a, b)]
    difference = fmean(logs[1]) - fmean(logs[0])
    dofs = [len(side) - 1 for side in logs]
    if not sum(dofs) or (not equal_variances and 0 in dofs):
        return math.exp(difference), None
    squares = [_sum_of_squares(side) for side in logs]
    if equal_variances:
        pooled = sum(squares) / sum(dofs)
        return _ratio_and_interval(difference, sum(pooled / len(s) for s in logs), sum(dofs))
    # Variance of each mean, and its share: the square of a small variance can be zero.
    parts = [s / dof / len(side) for s, dof, side in zip(squares, dofs, logs, strict=True)]
    shares = [part / (sum(parts) or 1) for part in parts]
    dof = 1 / (sum(share**2 / dof for share, dof in zip(shares, dofs, strict=True)) or 1)
    return _ratio_and_interval(difference, sum(parts), dof)


def geometric_mean_interval(
    values: Sequence[float],
) -> tuple[float, tuple[float, float] | None]:
    """The geometric mean, and its 95 % interval: Student's, on the logarithms; None for one value.

    The mean for ratios: no other is independent of which side comes first (P. J. Fleming and
    J. J. Wallace, Communications of the ACM 29, 1986). Raises `ValueError` without values, and for
    values that are not above zero.
    """
    if not values or min(values) <= 0:
        raise ValueError("a geometric mean needs values above zero")
    logs, n = [math.log(value) for value in values], len(values)
    if n == 1:
        return values[0], None
    return _ratio_and_interval(fmean(logs), _sum_of_squares(logs) / (n - 1) / n, n - 1)


def _sum_of_squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _ratio_and_interval(
    log: float, variance: float, dof: float
) -> tuple[float, tuple[float, float]]:
    """A ratio and its 95 % interval, from its logarithm and the logarithm's variance."""
    from scipy.special import stdtrit

    half = float(stdtrit(dof, 0.975)) * math.sqrt(variance)
    return math.exp(log), (math.exp(log - half), math.exp(log + half))


EXACT_PAIRS: Final = 50
"""Up to here the signed-rank distribution is exact; beyond, the normal one is as good."""


def hodges_lehmann_interval(
    differences: Sequence[float],
) -> tuple[float, tuple[float, float] | None]:
    """The centre of paired differences; its 95 % interval by Wilcoxon's signed-rank test, inverted.

    The estimate of Hodges and Lehmann is the median of the means of all pairs of differences (each
    with itself too), the bounds are two of those means: M. Hollander and D. A. Wolfe,
    "Nonparametric Statistical Methods", 2nd ed. (1999), sections 3.2 and 3.3. The differences are
    assumed to be independent and symmetric about the centre. The interval is None for fewer than 6.
    Raises `ValueError` without any.
    """
    if not differences:
        raise ValueError("a centre needs at least one difference")
    means = sorted((x + y) / 2 for x, y in itertools.combinations_with_replacement(differences, 2))
    rank = _signed_rank_bound(len(differences), 0.025)
    interval = (means[rank - 1], means[len(means) - rank]) if rank else None
    return percentile(means, 50), interval


def _signed_rank_bound(n: int, tail: float) -> int:
    """How many of the smallest signed-rank sums of `n` differences have a share of `tail`."""
    if n > EXACT_PAIRS:
        sums = NormalDist(n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
        return math.floor(sums.inv_cdf(tail) + 0.5)  # continuity: the sums are whole numbers
    # ways[w]: subsets of the ranks 1..n that add up to w.
    ways = [1] + [0] * (n * (n + 1) // 2)
    for rank in range(1, n + 1):
        for w in range(len(ways) - 1, rank - 1, -1):
            ways[w] += ways[w - rank]
    below = itertools.accumulate(ways)
    return sum(1 for _ in itertools.takewhile(lambda count: count <= tail * 2**n, below))
