"""The command line: argv -> config -> calls -> exit code. Heavy imports stand inside the commands.

Results go to stdout, progress and errors to stderr. `core/errors.py` has the exit codes.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from fastbench.cli import (
    compare,
    data,
    engines,
    environment,
    loaders,
    loadtest,
    models,
    parity,
    report,
    run,
    tune,
)
from fastbench.cli.completion import SHELLS
from fastbench.cli.output import complain, say
from fastbench.cli.parser import Parser, add_debug
from fastbench.core import system_errors, terminal
from fastbench.core.debugging import debugging
from fastbench.core.errors import EXIT_INTERRUPTED, FastbenchError
from fastbench.core.reading import check_working_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    _open_closed_streams()
    if type(sys.stdout) is io.TextIOWrapper:
        sys.stdout = terminal.Stdout(sys.stdout)
    argv = sys.argv[1:] if argv is None else argv
    with debugging("--debug" in argv):
        return _run(argv)


def _run(argv: Sequence[str]) -> int:
    try:
        try:
            arguments = make_parser().parse_args(argv)
            check_working_folder()
            code: int = arguments.command(arguments)
        finally:
            sys.stdout.flush()
    except terminal.StdoutError as error:
        # What is still to be written would fail once more at the end of Python.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        complain(error)
        return error.exit_code
    except FastbenchError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        complain("Interrupted.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `fastbench models | head`: the reader has gone, and there is nobody left to tell.
        sys.stderr.close()
        return 1
    except Exception as error:
        if (ours := system_errors.as_ours(error)) is None:
            raise
        complain(ours)
        return ours.exit_code
    return code


def _open_closed_streams() -> None:
    """Open /dev/null for a closed stdin, stdout or stderr, stdout such that writing fails.

    Python has None for a closed stream, and the next file that is opened would take its number:
    what a library prints would end up in that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
        if descriptor == 1:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 1)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def make_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="fastbench",
        description="How fast does this machine turn JPEGs into predictions, "
        "and are the predictions still right?",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        metavar="SHELL",
        help="print the script by which bash, zsh or tcsh completes fastbench's options",
    )
    add_debug(parser)
    parser.set_defaults(command=lambda arguments: _without_a_command(parser, arguments))
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    lists = (models, loaders, engines)
    for command in (run, loadtest, tune, parity, compare, report, *lists, environment, data):
        command.add(commands)
    return parser


def _without_a_command(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if arguments.print_completion:
        from fastbench.cli.completion import script

        say(script(parser, arguments.print_completion))
        return 0
    if not arguments.version:
        say(parser.format_help().rstrip())
        return 0
    import importlib.metadata

    say(f"fastbench {importlib.metadata.version('fastbench')}")
    return 0
