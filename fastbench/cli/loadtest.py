"""`fastbench loadtest`: queries that arrive by themselves, their latency and their predictions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from fastbench.cli.measuring import measure, with_loader
from fastbench.cli.parser import add_command, add_options, given_options
from fastbench.core.config import OPTIONS, SWEPT, RunConfig
from fastbench.core.load_options import LOAD_OPTIONS, LOAD_SWEPT, OF_RUN, LoadOptions
from fastbench.runner.cluster import refuse

if TYPE_CHECKING:
    import argparse

_HELP: Final = {
    "batch_size": "images of the largest batch (default: 256 on a GPU, 32 on a CPU)",
    "loader": "loader by name, or module:Factory; one that takes requests (default: dali, or "
    "torchvision-tensor without DALI)",
    "quick": "runs of ten seconds, for a first look; no MLPerf result",
}


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "send queries and time each: the highest rate that holds a latency"
    parser = add_command(commands, "loadtest", loadtest, text, "[OPTIONS]")
    by_model = tuple(name for name, each in OPTIONS.items() if each.by_model and name in OF_RUN)
    again = tuple(name for name in SWEPT if name in OF_RUN)
    add_options(
        parser,
        LoadOptions,
        RunConfig,
        only=(*LOAD_OPTIONS, *OF_RUN),
        several=(*again, *LOAD_SWEPT, *by_model, "model", "loader"),
        help_=_HELP,
    )


def loadtest(arguments: argparse.Namespace) -> int:
    """Measure the rows that the options ask for."""
    refuse("loadtest")
    from fastbench.scenarios.loadgen import check_installed
    from fastbench.scenarios.plan import plan, rows

    check_installed()
    given = {
        **given_options(RunConfig, arguments),
        **given_options(LoadOptions, arguments),
    }
    configs = plan(with_loader(given))
    return measure(given.get("output"), functools.partial(rows, configs))
