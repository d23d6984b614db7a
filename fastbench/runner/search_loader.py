"""The loader's own search for its settings, before a row or a search of `fastbench tune`."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import FastbenchError, LoaderError
from fastbench.loaders.base import FactoryTraits
from fastbench.measure.clock import make_clock
from fastbench.measure.loader_settings import Found, search
from fastbench.measure.passes import sample_loader
from fastbench.runner import kept
from fastbench.runner.open_loader import open_loader

if TYPE_CHECKING:
    from fastbench.core.config import RunConfig
    from fastbench.loaders.base import LoaderSpec, Setting
    from fastbench.runner.prepare import Workbench

_TRIAL_S: Final = 1.0


def given_settings(config: RunConfig, name: str) -> set[str]:
    """The names of the settings of a loader that the user gave."""
    given = set(config.options_of(name))
    return given if config.num_threads is None else {*given, "num_threads"}


def search_loader(
    workbench: Workbench, name: str, spec: LoaderSpec
) -> tuple[LoaderSpec, Found | None]:
    """The loader's fastest settings, without those that the user gave.

    They are searched for once for a run's folder: all its rows have the same. All ranks try the
    same settings at the same time, and what counts is the sum of their throughputs.
    """
    config, factory = workbench.config, workbench.factories[name]
    if config.quick:
        return spec, None
    space_of = FactoryTraits.of(factory).search_space
    given = given_settings(config, name)
    space = {key: values for key, values in space_of(spec).items() if key not in given}
    if not space:
        return spec, None
    depends_on = {
        "space": [[key, list(values)] for key, values in space.items()],
        "loader": [name, config.options_of(name), spec.num_threads, config.resize],
        "data": [str(workbench.manifest.root), workbench.manifest.identity],
        "on": [platform.node(), str(workbench.device), workbench.ranks.size],
    }
    ranks, own = workbench.ranks, workbench.own(spec)

    def measure(settings: dict[str, Setting]) -> float:
        rate = error = None
        try:
            with open_loader(name, factory, own.with_settings(settings)) as loader:
                rate = sample_loader(loader, make_clock(workbench.device), _TRIAL_S)
        except FastbenchError as failed:
            error = failed
        rates = [each for each in ranks.gather(rate) if each is not None]
        if len(rates) < ranks.size:
            raise error or LoaderError("The loader failed on another rank.")
        return sum(rates)

    # The others' folder may be on another machine.
    found = ranks.of_first(kept.find(workbench.folder, depends_on, Found))
    if found is None:
        workbench.progress.say(f"{name}: searching for its best settings")
        found = search(space, measure)
        if ranks.is_first:
            kept.keep(workbench.folder, depends_on, found)
    return spec.with_settings(found.settings), found
