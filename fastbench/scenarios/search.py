"""The highest rate that holds a limit: bracketing, bisection with repeats, and a long run.

A latency percentile near saturation scatters from run to run. So a rate is judged by one run only
where that is clear, else by the majority of three; and what was found is confirmed by a long run,
or a lower rate is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_GROWTH: Final = 1.5
_CLEAR: Final = 1.5
"""A percentile that is so many times over the limit, or under it, is judged by one run."""
_MOST_CONFIRMED: Final = 8
_MOST_GROWTHS: Final = 40

Try = Callable[[float], float]
"""A rate, queries/s -> the percentile of one run over its limit: up to 1 holds it. Infinite where a
query was not answered."""


@dataclass(frozen=True)
class Bracket:
    """The highest rate that was found to hold, and the lowest that was not; None without one."""

    held: float | None
    missed: float | None


def bracket(run: Try, start: float, least: float, tolerance: float) -> Bracket:
    """Search from `start` on, not below `least`, until the two are `1 + tolerance` apart.

    Rates are positive, in queries/s. The limit is taken to hold below a rate that holds.
    """
    held: float | None = None
    missed: float | None = None
    rate = max(start, least)
    for _ in range(_MOST_GROWTHS):
        if holds(run, rate):
            held = rate
            if missed is not None:
                break
            rate *= _GROWTH
        else:
            missed = rate
            if held is not None or rate <= least:
                break
            rate = max(least, rate / (2 * _GROWTH if held is None else 1))
    while held is not None and missed is not None and missed / held > 1 + tolerance:
        rate = (held * missed) ** 0.5
        if holds(run, rate):
            held = rate
        else:
            missed = rate
    return Bracket(held, missed)


def holds(run: Try, rate: float) -> bool:
    """Whether a rate holds, by one run where that is clear, else by two of three."""
    first = run(rate)
    if not 1 / _CLEAR < first < _CLEAR:
        return first <= 1
    second = run(rate)
    if (first <= 1) == (second <= 1):
        return first <= 1
    return run(rate) <= 1


def confirm(run: Callable[[float], bool], rate: float, tolerance: float) -> float | None:
    """The highest rate, from `rate` downwards in steps of the tolerance, that a long run confirms.

    None where several steps down none is: then the short runs say something else than the long.
    """
    for _ in range(_MOST_CONFIRMED):
        if run(rate):
            return rate
        rate /= 1 + tolerance
    return None
