"""`fastbench run`: from the options to the plan of rows, and to their records."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

from fastbench.cli.measuring import measure, with_loader
from fastbench.cli.output import complain
from fastbench.cli.parser import add_command, add_options, from_options, given_options
from fastbench.core import terminal
from fastbench.core.command_options import PlanOptions
from fastbench.core.config import OPTIONS, SWEPT, RunConfig
from fastbench.core.errors import UsageError
from fastbench.core.units import counted, format_about
from fastbench.records import naming
from fastbench.records.facts import FACTS
from fastbench.runner import check_plan, cluster
from fastbench.runner.auto_values import resolved
from fastbench.runner.execute import ab_rows, follow, plan_rows
from fastbench.runner.plan import make_plan, merge
from fastbench.runner.planned_rows import single
from fastbench.runner.possible_rows import refuse_impossible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rich.console import RenderableType

    from fastbench.runner.plan import Plan

_COLUMNS: Final = ("model", "loader", "dtype", "engine", "batch")
"""The facts of a planned row that are shown even if all rows share them."""


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "measure throughput, latency and accuracy; one record a row"
    parser = add_command(commands, "run", run, text, "[OPTIONS]")
    by_model = tuple(name for name, each in OPTIONS.items() if each.by_model)
    add_options(parser, PlanOptions, RunConfig, several=(*SWEPT, *by_model, "model", "loader"))


def run(arguments: argparse.Namespace) -> int:
    """Measure the rows that the options ask for, or one `--ab` comparison."""
    given, how = given_options(RunConfig, arguments), from_options(PlanOptions, arguments)
    ranks = cluster.here()
    if ranks is not None and not ranks.leads:
        return follow(ranks)
    with ranks.leading() if ranks is not None else contextlib.nullcontext():
        return _run(given, how)


def _run(given: Mapping[str, Any], how: PlanOptions) -> int:
    from fastbench.core.console import ConsoleProgress

    options = merge(given, how)
    if options.get("ab"):
        if how.resume is not None or how.dry_run:
            raise UsageError("--ab is one comparison. Leave out --resume and --dry-run.")
        config = single(with_loader(options))
        return measure(config.output, functools.partial(ab_rows, config))
    with ConsoleProgress() as progress:
        plan = make_plan(given, how, progress.count)
    for note in plan.notes:
        complain(note)
    for damaged in plan.damaged:
        complain(f"Not taken as finished: {damaged}")
    if how.dry_run:
        terminal.console().print(render(plan))
        found = check_plan.problems(plan)
        for error in found:
            complain(error)
        return check_plan.exit_code(found)
    refuse_impossible(plan.todo)
    return measure(plan.output, functools.partial(plan_rows, plan), plan)


def render(plan: Plan) -> RenderableType:
    """A line for each row, in the order of measuring, within 80 columns."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", justify="right")
    configs, default = [resolved(row.config) for row in plan.rows], RunConfig()
    given = [
        name
        for name, fact in FACTS.items()
        if {*SWEPT} & {*fact.options} and any(fact.of(x) != fact.of(default) for x in configs)
    ]
    facts = [FACTS[name] for name in dict.fromkeys((*_COLUMNS, *naming.varying(configs), *given))]
    several = max(row.number for row in plan.rows) > 1
    for fact in facts:
        table.add_column(
            fact.heading, overflow="fold", justify="right" if fact.is_number else "left"
        )
    table.add_column("")
    for number, (row, config) in enumerate(zip(plan.rows, configs, strict=True), 1):
        states = [f"repeat {row.number}"] * several
        if row.key in plan.finished:
            states.append("finished")
        elif row.only_if_here or row.only_if_room:
            states.append("if it runs here")
        table.add_row(
            str(number),
            # The brackets in a file's name are no markup.
            *(Text(fact.show(fact.of(config))) for fact in facts),
            ", ".join(states),
        )
    return Group(table, Text(f"\n{_sum(plan)}"))


def _sum(plan: Plan) -> str:
    num, left = len(plan.rows), len(plan.todo)
    state = f": {num - left:,} finished, {left:,} to be measured" if plan.resumed else ""
    if not left:
        return f"{counted(num, 'row')}{state}."
    about = format_about(check_plan.estimate_s(plan))
    more = (
        ""
        if all(row.config.quick for row in plan.todo)
        else (", longer where an epoch takes longer than --min-seconds")
    )
    return f"{counted(num, 'row')}{state}, {about}{more}."
