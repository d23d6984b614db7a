"""One row after the other: which are left out, and what becomes of a row that fails."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from typing import TYPE_CHECKING

from fastbench.core.errors import (
    EngineMissingError,
    FastbenchError,
    LoaderMissingError,
    UsageError,
)
from fastbench.core.options import field_of
from fastbench.core.other_side import other_side
from fastbench.core.progress import Silent
from fastbench.core.reading import user_path
from fastbench.core.units import counted
from fastbench.loaders.ask import ask
from fastbench.models import held
from fastbench.records.record import EVERY_LOADER, AbRecord, FailedRow, ParityRecord, Record
from fastbench.runner import predictions_csv
from fastbench.runner.options_file import write_options
from fastbench.runner.plan import PLAN_FILE, seconds_left
from fastbench.runner.planned_rows import row_of
from fastbench.runner.room_for_ranks import room_for_ranks
from fastbench.runner.row_in_child import ab, measure, parity, run_rows
from fastbench.runner.unread_files import Unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import RowProgress
    from fastbench.runner.cluster import Cluster
    from fastbench.runner.plan import Plan
    from fastbench.runner.planned_rows import PlannedRow


def plan_rows(plan: Plan, folder: Path, progress: RowProgress) -> Iterator[Record | FailedRow]:
    """The rows of `fastbench run`, each in a process of its own."""
    todo = plan.todo
    if plan.num_changed:
        rows = counted(plan.num_changed, "finished row")
        progress.note(
            f"{rows} will be run again: not known to be of these images, labels and weights."
        )
    if todo:
        _check_predictions(plan)
    missing = _leave_out(todo, progress)
    too_many = _without_room(todo, progress)
    todo = [row for row in todo if row.loader not in missing and row.config.ranks not in too_many]
    models = tuple(dict.fromkeys(row.model for row in todo if held.find(row.model) is None))
    failed: set[tuple[object, ...]] = set()
    unread = Unread(folder, progress)
    no_engines: set[str] = set()
    seconds: list[float] = []
    for row in plan.rows:
        if row.key in plan.finished:
            yield plan.finished[row.key]
            continue
        if row.loader in missing or row.config.ranks in too_many or row.group in failed:
            continue
        if row.config.engine_name in no_engines:
            continue
        number = todo.index(row)
        left_s = seconds_left(seconds, len(todo) - number)
        how = plan.how(row)
        progress.row(number, len(todo), plan.title(row), left_s, " · ".join(how))
        start = time.monotonic()
        # The first row checks the names of all models, before anything is measured; not one in
        # this process, which would import them.
        is_here = held.find(row.model) is not None
        make_rows = functools.partial(
            measure, models=() if is_here else models, since=start, called=how
        )
        models = models if is_here else ()
        for measured in unread.run_row(make_rows, row.config, row.loader):
            if isinstance(measured, Record):
                seconds.append(time.monotonic() - start)
                yield measured  # before anything else can fail
                if len(seconds) == 1:
                    write_options(plan.options, folder / PLAN_FILE)
            elif row.only_if_here and isinstance(measured.error, LoaderMissingError):
                missing[row.loader] = str(measured.error)
                progress.note(f"{row.loader} is left out: {measured.error}")
            elif row.only_if_engine and isinstance(measured.error, EngineMissingError):
                no_engines.add(row.config.engine_name)
                progress.note(f"{row.config.engine_name} is left out: {measured.error}")
            else:
                if measured.loader == EVERY_LOADER:
                    failed.add(row.group)
                yield dataclasses.replace(measured, how=tuple(how))


def _leave_out(todo: Sequence[PlannedRow], progress: RowProgress) -> dict[str, str]:
    """The loaders that were not asked for by name and cannot run here, and why."""
    optional = tuple(dict.fromkeys(row.loader for row in todo if row.only_if_here))
    if todo:
        progress.say("looking which loaders run here" if optional else "loading torch")
    missing = {x.name: x.why_not for x in ask(optional) if x.why_not is not None}
    for loader, why in missing.items():
        progress.note(f"{loader} is left out: {why}")
    return missing


def _without_room(todo: Sequence[PlannedRow], progress: RowProgress) -> set[int]:
    """The numbers of ranks that were not asked for by name and are too many for what is here."""
    asked = {row.config.ranks for row in todo if row.only_if_room}
    if not asked:
        return set()
    room, why = room_for_ranks(todo[0].config.device)
    too_many = {num for num in asked if num > room}
    for num in sorted(too_many):
        progress.note(f"--ranks {num} is left out: {why}.")
    return too_many


def _check_predictions(plan: Plan) -> None:
    """Refuse a file of predictions that exists, except in a resumed run, which adds to it.

    A file that has predictions of other images or weights is refused there too.
    """
    name = plan.options.get("predictions")
    if name is not None and (plan.num_changed or not plan.resumed):
        predictions_csv.check(user_path(name))


def follow(cluster: Cluster) -> int:
    """Measure this rank's part of each row of the leader, who says what fails; the exit code."""
    for make_rows, config, folder, names in cluster.rows():
        with contextlib.suppress(FastbenchError):
            for _ in run_rows(make_rows, config, folder, Silent(), names):
                pass
    return 0


def parity_rows(
    config: RunConfig, folder: Path, progress: RowProgress
) -> Iterator[ParityRecord | FailedRow]:
    """The rows of `fastbench parity`, each in a process of its own."""
    progress.say("loading torch")
    unread = Unread(folder, progress)
    others = [name for name in config.loaders if name != config.reference]
    for model, loader in itertools.product(config.models, others):
        yield from unread.run_row(parity, row_of(config, model, loader), loader)


def ab_rows(
    config: RunConfig, folder: Path, progress: RowProgress
) -> Iterator[AbRecord | FailedRow]:
    """The rows of `fastbench run --ab`, each in a process of its own.

    Raises `UsageError` if the two cannot be compared.
    """
    progress.say("loading torch")
    unread = Unread(folder, progress)
    other = other_side(config)
    if dataclasses.replace(config, ab=()) == other:
        raise UsageError("--ab changes nothing: both sides are the same. Give another value.")
    if len(config.models) != len(other.models):
        raise UsageError("--ab needs as many models on both sides. Name as many with --ab model=.")
    for model, its_model in zip(config.models, other.models, strict=True):
        changes = [text for text in config.ab if field_of(text.partition("=")[0]) != "model"]
        if its_model != model:
            changes.append(f"model={its_model}")
        row = dataclasses.replace(config, model=(model,), ab=tuple(changes))
        yield from unread.run_row(ab, row, config.timed_loader, other.timed_loader)
