"""The rows of `fastbench loadtest`: those that a run would have, each under every kind of load."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from typing import TYPE_CHECKING, Any

from fastbench.core.errors import UsageError
from fastbench.core.load_options import LOAD_OPTIONS, LOAD_SWEPT, LoadConfig
from fastbench.core.loader_facts import BUILT_IN, DEFAULT_LOADER
from fastbench.core.options import flag, spelt
from fastbench.core.units import and_more
from fastbench.loaders.registry import takes_no_requests
from fastbench.records import naming
from fastbench.records.record import FailedRow
from fastbench.runner.planned_rows import expand
from fastbench.runner.possible_rows import refuse_impossible
from fastbench.runner.unread_files import Unread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from fastbench.core.progress import Progress, RowProgress
    from fastbench.data.dataset import Skipped
    from fastbench.records.load import LoadRecord

_OF_SCENARIO = {
    "rate": ("server",),
    "latency": ("server",),
    "images_per_query": ("multi-stream",),
    "max_wait": ("server", "multi-stream", "offline"),
}
"""Options that mean something in some scenarios: beside others they make no further row."""


def plan(options: Mapping[str, Any]) -> list[LoadConfig]:
    """The configuration of each row; options that may be given again have their values as a tuple.

    Raises `UsageError` for a wrong value, and for an option of no scenario that is asked for;
    `LoaderError` for a built-in loader that takes no requests.
    """
    of_run = {name: value for name, value in options.items() if name not in LOAD_OPTIONS}
    of_run["loader"] = of_run.get("loader") or (DEFAULT_LOADER,)  # the reference has no row
    of_load = {name: value for name, value in options.items() if name in LOAD_OPTIONS}
    values = {name: of_load.pop(name, (LOAD_OPTIONS[name].default,)) for name in LOAD_SWEPT}
    for name, scenarios in _OF_SCENARIO.items():
        if name in options and not {*values["scenario"]} & {*scenarios}:
            raise UsageError(
                f"{flag(name)} is for --scenario {' or '.join(scenarios)}, and here it is "
                f"{and_more(values['scenario'], 3)}. Leave it out."
            )
    rows = expand(of_run)
    refuse_impossible(rows)
    for row in rows:
        if (known := BUILT_IN.get(row.loader)) is not None and not known.on_demand:
            raise takes_no_requests(row.loader)
    kinds: list[dict[str, Any]] = []
    for each in itertools.product(*values.values()):
        kind = dict(zip(LOAD_SWEPT, each, strict=True))
        for name, scenarios in _OF_SCENARIO.items():
            if kind["scenario"] not in scenarios:
                kind[name] = LOAD_OPTIONS[name].default
        if kind not in kinds:
            kinds.append(kind)
    return [
        LoadConfig(**{**_fields(row.config), **of_load, **kind}) for row in rows for kind in kinds
    ]


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def rows(
    configs: Sequence[LoadConfig], folder: Path, progress: RowProgress
) -> Iterator[LoadRecord | FailedRow]:
    """The rows, each in a process of its own."""
    unread = Unread(folder, progress)
    progress.say("loading torch")
    called = calls(configs)
    for number, config in enumerate(configs):
        how = called[number]
        title = " · ".join((config.models[0], config.timed_loader, config.scenario))
        progress.row(number, len(configs), title, None, " · ".join(how))
        make_rows = functools.partial(load, since=time.monotonic(), called=how)
        for row in unread.run_row(make_rows, config, config.timed_loader):
            yield dataclasses.replace(row, how=how) if isinstance(row, FailedRow) else row


def calls(configs: Sequence[LoadConfig]) -> list[tuple[str, ...]]:
    """What tells each row from the others, besides its model, loader and scenario."""
    differing = naming.varying(configs)
    found = []
    of_load = [
        name
        for name in LOAD_SWEPT
        if name != "scenario" and len({getattr(config, name) for config in configs}) > 1
    ]
    for config in configs:
        parts = naming.parts(config, {*differing} - {"model", "loader"})
        own = [f"{spelt(name)} {getattr(config, name)}" for name in of_load]
        found.append((*parts, *own))
    return found


def load(
    config: LoadConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped] = (),
    since: float | None = None,
    called: Sequence[str] = (),
) -> Iterator[LoadRecord | FailedRow]:
    """As `load_row.load_rows`, which imports torch."""
    from fastbench.scenarios.load_row import load_rows

    yield from load_rows(config, folder, tell, leave_out, since, called)
