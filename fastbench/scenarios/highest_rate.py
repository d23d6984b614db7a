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
from fastbench.scenarios.run_of_record import fewest_queries, is_surely_over, most_over
from fastbench.scenarios.search import MOST_REPEATS, Seen, confirm, search

if TYPE_CHECKING:
    from fastbench.records.load import Purpose

Run = Callable[["Purpose", Rules], LoadRun]
"""Makes one run."""

_SHORT_SHARE: Final = 0.1
_MOST_SHORT_S: Final = 60.0
_FIRST_SHARE: Final = 0.7
"""A search begins at this share of the images/s that all at once reach."""
_MOST_SHARE: Final = 2.0
_LEAST_SHARE: Final = 0.01
_QUICK_REPEATS: Final = 3
_FEW: Final = 100
"""LoadGen's own fewest queries, which tell a rate that is far from holding."""
_TIMES_FEWEST: Final = 5
"""The run that confirms a rate has so many times the fewest queries that tell a percentile."""


@dataclass(frozen=True, kw_only=True)
class Highest:
    """How a search ended, in words; the rate that a long run confirmed, and the one that the short
    runs say, with the share of it by which its 95 % interval reaches to either side.
    """

    ended: str
    rate_per_s: float | None = None
    estimate_per_s: float | None = None
    reach: float | None = None


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
    The interval of the answer is to reach `tolerance`, a share of it, to either side; with
    `is_quick` there are few repeats for that.
    """
    assert rules.limit_s is not None
    limit_s, pct = rules.limit_s, rules.pct
    limit = Limit(seconds=limit_s, pct=pct)
    share = 1 - pct / 100
    fewest = fewest_queries(pct)
    short_s = min(_SHORT_SHARE * rules.duration_s, _MOST_SHORT_S)
    # A rate at which the fewest queries take longer than a run that counts is not tried.
    slowest_per_s = fewest_queries(pct) / max(rules.duration_s, _MOST_SHORT_S)
    least = max(_LEAST_SHARE * capacity_per_s, slowest_per_s)
    most_needed = _TIMES_FEWEST * fewest_queries(pct)

    def seen(found: LoadRun) -> Seen:
        lost = found.num_turned_away + found.num_failed
        rate_per_s = found.scheduled_per_s or found.offered_per_s or 0.0
        return Seen(rate_per_s, max(found.num_over or 0, lost), found.num_queries)

    def attempt(rate_per_s: float) -> Seen:
        its = dataclasses.replace(
            rules, rate_per_s=rate_per_s, duration_s=short_s, min_queries=fewest
        )
        few = max(_FEW, int(rate_per_s * short_s))
        if fewest > 2 * few:  # a clear miss shows in fewer, too
            found = seen(run("search", dataclasses.replace(its, min_queries=few)))
            if is_surely_over(found.num_over, found.num, pct):
                return found
        return seen(run("search", its))

    if alone_s > limit_s:
        attempt(max(least, 0.5 / alone_s))  # of which the record is, and which takes a moment
        return Highest(
            ended=(
                f"no rate holds {limit}: one query alone takes {1000 * alone_s:.3g} ms. Allow more "
                f"with --latency, or choose a faster model or loader"
            ),
        )
    most_repeats = _QUICK_REPEATS if is_quick else MOST_REPEATS
    start, most = _FIRST_SHARE * capacity_per_s, max(least, _MOST_SHARE * capacity_per_s)
    found = search(attempt, start, least, share, tolerance, most_repeats, most)
    held = [each.rate for each in found.runs if each.num_over <= share * each.num]
    if not held:
        return Highest(
            ended=(
                f"no rate holds {limit}, not even {format_quantity(least)} queries/s. Allow more "
                f"with --latency, or a smaller --max-wait"
            )
        )
    misses = len(held) < len(found.runs)
    highest = found.highest() if misses else max(held)
    assert highest is not None

    def confirms(rate_per_s: float) -> bool:
        its = dataclasses.replace(rules, rate_per_s=rate_per_s, min_queries=most_needed)
        done = run("confirm", its)
        found.runs.append(seen(done))
        return done.is_valid

    def sure(below: float) -> float:
        """The highest rate below one at which LoadGen will hardly doubt the percentile."""
        num = max(most_needed, int(rules.duration_s * below))
        allowed = most_over(num, pct)
        # By chance more are over than are expected, once in six times by this much.
        goal = max(0.5, allowed - allowed**0.5) / num
        return max(least, min(below, found.highest(goal) or below))

    rate_per_s = confirm(confirms, sure(highest), lambda rate: sure(rate / (1 + tolerance)))
    if rate_per_s is None:
        ended = (
            f"short runs say that {format_quantity(highest)} queries/s hold {limit}, and no long "
            f"run confirms that or a lower rate: the machine was not the same. Run it again when "
            f"nothing else runs"
        )
    elif not misses:
        ended = "every rate that was tried held"
    else:
        ended = (
            f"short runs say {format_quantity(highest)} queries/s, give or take "
            f"{100 * found.reach:.1f} %; a long run confirms {format_quantity(rate_per_s)}, of "
            f"which LoadGen is sure"
        )
    return Highest(
        rate_per_s=rate_per_s,
        estimate_per_s=highest if misses else None,
        reach=found.reach if misses and math.isfinite(found.reach) else None,
        ended=ended,
    )
