"""The command line: argv -> config -> calls -> exit code. Heavy imports live inside the commands.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 a run failed, 2 the
command line was wrong, 3 the predictions were, 130 interrupted (see `errors.py`).
"""

from __future__ import annotations

import functools
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench.arguments import Parser, add_options, from_options, given_options
from fastbench.cli_loaders import add_check, list_loaders
from fastbench.cli_report import add_options as add_report_options
from fastbench.cli_report import report
from fastbench.cli_run import ab_rows, complain, measure, parity_rows, plan_rows, say
from fastbench.core.config import SWEPT, PlanOptions, RunConfig
from fastbench.core.errors import (
    EXIT_INTERRUPTED,
    FastbenchError,
    UsageError,
)
from fastbench.core.units import SPELT_OUT
from fastbench.data_commands import Command, Make, add_commands

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]


PARITY_OPTIONS = (
    "data",
    "model",
    "weights",
    "loader",
    "loader_option",
    "reference",
    "resize",
    "device",
    "batch_size",
    "num_threads",
    "limit",
    "classes",
    "among",
    "on_error",
    "seed",
    "output",
)


def main(argv: Sequence[str] | None = None, *, apart: bool = True) -> int:
    """Run one command; return its exit code.

    With `apart` False the rows of `fastbench run` share this process, as a test may want them to.
    """
    # A file's name need not be text, and a terminal's encoding may lack a character: what stdout
    # cannot encode it spells out, as stderr does.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors=SPELT_OUT)
    try:
        arguments = _parser().parse_args(argv)
        arguments.apart = apart
        code: int = arguments.command(arguments)
    except FastbenchError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("Interrupted.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `fastbench models | head`: the reader has gone, and there is nobody left to tell.
        sys.stderr.close()
        return 1
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="fastbench",
        description="How fast does this machine turn JPEGs into predictions, "
        "and are the predictions still right?",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.set_defaults(command=lambda arguments: _version_or_help(parser, arguments))
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)

    def command(name: str, function: object, help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_[:1].upper() + help_[1:] + ".")
        sub.set_defaults(command=function)
        return sub

    run = command("run", _run, "measure throughput, latency and accuracy; one record a row")
    add_options(run, PlanOptions)
    add_options(run, RunConfig, several=SWEPT)
    hold = command("parity", _parity, "hold a loader's images and predictions to the reference")
    add_options(hold, RunConfig, only=PARITY_OPTIONS)
    _add_compare(command("compare", _compare, "hold records B against A; fail on what got worse"))
    add_report_options(command("report", _report, "show records of any machines in one table"))
    command("models", _models, "list the models that have a name; others are given by --model")
    add_check(command("loaders", list_loaders, "list the loaders, and whether they run here"))
    command("env", _env, "tell what this machine can do")
    data: argparse.ArgumentParser = command("data", lambda _: _help(data), "make data sets")
    data_commands = data.add_subparsers(metavar="COMMAND", parser_class=Parser)
    text = "draw the sample data set: JPEGs of 24 classes, the same on every machine"
    sample = data_commands.add_parser("sample", help=text, description=text.capitalize() + ".")
    sample.add_argument("--num-images", type=int, default=1000, metavar="N", help="default: 1000")
    sample.add_argument("--output", metavar="DIR", help="default: the user's cache folder")
    sample.set_defaults(command=_data_sample)
    text = "decode every image of a data set, and name those that are no sound JPEGs"
    verify = data_commands.add_parser("verify", help=text, description=text.capitalize() + ".")
    verify.add_argument("data", metavar="DIR|FILE", help="a folder of JPEGs, or a list file")
    verify.set_defaults(command=_data_verify)
    add_commands(data_commands, _shown)
    return parser


def _add_compare(parser: argparse.ArgumentParser) -> None:
    for letter in "AB":
        help_ = (
            f"record {letter}, or a folder with records, those in its sub-folders too; "
            f"configurations are paired, and repeats of one are held together"
        )
        parser.add_argument(letter.lower(), metavar=letter, help=help_)
    parser.add_argument(
        "--fail-below",
        type=float,
        metavar="RATIO",
        help="exit with 1 where a row of B is certainly slower than this times A, as 0.95: the "
        "upper end of the ratio's 95 %% interval is below; without an interval the ratio itself",
    )
    parser.add_argument(
        "--fail-accuracy",
        action="store_true",
        help="exit with 3 where predictions of a row got worse beyond chance: its hits, its "
        "agreement with the reference, or a gate that only B fails",
    )
    parser.add_argument(
        "--require-all",
        action="store_true",
        help="exit with 2 where a row of A or B has no partner",
    )
    parser.add_argument(
        "--allow-unlike",
        action="store_true",
        help="judge records that differ in batch size, images, dtype, page cache, preprocessing "
        "or reference too; else they exit with 2",
    )
    parser.add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="markdown is a summary for a pull request (default: table)",
    )
    parser.add_argument(
        "--sort",
        choices=("ratio", "configuration"),
        default="ratio",
        help="order of the rows (default: ratio, the slowest first)",
    )
    parser.add_argument("--output", metavar="FILE", help="write it to a file, not to the terminal")


def _version_or_help(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if not arguments.version:
        return _help(parser)
    import importlib.metadata

    say(f"fastbench {importlib.metadata.version('fastbench')}")
    return 0


def _help(parser: argparse.ArgumentParser) -> int:
    say(parser.format_help().rstrip())
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from fastbench.cli_console import Progress
    from fastbench.sweep import make_plan, merge, single

    given, how = given_options(RunConfig, arguments), from_options(PlanOptions, arguments)
    if (options := merge(given, how)).get("ab"):
        if how.resume is not None or how.dry_run:
            raise UsageError("--ab is one comparison. Leave out --resume and --dry-run.")
        config = single(options)
        return measure(config.output, functools.partial(ab_rows, config))
    with Progress() as progress:
        plan = make_plan(given, how, progress.count)
    if how.dry_run:
        from rich.console import Console

        from fastbench.cli_plan import render

        Console().print(render(plan))
        return 0
    return measure(plan.output, functools.partial(plan_rows, plan, arguments.apart), plan)


def _parity(arguments: argparse.Namespace) -> int:
    config = from_options(RunConfig, arguments)
    others = [name for name in config.loaders if name != config.reference]
    if config.reference == "none" or not others:
        raise UsageError(
            "There is nothing to compare: name a --loader and a --reference that differ."
        )
    return measure(config.output, functools.partial(parity_rows, config))


def _compare(arguments: argparse.Namespace) -> int:
    from fastbench.cli_compare import compare_files
    from fastbench.report.compare.ci_gate import Gates

    code, complaints = compare_files(
        Path(arguments.a).expanduser(),
        Path(arguments.b).expanduser(),
        Gates(
            fail_below=arguments.fail_below,
            fail_accuracy=arguments.fail_accuracy,
            require_all=arguments.require_all,
            allow_unlike=arguments.allow_unlike,
        ),
        form=arguments.format,
        sort=arguments.sort,
        output=Path(arguments.output).expanduser() if arguments.output else None,
    )
    for complaint in complaints:
        complain(complaint)
    return code


def _report(arguments: argparse.Namespace) -> int:
    code, complaints = report(arguments)
    for complaint in complaints:
        complain(complaint)
    return code


def _models(_: argparse.Namespace) -> int:
    from fastbench.models.registry import HINT, known_names

    say("\n".join(known_names()))
    sys.stderr.write(HINT + "\n")  # the list on stdout stays one of names
    return 0


def _env(_: argparse.Namespace) -> int:
    from fastbench.cli_environment import render
    from fastbench.measure.machine import describe

    say(render(describe()))
    return 0


def _data_sample(arguments: argparse.Namespace) -> int:
    if arguments.num_images < 1:
        raise UsageError(f"--num-images is {arguments.num_images}. Give a number of at least 1.")

    from fastbench.cli_console import Progress
    from fastbench.data.sample.draw_all import ensure_sample

    root = Path(arguments.output).expanduser() if arguments.output else None
    with Progress() as progress:
        drawn = progress.count(
            "drawing the sample images", "Drew {total:,} sample images in {seconds:.0f} s."
        )
        folder = ensure_sample(arguments.num_images, root=root, on_progress=drawn)
    say(str(folder))
    return 0


def _data_verify(arguments: argparse.Namespace) -> int:
    from fastbench.cli_console import Progress
    from fastbench.data.dataset import check_all

    with Progress() as progress:
        checked = check_all(Path(arguments.data), on_progress=progress.count("decoding the images"))
    for skipped in checked.bad:
        say(f"{skipped.name} {skipped.why}")
    if not checked.bad:
        say(f"{checked.num_files:,} files, all of them sound JPEGs.")
        return 0
    complain(
        f"{len(checked.bad):,} of {checked.num_files:,} files in {arguments.data} are no sound "
        f"JPEGs. Replace or remove them, or run with --on-error skip."
    )
    return 1


def _shown(make: Make) -> Command:
    """A command that shows what it makes: its progress, the folder, and what is in it."""

    def command(arguments: argparse.Namespace) -> int:
        from fastbench.cli_console import Progress

        with Progress() as progress:
            made = make(arguments, progress.count("unpacking the images"))
        say(f"{made.note}\n{made.folder}")
        return 0

    return command
