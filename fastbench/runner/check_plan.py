"""What `fastbench run --dry-run` finds before anything is measured: names, files, devices, time.

No torch is imported. A GPU is what NVIDIA's driver shows, a loader what its packages say, so a run
may still find that one does not work.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import (
    DataNotFoundError,
    DeviceError,
    LoaderMissingError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from fastbench.core.nvidia import num_usable
from fastbench.core.reading import user_path
from fastbench.data.calibration import check_there
from fastbench.loaders import registry
from fastbench.models import catalogue
from fastbench.models.registry import weights_file
from fastbench.runner.possible_rows import problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastbench.core.errors import FastbenchError
    from fastbench.runner.plan import Plan
    from fastbench.runner.planned_rows import PlannedRow

_BESIDES_S: Final = 12.0
"""A row's process, model, warm-up and scoring: with it the rows of 250 and of 1,000 images that are
kept in `benchmarks/records`, on two cores, took 0.9 to 1.3 times what `estimate_s` says."""
_QUICK_S: Final = 6.0
_SEARCH_S: Final = 3.0
"""The search for DALI's best settings, once a run."""
_LATENCY_S: Final = 2.0
_ROUNDS_S: Final = 3.0


def problems(plan: Plan) -> list[FastbenchError]:
    """All that would end the run, or a row of it that was asked for by name; each once."""
    found = {str(error): error for row in plan.todo for error in _problems_of(row)}
    return list(found.values())


def exit_code(found: list[FastbenchError]) -> int:
    """0 for none; 2 where the command line asks for what is not there, else 1."""
    return max((error.exit_code for error in found), default=0)


def _problems_of(row: PlannedRow) -> Iterator[FastbenchError]:
    config = row.config
    models = (*config.models, *filter(None, [config.reference_model]))
    yield from map(UnknownNameError, catalogue.unknown_of(models))
    if os.sep in row.model and not user_path(row.model).is_file():
        yield UsageError(f"There is no model file {row.model}. Name another with --model.")
    file = weights_file(config.weights)
    if file is not None and not file[0].is_file():
        yield WeightsError(
            f"There is no file {file[0]} with the weights of {row.model}. "
            f"Name another with --weights."
        )
    if config.data != "sample" and not user_path(config.data).exists():
        yield DataNotFoundError(f"There is nothing at {config.data}. Name another with --data.")
    if config.classes is not None and not user_path(config.classes).is_file():
        yield UsageError(f"There is no list of classes {config.classes}. Name another.")
    try:
        check_there(config)
    except UsageError as error:
        yield error
    if (problem := problem_of(row)) is not None:
        yield problem
    num_gpus, index = num_usable(), int(config.device.partition(":")[2] or 0)
    if config.device.startswith("cuda") and index >= num_gpus:
        yield DeviceError(
            f"There is no CUDA device for --device {config.device}: NVIDIA's driver shows "
            f"{num_gpus or 'none'}. See: fastbench env"
        )
    if not row.only_if_here:
        for name in dict.fromkeys((row.loader, config.reference)):
            why = None if name == "none" else registry.glance(name).why_not
            if why is not None:
                yield LoaderMissingError(
                    f"The loader {name!r} cannot run here: {why}. Choose another with --loader."
                )


def estimate_s(plan: Plan) -> float:
    """About how many seconds the rows take that are not finished.

    A window also covers a whole epoch, and how long that takes is not known before: with many
    images or a slow model it is longer.
    """
    total = 0.0
    searched: set[str] = set()
    for row in plan.todo:
        config = row.config
        total += _QUICK_S if config.quick else _BESIDES_S
        if config.quick:
            continue
        rounds_s = _ROUNDS_S if config.passes == "all" else 0.0
        total += config.windows * (config.min_seconds + min(rounds_s, config.min_seconds))
        total += (1 + len(config.latency_batch_size)) * min(_LATENCY_S, config.min_seconds)
        if row.loader not in searched and row.loader.startswith("dali"):
            total += _SEARCH_S
        searched.add(row.loader)
    return total
