"""A search for a loader's fastest settings on this machine, one setting at a time.

Each value is tried on the loader alone, with the best values of the other settings so far. The
model does not run meanwhile: a setting that is best alone may take the GPU from the model. Give the
setting by hand if that matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastbench.core.errors import FastbenchError
from fastbench.measure import passes
from fastbench.records.speed import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from fastbench.loaders.base import Loader, LoaderSpec, Setting
    from fastbench.measure.clock import Clock


def search(
    open_loader: Callable[[LoaderSpec], AbstractContextManager[Loader]],
    spec: LoaderSpec,
    space: Mapping[str, Sequence[Setting]],
    make_clock: Callable[[], Clock],
    seconds: float,
) -> tuple[dict[str, Setting], list[Trial]]:
    """The fastest settings found, and every trial, each measured for `seconds`.

    A setting that fails is a trial without a throughput. Raises the last `FastbenchError` if every
    value of a setting fails.
    """
    best: dict[str, Setting] = {name: values[0] for name, values in space.items()}
    trials: list[Trial] = []
    rates: dict[tuple[Setting, ...], float] = {}
    for name, values in space.items():
        failure: FastbenchError | None = None
        for value in values:
            settings = {**best, name: value}
            key = tuple(settings.values())
            if key in rates:
                continue
            try:
                with open_loader(spec.with_settings(settings)) as loader:
                    rate = passes.sample_loader(loader, make_clock(), seconds)
            except FastbenchError as error:
                failure = error
                trials.append(Trial(settings=settings, images_per_s=None))
                continue
            rates[key] = rate
            trials.append(Trial(settings=settings, images_per_s=rate))
        if not rates:
            assert failure is not None
            raise failure
        best = dict(zip(space, max(rates, key=lambda tried: rates[tuple(tried)]), strict=True))
    return best, trials
