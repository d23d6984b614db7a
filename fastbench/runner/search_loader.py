"""The loader's own search for its settings, before a row or a search of `fastbench tune`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import FastbenchError, LoaderError
from fastbench.core.options import parse_loader_option
from fastbench.loaders.base import GENERAL_OPTIONS, FactoryTraits
from fastbench.loaders.guard import BrokenContractError, explained, kind_of, named
from fastbench.measure.clock import make_clock
from fastbench.measure.loader_settings import Found, search
from fastbench.measure.passes import sample_loader
from fastbench.runner import kept
from fastbench.runner.open_loader import open_loader

if TYPE_CHECKING:
    from fastbench.core.config import RunConfig
    from fastbench.loaders.base import Factory, LoaderSpec, Setting
    from fastbench.runner.prepare import Workbench

_TRIAL_S: Final = 1.0


def given_settings(config: RunConfig, name: str) -> set[str]:
    """The names of the settings of a loader that the user gave."""
    given = set(config.options_of(name))
    return given if config.num_threads is None else {*given, "num_threads"}


def space_of(name: str, factory: Factory, spec: LoaderSpec) -> Mapping[str, Sequence[Setting]]:
    """The loader's `search_space`. Raises `LoaderError` if it fails, or gives something else."""
    with named(name):
        with explained("when it was asked for its search_space", spec.batch_size):
            space: object = FactoryTraits.of(factory).search_space(spec)
        if not isinstance(space, Mapping):
            raise BrokenContractError(
                f"breaks the contract: its search_space gives {kind_of(space)}, not a dict"
            )
        for key, values in space.items():
            is_list = isinstance(values, Sequence) and not isinstance(values, str)
            if not is_list or not values:
                raise BrokenContractError(
                    f"breaks the contract: its search_space has {values!r} for {key!r}, not a "
                    f"tuple of one or more values"
                )
            for value in values:
                if not _can_be_given(key, value):
                    raise BrokenContractError(
                        f"breaks the contract: its search_space has the value {value!r} for "
                        f"{key!r}, which no --loader-option can give"
                    )
    return space


def search_loader(
    workbench: Workbench, name: str, spec: LoaderSpec, earlier: Found | None = None
) -> tuple[LoaderSpec, Found | None]:
    """The loader's fastest settings, without those that the user gave.

    They are searched for once for a run's folder: all its rows have the same. An `earlier` search
    of this space is taken for it, where the folder has none. All ranks try the same settings at the
    same time, and what counts is the sum of their throughputs.
    """
    config, factory = workbench.config, workbench.factories[name]
    if config.quick:
        return spec, None
    given = given_settings(config, name)
    whole = space_of(name, factory, spec)
    space = {key: values for key, values in whole.items() if key not in given}
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
        if earlier is not None and _is_of(earlier, space):
            found = earlier
        else:
            workbench.progress.say(f"{name}: searching for its best settings")
            found = search(space, measure)
        if ranks.is_first:
            kept.keep(workbench.folder, depends_on, found)
    return spec.with_settings(found.settings), found


def _can_be_given(key: str, value: object) -> bool:
    """Whether an option of a run can have this value: so a trial and a plan give it."""
    if key in GENERAL_OPTIONS:
        return type(value) is int and value >= GENERAL_OPTIONS[key]
    if isinstance(value, str):  # "2" is read as a number
        return bool(value) and parse_loader_option(f"loader.name={value}")[1][1] == value
    return isinstance(value, int | float)


def _is_of(found: Found, space: Mapping[str, Sequence[Setting]]) -> bool:
    """Whether all trials of a search are of settings of a space."""
    return all(
        trial.settings.keys() == space.keys()
        and all(value in space[name] for name, value in trial.settings.items())
        for trial in found.trials
    )
