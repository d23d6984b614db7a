"""Which settings to try next, by what was measured of others.

A trial of a pipeline says three things: how fast the loader is alone, the model alone, and both
together. What settings do to one of them alone is simpler than what they do to both, and it shows
where the other one is the slower, too. So `gaussian_process.py` learns each by itself, and the CPU
time that each takes. A pipeline is as fast as the slowest of the loader, the model, and the cores
that they share. What that does not explain is a small effect of all settings. Some loaders have
searched for their own settings before (`loader_settings.py`); those trials count for the loader.

Tried next is what promises the largest gain over the best (expected improvement: D. R. Jones, M.
Schonlau and W. J. Welch, "Efficient Global Optimization of Expensive Black-Box Functions", Journal
of Global Optimization 13, 1998), times the chance that it fits the memory (J. R. Gardner et al.,
"Bayesian Optimization with Inequality Constraints", ICML 2014). The best is what is believed to be
it, not the luckiest value. Nothing is random: the same trials are followed by the same one.

`benchmarks/tune_search.py` holds this against other searches.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from fastbench.measure.gaussian_process import Axis, Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fastbench.loaders.base import Setting
    from fastbench.measure.gaussian_process import Floats, Rows

Place = tuple[int, ...]
"""A setting of each axis, as indices of their values."""

_FAILED: Final = 0.5
"""A trial that failed, but not for its memory, counts as so much below the worst, as a logarithm:
its neighbours may fail too."""
_REST: Final = 0.25
"""What the slowest part does not explain, in units of the axes' effects."""
_SHARPNESS: Final = 12.0
"""Where two parts are equally fast, they reach 2 ** (-1 / 12) = 0.94 of that together."""
_HAZARD: Final = 0.25
"""How likely a doubling of the memory that is known to be there does not fit."""
_LEAST_CHANCE: Final = 0.02
_DRAWS: Final = 48


@dataclass(frozen=True)
class Parts:
    """A pipeline's parts alone: images/s of the loader and of the model, CPU seconds an image."""

    loader: float
    model: float
    loader_cpu_s: float | None = None
    model_cpu_s: float | None = None


@dataclass
class Tried:
    """The trials so far: the value of each place (more is better), None where it failed.

    `no_memory` are those of the failed that were out of memory. `parts` are of places whose value
    is images/s. `loaders` has images/s of the loader alone, of places that were tried or not.
    """

    values: dict[Place, float | None] = field(default_factory=dict)
    no_memory: set[Place] = field(default_factory=set)
    parts: dict[Place, Parts] = field(default_factory=dict)
    loaders: dict[Place, float] = field(default_factory=dict)

    @property
    def logs(self) -> dict[Place, float]:
        """The logarithms of the values."""
        return {place: math.log(x) for place, x in self.values.items() if x is not None}


class Search:
    """A search over the combinations of some axes, which starts with their defaults.

    Loader and model share `num_cores`.
    """

    def __init__(self, axes: Sequence[Axis], num_cores: int = 1) -> None:
        self.axes, self._num_cores = tuple(axes), num_cores
        self.default: Place = tuple(axis.default for axis in self.axes)
        sizes = [range(len(axis.values)) for axis in self.axes]
        self._places = np.array([*itertools.product(*sizes)], int).reshape(-1, len(self.axes))
        self._rows = {tuple(place): row for row, place in enumerate(self._places.tolist())}
        positions = [axis.positions * axis.memory for axis in self.axes]
        self._memory = sum(
            (each[places] for each, places in zip(positions, self._places.T, strict=True)),
            np.zeros(len(self._places)),
        )
        self._whole, self._rest = Process(axes, self._places), Process(axes, self._places, _REST)
        self._loader = self._part([axis.to_loader for axis in axes])
        self._model = self._part([axis.to_model for axis in axes])
        half = np.random.default_rng(0).standard_normal((_DRAWS // 2, 4))
        self._draws = np.concatenate([half, -half])

    def next(self, tried: Tried) -> Place | None:
        """The place to try next; None if none is left."""
        if not tried.values:
            return self.default
        free = self._fits(tried)
        free[[self._rows[place] for place in tried.values]] = False
        if not free.any():
            return None
        if not tried.logs:
            return self._nearest(free)
        rows = np.flatnonzero(free)
        _, gains = self._believed(tried, rows)
        return self._at(int(rows[np.argmax(gains * self._chances(tried, rows))]))

    def best(self, tried: Tried) -> Place | None:
        """The best of the places that were tried; None if all failed."""
        measured = [*tried.logs]
        if not measured:
            return None
        believed, _ = self._believed(tried, self._rows_of(measured))
        return measured[int(np.argmax(believed))]

    def settings(self, place: Place) -> dict[str, Setting]:
        """The values at a place, by name."""
        return {axis.name: axis.values[i] for axis, i in zip(self.axes, place, strict=True)}

    def place(self, settings: Mapping[str, Setting]) -> Place:
        """Where settings are; those that are no axis do not count."""
        return tuple(axis.values.index(settings[axis.name]) for axis in self.axes)

    def _part(self, matters: list[bool]) -> Process:
        """A process over those axes that matter to a part."""
        axes = [axis for axis, does in zip(self.axes, matters, strict=True) if does]
        return Process(axes, self._places[:, np.array(matters, bool)])

    def _fits(self, tried: Tried) -> NDArray[np.bool_]:
        """Which places do not need at least the memory of one that was out of it."""
        fits = np.ones(len(self._places), bool)
        hungry = [i for i, axis in enumerate(self.axes) if axis.memory]
        for place in tried.no_memory:
            fits &= ~np.all([self._places[:, i] >= place[i] for i in hungry], axis=0)
        return fits

    def _chances(self, tried: Tried, rows: Rows) -> Floats:
        """How likely places fit the memory, by the largest that did and the smallest that did not.

        Where the memory ends is as likely in each doubling between them.
        """
        largest = self._memory[self._rows_of(tried.logs)].max()
        more = np.maximum(self._memory[rows] - largest, 0)
        if not tried.no_memory:
            return np.exp(-_HAZARD * more)
        between = self._memory[self._rows_of(tried.no_memory)].min() - largest
        return np.clip(1 - more / max(between, 0.5), _LEAST_CHANCE, 1)

    def _nearest(self, free: NDArray[np.bool_]) -> Place:
        """The free place that is nearest to the default, on the first axis before all others."""
        steps = np.abs(self._places - np.array(self.default))
        order = np.lexsort((steps[:, 0], steps[:, 1:].sum(1), ~free))
        return self._at(int(order[0]))

    def _at(self, row: int) -> Place:
        return tuple(self._places[row].tolist())

    def _rows_of(self, places: Sequence[Place] | set[Place] | dict[Place, float]) -> Rows:
        return np.array([self._rows[place] for place in places], int)

    def _believed(self, tried: Tried, at: Rows) -> tuple[Floats, Floats]:
        """The logarithms of the values at some places, and the gains over the best they promise."""
        from scipy.special import ndtr

        logs = tried.logs
        failed = [p for p in tried.values if p not in logs and p not in tried.no_memory]
        known = self._rows_of([*logs, *failed])
        low = min(logs.values()) - _FAILED
        rows, num = np.concatenate((at, known)), len(at)
        slowest, process = self._slowest(tried, rows), self._rest
        if slowest is None:
            slowest, process = np.zeros((1, len(rows))), self._whole
        rest = np.array([*logs.values(), *(low for _ in failed)]) - slowest.mean(0)[num:]
        belief = process.believe(known, rest - rest[0], rows)
        believed = slowest.mean(0) + rest[0] + belief.mean
        best = believed[num:][: len(logs)].max()
        spreads, gains = np.sqrt(belief.variances[:, :num]), np.zeros(num)
        for each in slowest[:, :num]:
            over = each + rest[0] + belief.means[:, :num] - best
            density = np.exp(-((over / spreads) ** 2) / 2) / math.sqrt(2 * math.pi)
            gains += belief.weights @ (over * ndtr(over / spreads) + spreads * density)
        return believed[:num], gains / len(slowest)

    def _slowest(self, tried: Tried, rows: Rows) -> Floats | None:
        """Draws of the logarithm of what the slowest part lets through [draw, row].

        None where the parts of a trial were not measured.
        """
        if any(place not in tried.parts for place in tried.logs):
            return None
        known = self._rows_of(tried.logs)
        measured = np.array([astuple(tried.parts[place]) for place in tried.logs], float)
        logs = np.log(measured).T
        num = 2 if np.isnan(logs).any() else 4  # the CPU time of a part may not be known
        told = [(known, each) for each in logs[:num]]
        more = np.array([*tried.loaders.values()])
        told[0] = (
            np.concatenate((known, self._rows_of(tried.loaders))),
            np.concatenate((logs[0], np.log(more))),
        )
        drawn = []
        for i, (at, values) in enumerate(told):
            process = self._model if i % 2 else self._loader
            belief = process.believe(at, values - values[0], rows)
            drawn.append(values[0] + belief.mean + self._draws[:, i, None] * belief.spread)
        rates = drawn[:2]
        if num == 4:
            rates.append(math.log(self._num_cores) - np.logaddexp(*drawn[2:]))
        return -np.logaddexp.reduce([-_SHARPNESS * rate for rate in rates]) / _SHARPNESS
