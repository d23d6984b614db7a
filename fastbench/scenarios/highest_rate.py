"""The search for the highest rate that holds the latency limit, by runs of the load generator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.units import format_quantity
from fastbench.records.load import Limit, LoadRun
from fastbench.scenarios.loadgen import Rules
from fastbench.scenarios.run_of_record import fewest_queries, is_surely_over
from fastbench.scenarios.search import bracket, confirm

if TYPE_CHECKING:
    from fastbench.records.load import Purpose

Run = Callable[["Purpose", Rules], LoadRun]
"""Makes one run."""

_SHORT_SHARE: Final = 0.1
_MOST_SHORT_S: Final = 30.0
_FIRST_SHARE: Final = 0.7
"""A search begins at this share of the images/s that all at once reach."""
_LEAST_SHARE: Final = 0.01
_FEW: Final = 100
"""LoadGen's own fewest queries, which tell a rate that is far from holding."""
_TIMES_FEWEST: Final = 5
"""The run that confirms a rate has so many times the fewest queries that tell a percentile."""


@dataclass(frozen=True, kw_only=True)
class Highest:
    """How a search ended: the confirmed rate, the lowest that was missed, and both in words."""

    rate_per_s: float | None
    missed_per_s: float | None
    ended: str


def find_highest(
    run: Run,
    rules: Rules,
    *,
    capacity_per_s: float,
    alone_s: float,
    tolerance: float,
    is_quick: bool = False,
) -> Highest:
    """Search for the highest rate of `server` that holds the limit of the rules, and confirm it.

    `rules` are those of a run that counts. `capacity_per_s` is the rate of images that are all
    asked for at once, which no rate exceeds for long, `alone_s` the latency of a query alone.
    Rates are compared within `tolerance`, a share. With `is_quick` the runs of the search have
    about a hundred queries.
    """
    assert rules.limit_s is not None
    limit_s, pct = rules.limit_s, rules.pct
    limit = Limit(seconds=limit_s, pct=pct)
    fewest = _FEW if is_quick else fewest_queries(pct)
    short_s = min(_SHORT_SHARE * rules.duration_s, _MOST_SHORT_S)
    # A rate at which the fewest queries take longer than a run that counts is not tried.
    slowest_per_s = fewest_queries(pct) / max(rules.duration_s, _MOST_SHORT_S)
    least = max(_LEAST_SHARE * capacity_per_s, slowest_per_s)

    def attempt(rate_per_s: float) -> float:
        its = dataclasses.replace(
            rules, rate_per_s=rate_per_s, duration_s=short_s, min_queries=fewest
        )
        if fewest > 2 * rate_per_s * short_s > 0:  # a clear miss shows in fewer, too
            few = max(_FEW, int(rate_per_s * short_s))
            found = run("search", dataclasses.replace(its, min_queries=few))
            if is_surely_over(found.num_over or 0, found.num_queries, pct):
                return math.inf
        found = run("search", its)
        assert found.limit_s is not None
        is_whole = not found.num_turned_away and not found.num_failed
        return found.limit_s / limit_s if is_whole else math.inf

    def confirms(rate_per_s: float) -> bool:
        its = dataclasses.replace(
            rules, rate_per_s=rate_per_s, min_queries=_TIMES_FEWEST * fewest_queries(pct)
        )
        return run("confirm", its).is_valid

    if alone_s > limit_s:
        attempt(least)
        return Highest(
            rate_per_s=None,
            missed_per_s=least,
            ended=(
                f"no rate holds {limit}: one query alone takes {1000 * alone_s:.3g} ms. Allow more "
                f"with --latency, or choose a faster model or loader"
            ),
        )
    found = bracket(attempt, _FIRST_SHARE * capacity_per_s, least, tolerance)
    missed = found.missed
    if found.held is None:
        ended = (
            f"no rate holds {limit}, not even {format_quantity(least)} queries/s. Allow more with "
            f"--latency, or a smaller --max-wait"
        )
        return Highest(rate_per_s=None, missed_per_s=missed, ended=ended)
    rate_per_s = confirm(confirms, found.held, tolerance)
    if rate_per_s is None:
        ended = (
            f"short runs held {limit} at {format_quantity(found.held)} queries/s, and no long run "
            f"confirms that or a rate a little lower: the machine was not the same. Run it again "
            f"when nothing else runs"
        )
    elif missed is None:
        ended = "every rate that was tried held"
    else:
        ended = (
            f"the highest rate that holds, within {100 * tolerance:g} %; "
            f"{format_quantity(missed)} queries/s does not hold"
        )
    return Highest(rate_per_s=rate_per_s, missed_per_s=missed, ended=ended)
