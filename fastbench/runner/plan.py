"""The plan of a run: its rows, and which of them are finished.

`--resume` finds the record of a row by a digest of the options that its result depends on. One of
other images, or of another file of weights or of a model, is measured again; one of another machine
or other software is not.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import RunConfig
from fastbench.core.errors import RecordError, UsageError
from fastbench.core.reading import user_path
from fastbench.data.dataset import Skipped, find_images
from fastbench.models import catalogue
from fastbench.models.registry import files_of
from fastbench.records import naming
from fastbench.records.store import build_record, is_of_a_row, read_json
from fastbench.records.validity import find_contradictions
from fastbench.runner import cluster
from fastbench.runner.default_loader import with_loader
from fastbench.runner.options_file import read_options, read_preset
from fastbench.runner.output_folder import RESULTS, newest
from fastbench.runner.planned_rows import NOT_OF_THE_ROW, PlannedRow, digest_of, expand
from fastbench.runner.possible_rows import SWEPT_HERE, leave_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastbench.core.command_options import PlanOptions
    from fastbench.records.record import Record

PLAN_FILE: Final = "plan.toml"
"""In a run's folder: its options, as a --config file has them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The rows of a run in their order, and the records of the finished ones, by their key.

    `options` is what the plan was made of; `num_changed` rows have records of other images, labels
    or weights. `damaged` are sentences on records in its folder that do not count, `notes` on what
    was decided.
    """

    options: Mapping[str, Any]
    rows: tuple[PlannedRow, ...]
    output: str | None
    finished: Mapping[tuple[str, int], Record]
    resumed: bool
    num_changed: int = 0
    damaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def todo(self) -> list[PlannedRow]:
        """The rows that are not finished."""
        return [row for row in self.rows if row.key not in self.finished]

    def title(self, row: PlannedRow) -> str:
        """What the row is called in the plan, with its model and loader."""
        return " · ".join((row.model, row.loader, *self.how(row)))

    def how(self, row: PlannedRow) -> list[str]:
        """What tells a row from the others besides its model and loader."""
        return self._how[row.key]

    @functools.cached_property
    def _how(self) -> dict[tuple[str, int], list[str]]:
        configs = [row.config for row in self.rows]
        called = naming.names(configs, without=("model", "loader"))
        return {row.key: how for row, how in zip(self.rows, called, strict=True)}


def merge(given: Mapping[str, Any], how: PlanOptions) -> dict[str, Any]:
    """The options of a run: the command line's override the file's, and those the preset's.

    Where torchrun or srun has started several ranks, a run has as many. A pattern among the models
    is what it matches; raises `UnknownNameError` if that is none.
    """
    ranks = cluster.here()
    options = {
        **({} if ranks is None else {"ranks": (ranks.size,)}),
        **(read_preset(how.preset) if how.preset else {}),
        **(read_options(user_path(how.config)) if how.config else {}),
        **given,
    }
    if any(map(catalogue.is_pattern, options.get("model", ()))):
        options["model"] = catalogue.expanded(options["model"])
    return options


def make_plan(
    given: Mapping[str, Any], how: PlanOptions, count: Callable[..., Callable[[int, int], None]]
) -> Plan:
    """The rows, and with `--resume` the records of those that are finished.

    `--resume` by itself takes the plan of the run that it goes on with. `count` shows the progress
    of reading the images. Raises `UsageError` for a wrong value, and if there is no run to go on
    with.
    """
    options = merge(given, how)
    output = _find_folder(how.resume, options.get("output"))
    wanted = {name for name in given if name not in NOT_OF_THE_ROW}
    if how.resume is not None and not (wanted or how.preset or how.config):
        assert output is not None
        path = user_path(output) / PLAN_FILE
        if not path.is_file():
            raise UsageError(
                f"There is no {PLAN_FILE} in {output}, so no run to go on with. "
                f"Name another folder, or give the run's options with --resume."
            )
        options = {**read_options(path), **given}
    options = {name: value for name, value in options.items() if name != "output"}
    options, note = with_loader(options, with_reference=True)
    rows = expand(options)
    taken = rows[0].model if not options.get("model") and options.get("weights") else None
    default = f"No --model is given, so the model is {taken}." if taken else None
    notes = tuple(filter(None, (note, default)))
    by_name = {*given, *(read_options(user_path(how.config)) if how.config else ())}
    if "ranks" not in by_name:
        rows = tuple(dataclasses.replace(row, only_if_room=row.config.ranks > 1) for row in rows)
    optional = {name for name in SWEPT_HERE if name in options and name not in by_name}
    if how.resume is None:
        rows, left_out = leave_out(rows, optional=optional, finished=())
        notes = (*notes, *left_out)
        return Plan(
            options=options, rows=rows, output=output, finished={}, resumed=False, notes=notes
        )
    assert output is not None
    found, damaged = _find_records(rows, user_path(output))
    same = _of_the_same_files(found, rows[0].config, count)
    finished: dict[tuple[str, int], Record] = {}
    for digest, records in same.items():
        repeats = [row.key for row in rows if row.digest == digest]
        finished |= dict(zip(repeats, records[-len(repeats) :], strict=False))
    rows, left_out = leave_out(rows, optional=optional, finished=finished)
    return Plan(
        options=options,
        rows=rows,
        output=output,
        finished=finished,
        resumed=True,
        num_changed=len(found) - len(same),
        damaged=tuple(damaged),
        notes=(*notes, *left_out),
    )


def seconds_left(seconds: Sequence[float], num_left: int) -> float | None:
    """How long `num_left` rows take at the mean time of those that were measured; None of none."""
    return num_left * sum(seconds) / len(seconds) if seconds else None


def _find_folder(resume: str | None, output: str | None) -> str | None:
    """The folder of the records; for a bare `--resume` without `--output` the newest plan's."""
    if resume is None:
        return output
    if resume:
        if output is not None and Path(output) != Path(resume):
            raise UsageError(
                f"--resume names {resume} and --output {output}. A run goes on in its own folder: "
                f"leave out one of them."
            )
        return resume
    if output is not None:
        return output
    if (folder := newest(PLAN_FILE)) is None:
        raise UsageError(
            f"There is no run in {RESULTS} to go on with. Name its folder: --resume DIR"
        )
    return str(folder)


def _find_records(
    rows: Sequence[PlannedRow], folder: Path
) -> tuple[dict[str, list[Record]], list[str]]:
    """The records of each of these rows in a folder, by digest; sentences on damaged ones."""
    wanted = {row.digest for row in rows}
    found: dict[str, list[Record]] = {}
    damaged: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            stored = read_json(path)
            if not is_of_a_row(stored):
                continue
            record = build_record(stored, path)
            config = RunConfig.from_json(record.config)
        except RecordError as error:
            damaged.append(str(error))
            continue
        except UsageError:  # with another version's options
            continue
        model = config.model[0] if len(config.model) == 1 else record.model
        digest = digest_of(config, model, record.loader)
        if invalid := find_contradictions(record):
            damaged.append(f"{path} is INVALID: {invalid[0]}. Measure again.")
        elif digest in wanted:
            found.setdefault(digest, []).append(record)
    return found, damaged


def _of_the_same_files(
    found: Mapping[str, Sequence[Record]],
    config: RunConfig,
    count: Callable[..., Callable[[int, int], None]],
) -> dict[str, list[Record]]:
    """Each row's records of the images, weights and model that are there now, the newest last.

    A record of an older version does not know its files, so it is of others. Raises what
    `find_images` raises: without images no run can go on.
    """
    if not found:
        return {}

    @functools.cache
    def identity(leave_out: tuple[Skipped, ...]) -> str:
        return find_images(config, count, leave_out).identity

    def of_these_images(record: Record) -> bool:
        skipped = [Skipped(**file) for file in record.data.get("skipped", ())]
        unread = tuple(file for file in skipped if file.loader)  # by the row's loader alone
        return record.data.get("identity") == identity(unread)

    files = functools.cache(files_of)
    finished = {}
    for digest, records in found.items():
        same = [
            record
            for record in records
            if of_these_images(record) and record.files == files(*_model_and_weights(record))
        ]
        if same:
            finished[digest] = sorted(same, key=lambda record: record.created)
    return finished


def _model_and_weights(record: Record) -> tuple[str, str]:
    config = RunConfig.from_json(record.config)
    return config.models[0], config.weights
