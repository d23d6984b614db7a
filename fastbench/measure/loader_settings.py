"""A search for a loader's fastest settings on this machine.

The first two settings are searched together, for the best of one may depend on the other: some
values of each in all combinations, then the neighbours of the best until none is better. Each
further setting is tried with the best so far, one after the other.

A trial is the loader alone. The model does not run meanwhile: a setting that is best alone may take
the GPU from the model. `fastbench tune` looks at both, and begins with what this search found.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

import msgspec

from fastbench.core.errors import FastbenchError
from fastbench.records.fields import Settings  # noqa: TC001 - msgspec reads it
from fastbench.records.speed import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fastbench.loaders.base import Setting

_NUM_JOINT: Final = 2
_NUM_COARSE: Final = 3
"""Values of a setting that are tried in all combinations: both ends, and the middle."""


class Found(msgspec.Struct, frozen=True):
    """The fastest settings found, every trial, and how long the search took."""

    settings: Settings
    trials: list[Trial]
    seconds: float


def search(
    space: Mapping[str, Sequence[Setting]], measure: Callable[[dict[str, Setting]], float]
) -> Found:
    """Search a space whose values are ordered, by what `measure` gives: images/s.

    Settings for which it raises a `FastbenchError` are a trial without a throughput. Raises the
    last of these if all of the first combinations fail.
    """
    start = time.monotonic()
    trials: dict[tuple[int, ...], Trial] = {}
    failures: list[FastbenchError] = []

    def attempt(place: tuple[int, ...]) -> None:
        """Try the values at these places of their lists, if they were not."""
        if place in trials:
            return
        values = zip(space.items(), place, strict=True)
        settings = {name: its_values[i] for (name, its_values), i in values}
        rate = None
        try:
            rate = measure(settings)
        except FastbenchError as error:
            failures.append(error)
        trials[place] = Trial(settings=settings, images_per_s=rate)

    def best() -> tuple[int, ...]:
        return max(trials, key=lambda place: trials[place].images_per_s or 0.0)

    sizes = [len(values) for values in space.values()]
    others = (0,) * len(sizes[_NUM_JOINT:])
    for joint in itertools.product(*(_coarse(size) for size in sizes[:_NUM_JOINT])):
        attempt((*joint, *others))
    if trials[best()].images_per_s is None:
        raise failures[-1]
    centre = None
    while centre != (centre := best()):
        for place in _neighbours(centre, sizes[:_NUM_JOINT]):
            attempt(place)
    for axis in range(_NUM_JOINT, len(sizes)):
        centre = best()
        for i in range(sizes[axis]):
            attempt((*centre[:axis], i, *centre[axis + 1 :]))
    return Found(trials[best()].settings, [*trials.values()], time.monotonic() - start)


def _coarse(size: int) -> list[int]:
    """At most `_NUM_COARSE` indices, evenly spread, with both ends."""
    num = min(size, _NUM_COARSE)
    return sorted({i * (size - 1) // max(1, num - 1) for i in range(num)})


def _neighbours(place: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The places one step away along one of the first axes, which have these sizes."""
    for axis, size in enumerate(sizes):
        for i in (place[axis] - 1, place[axis] + 1):
            if 0 <= i < size:
                yield (*place[:axis], i, *place[axis + 1 :])
