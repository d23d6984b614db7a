"""`fastbench tune`: trials of settings, and the best of them held against the default.

Each trial has a process of its own, as a row has: a crash or a full memory is one failed trial.
`measure/search.py` says what is tried next. The winner of a search was lucky too, so it is
confirmed: for throughput by `--ab`, for other objectives by trials of both in turn (A B B A).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import FastbenchError, UsageError
from fastbench.core.options import spelt
from fastbench.core.stats import MIN_SAMPLES
from fastbench.core.units import format_about, format_quantity, format_value
from fastbench.loaders.base import LoaderSpec
from fastbench.measure.interleave import MIN_BATCHES
from fastbench.measure.interleave import NUM_PAIRS as AB_PAIRS
from fastbench.measure.search import Search, Tried
from fastbench.records.record import AbRecord, FailedRow, ratio_of_pairs
from fastbench.runner.execute import ab_rows
from fastbench.runner.objective import LATENCY, THROUGHPUT, Objective, highest_percentile
from fastbench.runner.options_file import write_options
from fastbench.runner.planned_rows import calibrated, row_of
from fastbench.runner.trial_in_child import describe, trial
from fastbench.runner.trials_file import (
    TRIALS_FILE,
    Measured,
    Searched,
    Space,
    TrialsFile,
    TuneTrial,
    is_out_of_memory,
)
from fastbench.runner.tuned_settings import as_changes, as_options
from fastbench.runner.unread_files import Unread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fastbench.core.command_options import TuneOptions
    from fastbench.core.config import RunConfig
    from fastbench.core.progress import RowProgress
    from fastbench.loaders.base import Setting
    from fastbench.measure.loader_settings import Found

WINNER_FILE: Final = "winner.toml"
TURN_PAIRS: Final = 12
"""Pairs of trials that confirm a winner where `--ab` does not: the fewest with an interval."""
_MOST_AB_S: Final = 300.0
"""If `--ab` takes longer, its short form confirms the winner: 12 pairs in place of 120."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The winner's value over the default's, by pairs, and its 95 % interval."""

    ratio: float
    interval: tuple[float, float] | None
    num_pairs: int


class Tuning:
    """One search: its trials, its winner, and how that compares with the default."""

    def __init__(
        self,
        config: RunConfig,
        options: Mapping[str, Any],
        how: TuneOptions,
        folder: Path,
        progress: RowProgress,
        command: str,
    ) -> None:
        self.folder, self._progress, self._how = folder, progress, how
        # Nothing is scored, so no reference is needed, and its loader's options are none.
        self._config = row_of(
            dataclasses.replace(config, reference="none"), config.models[0], config.timed_loader
        )
        if config.quantize == "int8":
            self._config = calibrated(self._config)
        self._unread = Unread(folder, progress)
        earlier = None if how.resume is None else TrialsFile.read(folder)
        if earlier is None and (folder / TRIALS_FILE).exists():
            raise UsageError(
                f"{folder} has the trials of an earlier search. Go on with them by --resume, or "
                f"name another --output."
            )
        progress.say("loading torch")
        self._space = self._describe(earlier.searched.loader_search if earlier else None)
        if how.objective == "images-per-joule" and not self._space.has_energy:
            raise UsageError(
                f"--objective images-per-joule needs a GPU that counts its energy, and "
                f"{self._space.device} does not. Choose throughput, latency-p99 or cpu-seconds."
            )
        if not self._space.axes:
            raise UsageError(
                "There is nothing to search: every setting is given. Leave out one of them, such "
                "as --num-threads."
            )
        if how.objective == LATENCY:
            progress.note("Batch latency grows with the batch: its size is not searched.")
        self._search = Search(self._space.axes, self._space.num_cores)
        found = self._space.loader_search
        self._loaders = {
            self._search.place({**self.default, **trial.settings}): trial.images_per_s
            for trial in (found.trials if found else [])
            if trial.images_per_s
        }
        searched = Searched(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            objective=how.objective,
            trials=how.trials,
            minutes=how.minutes,
            options=dict(options),
            axes={axis.name: list(axis.values) for axis in self._space.axes},
            default=self.default,
            loader_search=found,
            device=self._space.device,
            identity=self._space.identity,
            environment=self._space.environment,
        )
        self.file = earlier or TrialsFile(folder, searched, [])
        self._check_same(searched)

    @property
    def default(self) -> dict[str, Setting]:
        """The settings without the search."""
        return self._search.settings(self._search.default)

    @property
    def trials(self) -> list[TuneTrial]:
        """Those of the search, in order."""
        return [trial for trial in self.file.trials if trial.side is None]

    @property
    def objective(self) -> Objective:
        """What is searched for; the percentile is the one that the first trial supports."""
        first = next((x.measured for x in self.trials if x.measured is not None), None)
        if self._how.objective != LATENCY or first is None:
            return Objective(self._how.objective)
        return Objective(LATENCY, highest_percentile(len(first.samples_s)))

    @property
    def device(self) -> str:
        """What the model runs on, in words."""
        return self._space.device

    @property
    def model(self) -> str:
        """The model's name."""
        return self._config.models[0]

    @property
    def loader(self) -> str:
        """The loader's name."""
        return self._config.timed_loader

    def search(self) -> None:
        """Try settings until there are enough trials, the time is over or nothing is left.

        Raises the default's error if that fails, but not for its memory, and the last error if all
        trials do.
        """
        deadline = time.monotonic() + 60 * self._how.minutes
        while len(self.trials) < self._how.trials:
            if self.trials and time.monotonic() >= deadline:
                self._progress.note(
                    f"The {self._how.minutes:g} minutes are over. More: --resume {self.folder}"
                )
                break
            place = self._search.next(self._tried())
            if place is None:
                self._progress.note("Every setting was tried.")
                break
            self._say(deadline)
            trial = self._try(self._search.settings(place), is_first=not self.trials)
            self.file.add(trial)
            self._note(trial)
            if len(self.trials) == 1 and trial.measured is None and not trial.out_of_memory:
                raise FastbenchError(f"The default settings fail: {trial.why}")
        if self.winner is None:
            raise FastbenchError(f"No trial was measured. The last: {self.trials[-1].why}")

    @property
    def winner(self) -> dict[str, Setting] | None:
        """The best settings so far; None before one was measured."""
        place = self._search.best(self._tried())
        return None if place is None else self._search.settings(place)

    def confirm(self) -> Comparison | None:
        """The winner against the default in turn; None if it is the default, or that fails."""
        winner = self.winner
        assert winner is not None
        if winner == self.default or self._of(self.default) is None:
            return None
        if self._how.objective == THROUGHPUT:
            is_quick = self._config.quick or self._is_slow(winner)
            changes = tuple(as_changes(winner, self.loader, self.default))
            # What the loader's own search found is not searched for again.
            found = self._space.loader_search.settings if self._space.loader_search else {}
            given = as_options(found, self.loader, self._config.loader_option)
            config = dataclasses.replace(self._config, **given, ab=changes, quick=is_quick)
            for row in ab_rows(config, self.folder, self._progress):
                if isinstance(row, AbRecord) and row.is_finished:
                    num = len(row.a_images_per_s)
                    return Comparison(ratio=row.ratio, interval=row.interval, num_pairs=num)
                if isinstance(row, FailedRow):  # both at once may need too much memory
                    self._progress.note(f"--ab of the two fails, so trials in turn: {row.error}")
        return self._confirm_in_turn(winner)

    def _is_slow(self, winner: Mapping[str, Setting]) -> bool:
        """Whether all pairs of `--ab` take too long: batches that wait in queues are run first."""
        seconds = 0.0
        for settings in (self.default, winner):
            measured = self._of(settings)
            assert measured is not None
            size = settings.get("batch_size", self._config.batch_size)
            num_queued = settings.get("prefetch", LoaderSpec.prefetch)
            assert isinstance(size, int)
            assert isinstance(num_queued, int)
            seconds += (num_queued + 1 + MIN_BATCHES) * size * measured.wall_s / measured.num_images
        return seconds * AB_PAIRS > _MOST_AB_S

    def write_winner(self) -> Path:
        """Write the plan for `fastbench run --config`. Raises `OutputError` if that fails."""
        winner = self.winner
        assert winner is not None
        given = {
            name: value
            for name, value in self.file.searched.options.items()
            if name not in ("output", "min_seconds", "quick")
        }
        path = self.folder / WINNER_FILE
        own = as_options(winner, self.loader, given.get("loader_option", ()))
        write_options({**given, **own}, path)
        return path

    def differing(self, settings: Mapping[str, Setting]) -> str:
        """What differs from the default: `batch-size 64, prefetch 4`."""
        changes = [
            f"{spelt(name)} {format_value(value)}"
            for name, value in settings.items()
            if value != self.default[name]
        ]
        return ", ".join(changes) or "the default"

    # ------------------------------------------------------------------------------- trials

    def _describe(self, loader_search: Found | None) -> Space:
        make_rows = functools.partial(
            describe, objective=self._how.objective, loader_search=loader_search
        )
        for found in self._unread.run_known(make_rows, self._config, self.loader):
            if isinstance(found, FailedRow):
                raise found.error
            return found
        raise AssertionError

    def _check_same(self, searched: Searched) -> None:
        """Raise `UsageError` where earlier trials are of something else."""
        before = self.file.searched
        for what, field in (
            ("another device", "device"),
            ("other images", "identity"),
            ("other settings", "axes"),
            ("another default", "default"),
        ):
            if getattr(before, field) != getattr(searched, field):
                raise UsageError(
                    f"The trials in {self.folder} are of {what}. "
                    f"Search anew, with another --output."
                )

    def _try(
        self, settings: Mapping[str, Setting], *, is_first: bool = False, side: Any = None
    ) -> TuneTrial:
        options = as_options(settings, self.loader, self._config.loader_option)
        config = dataclasses.replace(self._config, **options)
        pct = self.objective.pct
        make_rows = functools.partial(
            trial,
            objective=self._how.objective,
            num_samples=MIN_SAMPLES[pct] if pct is not None else 0,
        )
        # A file that the loader does not read is found in the first trial.
        run = self._unread.run_row if is_first else self._unread.run_known
        start = time.monotonic()
        result: Measured | FastbenchError | None = None
        for row in run(make_rows, config, self.loader):
            result = row.error if isinstance(row, FailedRow) else row
        assert result is not None
        if isinstance(result, Measured):
            try:
                self.objective.value(result)
            except FastbenchError as error:
                result = error
        seconds = time.monotonic() - start
        told: dict[str, Any] = {"settings": dict(settings), "seconds": seconds, "side": side}
        if isinstance(result, Measured):
            return TuneTrial(measured=result, **told)
        return TuneTrial(
            measured=None, why=str(result), out_of_memory=is_out_of_memory(result), **told
        )

    def _tried(self) -> Tried:
        """The trials so far, for the search: more is better there."""
        tried, objective = Tried(loaders=self._loaders), self.objective
        for each in self.trials:
            place = self._search.place(each.settings)
            tried.values[place] = None
            if each.measured is not None:
                value = objective.value(each.measured)
                tried.values[place] = 1 / value if objective.is_less_better else value
                if (parts := each.measured.parts) is not None:
                    tried.parts[place] = parts
            elif each.out_of_memory:
                tried.no_memory.add(place)
        return tried

    def _of(self, settings: Mapping[str, Setting]) -> Measured | None:
        return next((x.measured for x in self.trials if x.settings == settings), None)

    def _confirm_in_turn(self, winner: Mapping[str, Setting]) -> Comparison | None:
        sides = {"default": self.default, "winner": winner}
        values: dict[str, list[float]] = {side: [] for side in sides}
        # Those of an earlier run that was cut off go on, unless another had won then.
        done = [x for x in self.file.trials if x.side and x.settings == sides[x.side]]
        order = [side for pair in range(TURN_PAIRS) for side in [*sides][:: -1 if pair % 2 else 1]]
        for number, side in enumerate(order):
            if number < len(done):
                each = done[number]
            else:
                self._progress.say(f"confirming: trial {number + 1} of {len(order)}, the {side}")
                each = self._try(sides[side], side=side)
                self.file.add(each)
            if each.measured is None:
                self._progress.note(f"The {side} fails where it is to be confirmed: {each.why}")
                return None
            values[each.side or side].append(self.objective.value(each.measured))
        ratio, interval = ratio_of_pairs(values["default"], values["winner"])
        return Comparison(ratio=ratio, interval=interval, num_pairs=TURN_PAIRS)

    # ----------------------------------------------------------------------------- progress

    def _say(self, deadline: float) -> None:
        done, left = self.trials, ""
        if done:
            mean_s = sum(x.seconds for x in done) / len(done)
            left_s = min(deadline - time.monotonic(), mean_s * (self._how.trials - len(done)))
            left = f", {format_about(max(0.0, left_s))} left"
        self._progress.say(f"trial {len(done) + 1} of {self._how.trials}{left}")

    def _note(self, trial: TuneTrial) -> None:
        """The trial's value, and the best so far."""
        number, what = len(self.trials), self.differing(trial.settings)
        title = f"Trial {number} of {self._how.trials}"
        if trial.measured is None:
            self._progress.note(f"{title}: {what} failed: {trial.why}")
            return
        objective = self.objective
        text = f"{title}: {objective.text(trial.measured)}, {what}"
        best = self._best_trial()
        if number > 1 and best is not None:
            num, measured = best
            text += f"; best {format_quantity(objective.value(measured))} (trial {num})"
        self._progress.note(text)
        if number == 1 and objective.pct not in (None, 99):
            samples_s = trial.measured.samples_s
            needed_s = math.ceil(MIN_SAMPLES[99] * sum(samples_s) / len(samples_s))
            quick = " without --quick" if self._config.quick else ""
            self._progress.note(
                f"p{objective.pct:g} is searched for, not p99: a trial has {len(samples_s)} "
                f"batches, and p99 needs {MIN_SAMPLES[99]}. Give --min-seconds {needed_s}{quick}."
            )

    def _best_trial(self) -> tuple[int, Measured] | None:
        """The number of the best trial so far, and what it measured."""
        winner = self.winner
        for number, each in enumerate(self.trials, 1):
            if each.settings == winner and each.measured is not None:
                return number, each.measured
        return None
