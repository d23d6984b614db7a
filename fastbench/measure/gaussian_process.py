"""What is believed of settings that nobody tried, by those that were.

The logarithm of what is measured is taken for a Gaussian process (C. E. Rasmussen and C. K. I.
Williams, "Gaussian Processes for Machine Learning", MIT Press 2006): settings that are near each
other give nearly the same, each axis has an effect of its own, each two of them one together, and
all a small one. How far settings are alike and how much each axis matters is not known: models with
many guesses are averaged, each weighted by how well it explains the trials.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastbench.loaders.base import Setting

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int_]

_REACHES: Final = (0.5, 0.8, 1.3)
"""How far settings are alike, in units of an axis's own `reach`."""
_SCALES: Final = (0.4, 1.0, 2.5)
"""How much an axis matters, in units of its own `effect`; 1 is the most likely."""
_TOGETHER: Final = 0.1
"""The effect of all axes together that is not the sum of theirs, and of theirs two by two."""
_NOISE: Final = 0.03
"""The scatter of a trial that is repeated, as a share of its value."""
_MOST: Final = 12
"""So many models are averaged: the others explain less, and take time."""


@dataclass(frozen=True)
class Axis:
    """A setting and the values that it may have, in order; `default` is the index of one.

    `effect` is how much it mostly matters, as a natural logarithm, and `reach` over how far it has
    about the same effect: in doublings, or as a share of all values of what is no number above 0.
    A doubling of it takes `memory` doublings of memory. It matters to the loader alone, to the
    model alone, or to both.
    """

    name: str
    values: tuple[Setting, ...]
    default: int
    effect: float = 0.25
    reach: float = 0.5
    memory: float = 0.0
    to_loader: bool = True
    to_model: bool = False

    @cached_property
    def positions(self) -> Floats:
        """Where each value lies: its base-2 logarithm, or its share of the way through them all."""
        numbers = [value for value in self.values if isinstance(value, int) and value > 0]
        if len(numbers) == len(self.values) and not isinstance(self.values[0], bool):
            return np.log2(np.array(numbers, float))
        return np.linspace(0, 1, len(self.values))

    @cached_property
    def distances(self) -> Floats:
        """From each value to each other, in units of `reach`."""
        return np.abs(self.positions[:, None] - self.positions[None, :]) / self.reach


OF_BATCHES: Final[dict[str, Any]] = {"effect": 0.4, "reach": 3, "memory": 1, "to_model": True}
OF_THREADS: Final[dict[str, Any]] = {"effect": 0.4, "reach": 1.5}
OF_MODEL_THREADS: Final[dict[str, Any]] = {**OF_THREADS, "to_loader": False, "to_model": True}
OF_PREFETCH: Final[dict[str, Any]] = {"effect": 0.08, "reach": 1.5, "memory": 0.25}
"""What is known of these axes before the first trial."""


@dataclass(frozen=True)
class Belief:
    """What some models say of some places: `weights` [model], the others [model, place]."""

    weights: Floats
    means: Floats
    variances: Floats

    @property
    def mean(self) -> Floats:
        """What all models together expect [place]."""
        return self.weights @ self.means

    @property
    def spread(self) -> Floats:
        """The standard deviation of all models together [place]."""
        square = self.weights @ (self.variances + self.means**2) - self.mean**2
        return np.sqrt(np.maximum(square, 1e-12))


class Process:
    """A Gaussian process over the `axes`; `places` are indices of their values [place, axis].

    `scale` says how much all axes matter, in units of their own `effect`.
    """

    def __init__(self, axes: Sequence[Axis], places: Rows, scale: float = 1.0) -> None:
        self._axes, self._places = axes, places
        self._pairs = [*itertools.combinations(range(len(axes)), 2)]
        every = [*itertools.product(_SCALES, repeat=len(axes))]
        scales = np.array(every).reshape(len(every), len(axes))
        own = (scale * scales * [axis.effect for axis in axes]) ** 2
        pairs = [own[:, i] * own[:, j] for i, j in self._pairs]
        together = np.full(len(own), _TOGETHER**2)
        self._effects = np.column_stack((own, *pairs, together))
        self._likely = -(np.log(scales) ** 2).sum(1) / 2

    def believe(self, known: Rows, values: Floats, at: Rows) -> Belief:
        """What places at the rows `at` are worth, by the values at the rows `known`."""
        found = []
        for reach in _REACHES:
            among = np.tensordot(self._effects, self._alike(known, known, reach), 1)
            own = np.linalg.cholesky(among + _NOISE**2 * np.eye(len(known)))
            white = np.linalg.solve(
                own, np.broadcast_to(values[:, None], (len(own), *values.shape, 1))
            )
            explained = self._likely - (white[..., 0] ** 2).sum(1) / 2
            explained -= np.log(np.diagonal(own, axis1=1, axis2=2)).sum(1)
            found.append((explained, own, white[..., 0]))
        every = np.concatenate([explained for explained, _, _ in found])
        least = np.sort(every)[-min(_MOST, len(every))]
        weights, means, variances = [], [], []
        for reach, (explained, own, white) in zip(_REACHES, found, strict=True):
            alike = self._alike(at, known, reach)
            for i in np.flatnonzero(explained >= least):
                across = np.linalg.solve(own[i], np.tensordot(self._effects[i], alike, 1).T)
                weights.append(explained[i])
                means.append(across.T @ white[i])
                variances.append(self._effects[i].sum() - (across**2).sum(0))
        weight = np.exp(np.array(weights) - max(weights))
        at_least = np.maximum(np.array(variances), 1e-12)
        return Belief(weight / weight.sum(), np.array(means), at_least)

    def _alike(self, rows: Rows, others: Rows, reach: float) -> Floats:
        """How alike places are [effect, row, other]: by each axis, by each two, and by all."""
        each = [
            np.exp(-((axis.distances / reach) ** 2) / 2)[np.ix_(some, theirs)]
            for axis, some, theirs in zip(
                self._axes, self._places[rows].T, self._places[others].T, strict=True
            )
        ]
        pairs = [each[i] * each[j] for i, j in self._pairs]
        whole = math.prod(each) if each else 1.0
        return np.stack([*each, *pairs, np.broadcast_to(whole, (len(rows), len(others)))])
