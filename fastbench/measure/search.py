"""Which settings to try next, by what was measured of others.

The logarithm of what is measured is taken for a Gaussian process: settings that are near each
other give nearly the same, each axis has an effect of its own, and all together a smaller one.
Tried next is what promises the largest gain over the best (expected improvement: D. R. Jones, M.
Schonlau and W. J. Welch, "Efficient Global Optimization of Expensive Black-Box Functions", Journal
of Global Optimization 13, 1998). How far and how much settings matter is not known: some guesses
are averaged, each weighted by how well it explains the trials so far. The best is what the process
believes to be it, not the luckiest value. Nothing is random: the same trials are followed by the
same one.

`benchmarks/tune_search.py` holds this against other searches.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastbench.loaders.base import Setting

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int_]

Place = tuple[int, ...]
"""A setting of each axis, as indices of their values."""

_REACHES: Final = (0.5, 0.8, 1.3)
"""How far settings are alike, in units of an axis's own `reach`."""
_SCALES: Final = (0.5, 1.0, 2.0, 4.0)
"""How much they matter, in units of an axis's own `effect`; 1 is the most likely."""
_TOGETHER: Final = 0.1
"""The effect of all axes together that is not the sum of theirs."""
_NOISE: Final = 0.03
"""The scatter of a trial that is repeated, as a share of its value."""
_FAILED: Final = 0.5
"""A trial that failed, but not for its memory, counts as so much below the worst, as a logarithm:
its neighbours may fail too."""


@dataclass(frozen=True)
class Axis:
    """A setting and the values that it may have, in order; `default` is the index of one.

    `effect` is how much it mostly matters, as a natural logarithm, and `reach` over how far it has
    about the same effect: in doublings, or as a share of all values of what is no number above 0.
    With `takes_memory`, larger values do.
    """

    name: str
    values: tuple[Setting, ...]
    default: int
    effect: float = 0.25
    reach: float = 0.5
    takes_memory: bool = False

    @cached_property
    def distances(self) -> Floats:
        """From each value to each other, in units of `reach`."""
        numbers = [value for value in self.values if isinstance(value, int) and value > 0]
        if len(numbers) == len(self.values) and not isinstance(self.values[0], bool):
            places = np.log2(np.array(numbers, float))
        else:
            places = np.linspace(0, 1, len(self.values))
        return np.abs(places[:, None] - places[None, :]) / self.reach


@dataclass
class Tried:
    """The trials so far: the value of each place (more is better), None where it failed.

    `no_memory` are those of the failed that were out of memory.
    """

    values: dict[Place, float | None] = field(default_factory=dict)
    no_memory: set[Place] = field(default_factory=set)


class Search:
    """A search over the combinations of some axes, which starts with their defaults."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self.default: Place = tuple(axis.default for axis in self.axes)
        sizes = [range(len(axis.values)) for axis in self.axes]
        self._places = np.array([*itertools.product(*sizes)], int).reshape(-1, len(self.axes))
        self._rows = {tuple(place): row for row, place in enumerate(self._places.tolist())}

    def next(self, tried: Tried) -> Place | None:
        """The place to try next; None if none is left."""
        if not tried.values:
            return self.default
        free = self._fits(tried)
        free[[self._rows[place] for place in tried.values]] = False
        if not free.any():
            return None
        if not any(value is not None for value in tried.values.values()):
            return self._nearest(free)
        rows = np.flatnonzero(free)
        _, gains = self._believed(tried, rows)
        return self._place(int(rows[np.argmax(gains)]))

    def best(self, tried: Tried) -> Place | None:
        """The best of the places that were tried; None if all failed."""
        measured = [place for place, value in tried.values.items() if value is not None]
        if not measured:
            return None
        believed, _ = self._believed(tried, np.array([self._rows[place] for place in measured]))
        return measured[int(np.argmax(believed))]

    def settings(self, place: Place) -> dict[str, Setting]:
        """The values at a place, by name."""
        return {axis.name: axis.values[i] for axis, i in zip(self.axes, place, strict=True)}

    def _fits(self, tried: Tried) -> NDArray[np.bool_]:
        """Which places do not need at least the memory of one that was out of it."""
        fits = np.ones(len(self._places), bool)
        hungry = [i for i, axis in enumerate(self.axes) if axis.takes_memory]
        for place in tried.no_memory:
            fits &= ~np.all([self._places[:, i] >= place[i] for i in hungry], axis=0)
        return fits

    def _nearest(self, free: NDArray[np.bool_]) -> Place:
        """The free place that is nearest to the default, on the first axis before all others."""
        steps = np.abs(self._places - np.array(self.default))
        order = np.lexsort((steps[:, 0], steps[:, 1:].sum(1), ~free))
        return self._place(int(order[0]))

    def _place(self, row: int) -> Place:
        return tuple(self._places[row].tolist())

    def _believed(self, tried: Tried, at: Rows) -> tuple[Floats, Floats]:
        """The logarithms of the values at some places, and the gains over the best they promise."""
        from scipy.special import ndtr

        logs = {p: math.log(value) for p, value in tried.values.items() if value is not None}
        failed = [p for p in tried.values if p not in logs and p not in tried.no_memory]
        known = np.array([self._rows[place] for place in (*logs, *failed)])
        centre = logs.get(self.default, sum(logs.values()) / len(logs))
        low = min(logs.values()) - _FAILED
        y = np.array([*logs.values(), *(low for _ in failed)]) - centre
        weights, means, gains = [], [], []
        for reach in _REACHES:
            among, across = self._alike(known, known, reach), self._alike(at, known, reach)
            for scale in _SCALES:
                own = np.linalg.cholesky(scale**2 * among + _NOISE**2 * np.eye(len(known)))
                white = np.linalg.solve(own, np.column_stack((y, scale**2 * across.T)))
                mean = white[:, 1:].T @ white[:, 0]
                left = scale**2 * self._variance - (white[:, 1:] ** 2).sum(0)
                spread = np.sqrt(np.maximum(left, 1e-12))
                at_known = scale**2 * among @ np.linalg.solve(own.T, white[:, 0])
                over = mean - at_known[: len(logs)].max()
                density = np.exp(-((over / spread) ** 2) / 2) / math.sqrt(2 * math.pi)
                means.append(mean)
                gains.append(over * ndtr(over / spread) + spread * density)
                likelihood = -white[:, 0] @ white[:, 0] / 2 - np.log(np.diag(own)).sum()
                weights.append(likelihood - math.log(scale) ** 2 / 2)
        weight = np.exp(np.array(weights) - max(weights))
        weight /= weight.sum()
        return weight @ np.array(means), weight @ np.array(gains)

    def _alike(self, rows: Rows, others: Rows, reach: float) -> Floats:
        """The covariance of places with others, on the scale 1."""
        each = [
            np.exp(-((axis.distances / reach) ** 2) / 2)[np.ix_(some, theirs)]
            for axis, some, theirs in zip(
                self.axes, self._places[rows].T, self._places[others].T, strict=True
            )
        ]
        apart = sum(axis.effect**2 * alike for axis, alike in zip(self.axes, each, strict=True))
        return apart + _TOGETHER**2 * np.prod(each, axis=0)

    @property
    def _variance(self) -> float:
        """The variance of a place, on the scale 1."""
        return sum(axis.effect**2 for axis in self.axes) + _TOGETHER**2
