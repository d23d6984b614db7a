"""How a row of several ranks scales, which of them is the slowest, and why.

The ideal of N ranks is N times the throughput of one of the same configuration. What a row lacks of
it is the waiting for stragglers, and ranks that are slower than one alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, geometric_mean, median_low
from typing import TYPE_CHECKING, Final

from fastbench.core.stats import expected_largest, percentile
from fastbench.records.record import CONTENDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.records.ranks import RankPart
    from fastbench.records.record import Record
    from fastbench.records.speed import Telemetry

WAITING: Final = "waiting for stragglers"
LOADER: Final = "loader"
HOST: Final = "host CPU"
OTHER: Final = "other"
CAUSES: Final = (WAITING, LOADER, HOST, OTHER)
"""What throughput is lost by."""
USED_UP: Final = 0.9
"""Cores of whose time so much is used have nothing left."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Shares of the ideal, which add up to 1: what is reached, and what is lost.

    Ranks lose `waiting` because each window lasts until the slowest of them has ended, `slower`
    because they are slower than one alone, by `cause`. Below zero that is a gain: each rank is
    faster than one alone, with a cache of its own for fewer images, say.
    """

    efficiency: float
    waiting: float
    slower: float
    cause: str

    @property
    def losses(self) -> dict[str, float]:
        """What is lost, by its cause."""
        return {WAITING: self.waiting, self.cause: self.slower}

    @property
    def brief(self) -> str:
        """What is lost, in a cell and in percent: `waiting 3, loader 10`."""
        said = self.losses.items()
        return ", ".join(f"{x.partition(' for')[0]} {100 * y:.0f}" for x, y in said if y >= 0.005)

    def __str__(self) -> str:
        said = [f"{100 * x:.0f} % {cause}" for cause, x in self.losses.items() if x >= 0.005]
        gain = "" if self.slower > -0.005 else ", each rank faster than one alone"
        lost = f" (lost: {', '.join(said)})" if said else ""
        return f"scaling efficiency {100 * self.efficiency:.0f} %{lost}{gain}"


def scaling_of(record: Record, alone: Sequence[Record]) -> Scaling | None:
    """A row of several ranks against rows of one rank; None without either, or without windows.

    Each rank's own rate is over its own part of a window, so that all of them added up, less the
    row's throughput, are what ranks lose before the last has begun and while it has not ended. The
    rest of the loss has one cause: the loader, where the ranks are loader-bound and the loader
    alone of a rank has fallen by at least half of it; else the host's CPU, where its cores are used
    up; else another one, such as the model, the batches' padding, or ranks without an image.
    """
    if not alone or len(record.ranks) < 2 or not record.throughput.windows:
        return None
    ideal = record.num_ranks * geometric_mean([x.throughput.images_per_s for x in alone])
    efficiency = record.throughput.images_per_s / ideal
    windows = zip(*(part.rates for part in record.ranks), strict=True)
    waiting = percentile([math.fsum(rates) for rates in windows], 50) / ideal - efficiency
    slower = 1 - efficiency - waiting
    return Scaling(
        efficiency=efficiency,
        waiting=waiting,
        slower=slower,
        cause=_cause(record, alone, slower),
    )


def _cause(record: Record, alone: Sequence[Record], slower: float) -> str:
    if slower <= 0:
        return OTHER
    if _loader_fell(record, alone) >= slower / 2:
        return LOADER
    return HOST if is_used_up(record.telemetry) else OTHER


def _loader_fell(record: Record, alone: Sequence[Record]) -> float:
    """By which share the loader alone of a rank is slower; below zero where it does not count."""
    known = [x.ceilings["loader"] for x in alone if "loader" in x.ceilings]
    if record.bound != "loader" or not known:
        return -1.0
    return 1 - record.ceilings["loader"] / len(record.ranks) / geometric_mean(known)


def is_used_up(used: Telemetry | None) -> bool:
    """Whether the cores, or what a quota leaves of them, have next to no time left for anyone."""
    if used is None:
        return False
    usable = min(used.num_cores, used.cpu_quota or math.inf)
    share = used.cpu_s / (usable * used.wall_s) + (used.foreign_cpu_share or 0)
    return share >= USED_UP


@dataclass(frozen=True, kw_only=True)
class Slowest:
    """The slowest rank: by which share its windows take longer than the median rank's.

    Of an even number of ranks the median one is the faster of the two in the middle. `host` is
    empty where all ranks are on one machine. It is `bound` by its loader, its model or its host;
    None if that is not known.
    """

    rank: int
    host: str
    slower: float
    bound: str | None

    @property
    def brief(self) -> str:
        """In a cell: `rank 3 on node1, 12 % slower, loader-bound`."""
        bound = f"{self.bound}-bound" if self.bound else ""
        return ", ".join(filter(None, (self._name, f"{100 * self.slower:.0f} % slower", bound)))

    def __str__(self) -> str:
        if self.slower < 0.005:
            return "no rank is slower than the median rank"
        bound = f": {self.bound}-bound" if self.bound else ""
        return f"{self._name} is {100 * self.slower:.0f} % slower than the median rank{bound}"

    @property
    def _name(self) -> str:
        return f"rank {self.rank}" + (f" on {self.host}" if self.host else "")


def slowest_rank(record: Record) -> Slowest | None:
    """The rank whose windows take longest; None for fewer than two, or without windows.

    By time and not by images: shares differ by an image at most, and all wait for the last rank.
    """
    parts = record.ranks
    if len(parts) < 2 or not record.throughput.windows:
        return None
    ratios: list[list[float]] = [[] for _ in parts]
    for window in zip(*(part.windows for part in parts), strict=True):
        median_s = median_low(each.wall_s for each in window)
        for its, each in zip(ratios, window, strict=True):
            its.append(each.wall_s / median_s)
    every = [percentile(its, 50) for its in ratios]
    slower = max(every)
    part = parts[every.index(slower)]
    is_one = len({each.machine for each in parts}) == 1
    return Slowest(
        rank=part.rank,
        host="" if is_one else part.host,
        slower=slower - 1,
        bound=_bound_of(part, record.batch_size),
    )


def _bound_of(part: RankPart, batch_size: int) -> str | None:
    """The lower of a rank's ceilings, if it comes near it; else its host, if that is used up."""
    if part.loader_ceiling is None or part.model_ceiling is None:
        return "host" if is_used_up(part.telemetry) else None
    num_places = -(-part.num_samples // batch_size) * batch_size
    ceilings = {
        "loader": part.loader_ceiling.images_per_s,
        "model": part.model_ceiling.images_per_s * part.num_samples / num_places,
    }
    bound = min(ceilings, key=ceilings.__getitem__)
    is_near = part.images_per_s >= CONTENDED * ceilings[bound]
    return "host" if is_used_up(part.telemetry) and not is_near else bound


def expected_efficiency(record: Record, num_ranks: int) -> float | None:
    """What `num_ranks` keep of their own rates, if they scatter as these do and wait for the last.

    The mean of the ranks' times over the expected largest of `num_ranks` of them, each relative to
    the mean of its window (`stats.expected_largest`). It assumes that ranks are alike and do not
    depend on each other: one that lasts as the slowest counts as if chance had made it so. Nothing
    that ranks share gets slower with more of them, and no time is longer than the longest of
    `len(ranks) * windows` that were measured, so for many ranks this is an upper limit. None for
    fewer than two ranks, or without windows.
    """
    if len(record.ranks) < 2 or not record.throughput.windows:
        return None
    times = []
    for window in zip(*(part.windows for part in record.ranks), strict=True):
        mean_s = fmean(each.wall_s for each in window)
        times += [each.wall_s / mean_s for each in window]
    return fmean(times) / expected_largest(times, num_ranks)
