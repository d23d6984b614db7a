"""`fastbench loaders` and `fastbench loaders check`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.cli.parser import Parser, add_command, add_options, from_options
from fastbench.core import temporary, terminal
from fastbench.core.config import RunConfig
from fastbench.core.errors import UsageError
from fastbench.loaders.contract.process import MOST_THREADS, Request, try_rules
from fastbench.loaders.registry import check_name, check_options

if TYPE_CHECKING:
    import argparse

    from fastbench.loaders.contract.finding import RuleFinding

NUM_IMAGES: Final = 53
"""A prime number: no batch size divides it, so the last batch is partial."""
BATCH_SIZE: Final = 8


def add(commands: Any) -> None:
    """Add the command and its sub-command to the parser's commands."""
    parser = add_command(
        commands, "loaders", list_loaders, "list the loaders, and whether they run here"
    )
    parser.add_argument(
        "--check",
        dest="ask",
        action="store_true",
        help="import each loader and ask it, which takes some seconds; without, it is told from "
        "the packages that are installed",
    )
    text = (
        "hold a loader to the contract, a line a rule: every sample once and in order, right ids, "
        "shapes, strides and dtypes, clean errors, nothing left behind when it is closed; a rule "
        "that is not done in time is ended, and fails"
    )
    sub_commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    check = add_command(sub_commands, "check", check_loader, text)
    check.add_argument("loader", nargs=1, metavar="NAME", help="a built-in loader or a plug-in")
    add_options(
        check,
        RunConfig,
        only=("device", "batch_size", "num_threads", "loader_option"),
        help_={
            "batch_size": f"images a batch, of {NUM_IMAGES} in all (default: {BATCH_SIZE})",
            "num_threads": "a loader's threads or worker processes "
            f"(default: all cores, at most {MOST_THREADS})",
        },
    )
    check.set_defaults(device="auto", batch_size=BATCH_SIZE)


def list_loaders(arguments: argparse.Namespace) -> int:
    """Print every loader, and whether it runs here."""
    from fastbench.cli.loaders_screen import render_list
    from fastbench.loaders.ask import listing

    is_asked = arguments.ask
    with terminal.console(stderr=True).status("importing what each loader needs"):
        listed = listing(check=is_asked)
    terminal.console().print(render_list(listed, is_asked=is_asked))
    return 0


def check_loader(arguments: argparse.Namespace) -> int:
    """Try every rule on one loader. The exit code is 1 where one fails."""
    config = from_options(RunConfig, arguments)
    (name,) = config.loader
    check_name(name)
    options = config.options_of(name)
    check_options(name, options)
    batch_size = config.batch_size or BATCH_SIZE
    if batch_size > NUM_IMAGES // 2:
        raise UsageError(
            f"--batch-size is {batch_size}, and the check has {NUM_IMAGES} images. "
            f"Give {NUM_IMAGES // 2} or less."
        )

    from fastbench.cli.loaders_screen import render_finding, render_head, render_verdict
    from fastbench.data.sample.draw_all import ensure_sample

    console = terminal.console()
    console.print(render_head(name, NUM_IMAGES, batch_size))
    start = time.perf_counter()
    found: list[RuleFinding] = []
    with tempfile.TemporaryDirectory(dir=temporary.run_folder()) as folder:
        request = Request(
            name=name,
            device=config.device,
            batch_size=batch_size,
            num_threads=config.num_threads,
            options=dict(options),
            folder=str(ensure_sample(NUM_IMAGES, root=Path(folder) / "images")),
        )
        for finding in try_rules(request):
            console.print(render_finding(finding))
            found.append(finding)
    console.print(render_verdict(name, found, time.perf_counter() - start))
    return 1 if any(finding.outcome == "FAIL" for finding in found) else 0
