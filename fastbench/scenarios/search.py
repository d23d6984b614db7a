"""The highest rate that holds a limit: bracketing, then repeats where the answer lies.

A percentile near saturation scatters from run to run: what is late comes in groups. So no rate is
judged by one run. The share of the queries that are over the limit grows as a power of the rate,
near any rate: a line through the logarithms of all runs says at which rate it is as large as the
percentile allows. The next run is at that rate, until leaving out any run moves the answer by
little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

_GROWTH: Final = 1.5
_MOST_GROWTHS: Final = 40
_LEAST_REPEATS: Final = 4
MOST_REPEATS: Final = 10
_MOST_CONFIRMED: Final = 4
"""Long runs, one at a lower rate than the other, after which none is expected to hold."""
_MOST_OVER: Final = 0.1
"""With more of its queries over the limit a run is past saturation, where the line bends; with
three times the share that may be, or half way from there to all, where these are more."""
_NEAR: Final = 1.6
_POWER: Final = 10.0
_SPREAD: Final = 6.0
"""The power of the rate with which the share grows, in queues near their capacity, and how far it
may be off."""
_IN_GROUPS: Final = 5.0
"""Late queries come in groups of about so many, which say as much as one."""
_STEPS: Final = 40


@dataclass(frozen=True)
class Seen:
    """A run: the queries a second that arrived, how many took longer than the limit, and all."""

    rate: float
    num_over: int
    num: int

    @property
    def share(self) -> float:
        """The share over the limit."""
        return self.num_over / self.num


Try = Callable[[float], Seen]
"""Makes a run at about this rate, queries/s."""


@dataclass
class Search:
    """Runs so far, and what they say. `share` of the queries may be over the limit."""

    share: float
    runs: list[Seen] = field(default_factory=list)

    @property
    def most_over(self) -> float:
        """The share over the limit up to which a run is not past saturation."""
        return max(_MOST_OVER, min(3 * self.share, (1 + self.share) / 2))

    def highest(self, share: float | None = None) -> float | None:
        """The rate at which this share is over the limit; None where every run was past saturation.

        Between the runs near it and those past saturation it is at most half way.
        """
        below = [each.rate for each in self.runs if each.share <= self.most_over]
        if not below:
            return None
        found = _root(self.runs, self.share if share is None else share, self.most_over)
        beyond = [x.rate for x in self.runs if x.share > self.most_over and x.rate > max(below)]
        half_way = [math.sqrt(max(below) * rate) for rate in beyond]
        return min([*half_way, max(below) if found is None and not beyond else found or math.inf])

    @property
    def reach(self) -> float:
        """How far the 95 % interval of `highest` reaches to either side, as a share of it.

        By the jackknife over the runs (B. Efron, "The Jackknife, the Bootstrap and Other Resampling
        Plans" (1982), chapter 3).
        """
        whole, runs = self.highest(), self.runs
        if whole is None:
            return math.inf
        left = [
            _root([*runs[:i], *runs[i + 1 :]], self.share, self.most_over) for i in range(len(runs))
        ]
        moved = [math.log(each / whole) for each in left if each is not None]
        n = len(moved)
        if n < 2:
            return math.inf
        return 1.96 * math.sqrt((n - 1) / n * sum((x - sum(moved) / n) ** 2 for x in moved))


def search(
    run: Try,
    start: float,
    least: float,
    share: float,
    tolerance: float,
    most_repeats: int = MOST_REPEATS,
    most: float = math.inf,
) -> Search:
    """Bracket between `least` and `most`, from `start` on; repeat until `reach` is the tolerance.

    There are at most `most_repeats`. Where no rate misses, or none holds, nothing is repeated.
    """
    found = Search(share)

    def attempt(rate: float) -> bool:
        found.runs.append(run(rate))
        return found.runs[-1].num_over <= share * found.runs[-1].num

    held = missed = False
    rate = max(start, least)
    for _ in range(_MOST_GROWTHS):
        if attempt(rate):
            held = True
            if missed or rate >= most:
                break
            rate = min(most, rate * _GROWTH)
        else:
            missed = True
            if held or rate <= least:
                break
            rate = max(least, rate / _GROWTH)
    if not (held and missed):
        return found
    for number in range(most_repeats):
        if number >= _LEAST_REPEATS and found.reach <= tolerance:
            break
        rates = [each.rate for each in found.runs]
        highest = found.highest() or rates[-1]
        attempt(min(max(highest, least, min(rates)), max(rates)))
    return found


def _root(runs: list[Seen], share: float, most_over: float) -> float | None:
    """The rate at which this share is over the limit, by the runs near it, up to `most_over`.

    A Poisson regression of the late queries on the logarithm of the rate (P. McCullagh and J. A.
    Nelder, "Generalized Linear Models", 2nd ed. (1989), chapter 6), its slope held near `_POWER` by
    a normal prior, by Newton's method.
    """
    target = math.log(share)
    below = [each for each in runs if each.share <= most_over]
    late = [each for each in below if each.num_over]
    if not late:
        return None
    nearest = min(late, key=lambda each: abs(math.log(each.share) - target)).rate
    near = [each for each in below if 1 / _NEAR <= each.rate / nearest <= _NEAR]
    x = np.log([each.rate / nearest for each in near])
    num_over, num = (np.array([getattr(each, y) for each in near]) for y in ("num_over", "num"))
    level, power = math.log(num_over.sum() / num.sum()), _POWER
    for _ in range(_STEPS):
        expected = num * np.exp(level + power * x)
        off = num_over - expected
        pull = _IN_GROUPS * (power - _POWER) / _SPREAD**2
        gradient = np.array([off.sum(), (off * x).sum() - pull])
        curve = np.array(
            [
                [expected.sum(), (expected * x).sum()],
                [(expected * x).sum(), (expected * x * x).sum() + _IN_GROUPS / _SPREAD**2],
            ]
        )
        step = np.linalg.solve(curve, gradient)
        step *= min(1.0, 1 / (np.abs(step).max() + 1e-12))
        level, power = level + float(step[0]), power + float(step[1])
    power = max(power, 1.0)
    return nearest * math.exp((target - level) / power)


def confirm(
    run: Callable[[float], bool], first: float, lower: Callable[[float], float]
) -> float | None:
    """The first rate that a long run confirms, from `first` downwards; None where several do not.

    `lower` gives the rate after one that was not confirmed.
    """
    rate = first
    for _ in range(_MOST_CONFIRMED):
        if run(rate):
            return rate
        rate = lower(rate)
    return None
