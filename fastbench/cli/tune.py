"""`fastbench tune`: a search for the best settings, its screen, and the plan of the winner."""

from __future__ import annotations

import dataclasses
import math
import shlex
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from fastbench.cli.measuring import with_loader
from fastbench.cli.output import complain, say
from fastbench.cli.parser import add_command, add_options, from_options, given_options
from fastbench.core import terminal
from fastbench.core.command_options import TUNED, TuneOptions
from fastbench.core.config import RunConfig
from fastbench.core.errors import EXIT_INTERRUPTED, UsageError
from fastbench.core.options import flag
from fastbench.core.reading import user_path
from fastbench.core.units import counted, format_quantity, format_value
from fastbench.runner.cluster import refuse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rich.console import RenderableType

    from fastbench.runner.tune import Comparison, Tuning

_NUM_SHOWN: Final = 8
_BOUNDS: Final = ("trials", "minutes")
_HELP: Final = {
    "min_seconds": "shortest timed window of a trial",
    "quick": "trials of one second, and a short confirmation, for a first look",
    "output": "folder for the trials and the winner's plan (default: fastbench-results/DATE-TIME)",
}


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "search for the best batch size, threads and loader settings"
    parser = add_command(commands, "tune", tune, text, "[OPTIONS]")
    own = tuple(field.name for field in dataclasses.fields(TuneOptions))
    add_options(parser, TuneOptions, RunConfig, only=(*own, *TUNED), help_=_HELP)


def tune(arguments: argparse.Namespace) -> int:
    """Search, confirm the winner, and write its plan."""
    refuse("tune")
    from fastbench.core.atomic_files import in_use
    from fastbench.core.console import ConsoleProgress
    from fastbench.runner.kept import FOLDER
    from fastbench.runner.output_folder import open_output
    from fastbench.runner.trials_file import TRIALS_FILE
    from fastbench.runner.tune import WINNER_FILE, Tuning

    given, how = given_options(RunConfig, arguments), from_options(TuneOptions, arguments)
    if how.resume is not None:
        given, how = _earlier(how.resume, given, arguments)
    given = with_loader(given)
    config = RunConfig(**given)
    for name in ("model", "loader"):
        if len(getattr(config, name)) > 1:
            raise UsageError(f"{flag(name)} is given twice, and a search is for one. Give it once.")
    folder, is_new = open_output(how.resume or config.output)
    tuning = None
    with in_use(folder, folder / FOLDER), ConsoleProgress() as progress:
        try:
            command = shlex.join(["fastbench", *sys.argv[1:]])
            tuning = Tuning(config, given, how, folder, progress, command)
            tuning.search()
            comparison = tuning.confirm()
        except KeyboardInterrupt:
            num = len(tuning.trials) if tuning is not None else 0
            goes_on = shlex.join(["fastbench", "tune", "--resume", str(folder)])
            kept = f"{counted(num, 'trial is', 'trials are')} in {folder}. Go on with: {goes_on}"
            complain(f"Interrupted: {kept if num else 'no trial was finished.'}")
            return EXIT_INTERRUPTED
        finally:
            if is_new and (tuning is None or not tuning.trials):
                shutil.rmtree(folder / FOLDER, ignore_errors=True)
                if not any(folder.iterdir()):
                    folder.rmdir()
    console = terminal.console(highlight=False)
    console.print(render(tuning))
    text, is_better = verdict(tuning, comparison)
    console.print(text, markup=False)
    if is_better:
        plan = tuning.write_winner()
        say(f"Run it: {shlex.join(['fastbench', 'run', '--config', str(plan)])}")
    else:
        say(f"No {WINNER_FILE} is written.")
    say(f"Trials: {folder / TRIALS_FILE}")
    return 0


def _earlier(
    folder: str, given: dict[str, Any], arguments: argparse.Namespace
) -> tuple[dict[str, Any], TuneOptions]:
    """The options of the search in a folder; how long it may go on can be given anew."""
    from fastbench.runner.trials_file import TrialsFile

    asked = given_options(TuneOptions, arguments)
    if others := [flag(name) for name in (*given, *asked) if name not in ("resume", *_BOUNDS)]:
        raise UsageError(
            f"--resume goes on with the options of that search. Leave out {', '.join(others)}."
        )
    searched = TrialsFile.read(user_path(folder)).searched
    bounds = {name: getattr(searched, name) for name in _BOUNDS}
    how = TuneOptions(objective=searched.objective, **{**bounds, **asked})  # type: ignore[arg-type]
    return searched.options, how


def render(tuning: Tuning) -> RenderableType:
    """The default and the best trials, within 80 columns."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    objective, trials = tuning.objective, tuning.trials
    measured = [(n, x, x.measured) for n, x in enumerate(trials, 1) if x.measured is not None]
    measured.sort(key=lambda each: objective.value(each[2]), reverse=not objective.is_less_better)
    shown = measured[:_NUM_SHOWN]
    shown += [each for each in measured[_NUM_SHOWN:] if each[1].settings == tuning.default]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("trial", objective.unit, *tuning.default):
        table.add_column(name.replace("_", " "), justify="right", overflow="fold")
    table.add_column("")
    for number, trial, its in shown:
        is_winner = trial.settings == tuning.winner
        what = "default" if trial.settings == tuning.default else "winner" * is_winner
        table.add_row(
            str(number),
            format_quantity(objective.value(its), is_in_column=True),
            *(format_value(value) for value in trial.settings.values()),
            what,
            style="bold" if is_winner else "",
        )
    num_failed = len(trials) - len(measured)
    failed = f", {num_failed} failed" if num_failed else ""
    title = f"{tuning.model} · {tuning.loader} · {tuning.device}"
    return Group(
        Text(f"{title}: {counted(len(trials), 'trial')}{failed}", style="bold"), table, Text("")
    )


def verdict(tuning: Tuning, comparison: Comparison | None) -> tuple[str, bool]:
    """What the search has found, and whether it is to be used in place of the default."""
    winner, objective = tuning.winner, tuning.objective
    assert winner is not None
    if winner == tuning.default:
        best = counted(len(tuning.trials), "trial")
        return f"Keep the default: {_in_words(tuning.default)}. It is the best of {best}.", False
    what = tuning.differing(winner)
    if comparison is None:
        return f"Winner: {what}; not held against the default, since one of the two fails.", True
    low, high = comparison.interval or (0.0, math.inf)
    ratio = (
        f"{what}: {comparison.ratio:.3f}x the default's {objective.unit} "
        f"(95 %: {low:.3f} to {high:.3f}, {counted(comparison.num_pairs, 'pair')})"
    )
    is_better = not low <= 1 <= high and (low > 1) is not objective.is_less_better
    if is_better:
        return f"Winner: {ratio}.", True
    how = "as good" if low <= 1 <= high else "better"
    default = f"Keep the default: {_in_words(tuning.default)}. In turn it is {how}"
    return f"{default}. {ratio[:1].upper()}{ratio[1:]}.", False


def _in_words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{x.replace('_', ' ')} {format_value(y)}" for x, y in settings.items())
