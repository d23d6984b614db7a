"""The command line: argv -> config -> calls -> exit code. Heavy imports live inside the commands.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 a run failed, 2 the
command line was wrong, 3 the predictions were, 130 interrupted (see `errors.py`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench.arguments import Parser, add_options, from_options
from fastbench.config import RunConfig
from fastbench.data.commands import Command, Make, add_commands
from fastbench.errors import (
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    FastbenchError,
    OutputError,
    UsageError,
)
from fastbench.results import ParityRecord, Record

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.report.progress import Progress
    from fastbench.row import FailedRow

    Rows = Callable[[RunConfig, Path, Progress], Iterator[Record | ParityRecord | FailedRow]]

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.command(arguments)
    except FastbenchError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("Interrupted.")
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
    add_options(run, RunConfig)
    compare = command("parity", _parity, "hold a loader's images and predictions to the reference")
    add_options(compare, RunConfig, only=PARITY_OPTIONS)
    command("models", _models, "list the models")
    command("loaders", _loaders, "list the loaders, and whether they run here")
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


def _version_or_help(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if not arguments.version:
        return _help(parser)
    import importlib.metadata

    _print(f"fastbench {importlib.metadata.version('fastbench')}")
    return 0


def _help(parser: argparse.ArgumentParser) -> int:
    _print(parser.format_help().rstrip())
    return 0


def _run(arguments: argparse.Namespace) -> int:
    return _measure(from_options(RunConfig, arguments), _rows)


def _parity(arguments: argparse.Namespace) -> int:
    config = from_options(RunConfig, arguments)
    others = [name for name in config.loaders if name != config.reference]
    if config.reference == "none" or not others:
        raise UsageError(
            "There is nothing to compare: name a --loader and a --reference that differ."
        )
    return _measure(config, _parity_rows)


def _measure(config: RunConfig, rows: Rows) -> int:
    """Run row by row, keep what was measured whatever happens, and show it."""
    # OpenMP's threads spin while they wait, and take the cores from the loader's workers: on two
    # cores without a GPU that costs a third of the throughput. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder = _open_output(config.output)

    from rich.console import Console

    from fastbench.report import parity, table
    from fastbench.report.progress import Progress
    from fastbench.report.study import write_study

    records: list[Record | ParityRecord] = []
    complaints: list[str] = []
    code = 0
    with Progress() as progress:
        progress.say("loading torch")
        try:
            for row in rows(config, folder, progress):
                if isinstance(row, Record | ParityRecord):
                    records.append(row)
                    if row.failures:
                        code = code or EXIT_WRONG
                else:
                    complaints.append(f"{row.model} · {row.loader}: {row.error}")
                    # A row that is missing outweighs one that is wrong.
                    code = row.error.exit_code if code in (0, EXIT_WRONG) else code
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            num = len(records)
            kept = f"{num} finished row{' is' if num == 1 else 's are'} in {folder}"
            complaints.append(f"Interrupted: {kept if num else 'no row was finished'}.")
        except FastbenchError as error:
            code = error.exit_code
            complaints.append(str(error))
    if records:
        console = Console()
        timed = [record for record in records if isinstance(record, Record)]
        if timed:
            console.print(table.render(timed))
        pictures = write_study(timed, folder)
        for record in records:
            if isinstance(record, ParityRecord):
                console.print(parity.render(record))
        _print(f"Records: {folder}")
        if pictures:
            _print(f"Accuracy: {', '.join(map(str, pictures))}")
    elif not any(folder.iterdir()):
        folder.rmdir()
    for complaint in complaints:
        _complain(complaint)
    return code


def _parity_rows(
    config: RunConfig, folder: Path, progress: Progress
) -> Iterator[ParityRecord | FailedRow]:
    from fastbench.comparison import parity_rows
    from fastbench.workbench import Workbench

    yield from parity_rows(Workbench(config, folder, say=progress.say, count=progress.count))


def _rows(config: RunConfig, folder: Path, progress: Progress) -> Iterator[Record | FailedRow]:
    from fastbench.report.predictions import PredictionsFile
    from fastbench.session import Session
    from fastbench.workbench import Workbench

    file = PredictionsFile(Path(config.predictions).expanduser()) if config.predictions else None
    workbench = Workbench(config, folder, say=progress.say, count=progress.count)
    if workbench.device.type == "cpu":
        progress.note("No GPU is used: DALI and the model run on the CPU.")
    yield from Session(workbench, file).rows()


def _open_output(asked: str | None) -> Path:
    """Make the folder for the records now, not after an hour of measuring."""
    from datetime import datetime

    default = Path("fastbench-results") / f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    folder = Path(asked).expanduser() if asked else default
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".fastbench-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"The output folder {folder} cannot be written ({error.strerror}). "
            f"Name another with --output."
        ) from error
    return folder


def _models(_: argparse.Namespace) -> int:
    from fastbench.models import known_names

    _print("\n".join(known_names()))
    return 0


def _loaders(_: argparse.Namespace) -> int:
    from fastbench.loaders import BUILT_IN, installed, resolve

    plug_ins = {name: f"plug-in: {entry.value}" for name, entry in installed().items()}
    entries = {name: entry.summary for name, entry in BUILT_IN.items()} | plug_ins
    width = max(map(len, entries))
    for name, summary in sorted(entries.items()):
        _print(f"{name:<{width}}  {summary}")
        if name in BUILT_IN and (options := BUILT_IN[name].options):
            _print(f"{'':<{width}}  options: {', '.join(options)}")
        try:
            resolve(name)
        except FastbenchError as error:
            _print(f"{'':<{width}}  not here: {error}")
    return 0


def _env(_: argparse.Namespace) -> int:
    from fastbench.environment import describe
    from fastbench.report.environment import render

    _print(render(describe()))
    return 0


def _data_sample(arguments: argparse.Namespace) -> int:
    if arguments.num_images < 1:
        raise UsageError(f"--num-images is {arguments.num_images}. Give a number of at least 1.")

    from fastbench.data.sample import ensure_sample
    from fastbench.report.progress import Progress

    root = Path(arguments.output).expanduser() if arguments.output else None
    with Progress() as progress:
        drawn = progress.count(
            "drawing the sample images", "Drew {total:,} sample images in {seconds:.0f} s."
        )
        folder = ensure_sample(arguments.num_images, root=root, on_progress=drawn)
    _print(str(folder))
    return 0


def _data_verify(arguments: argparse.Namespace) -> int:
    from fastbench.data.manifest import check_all
    from fastbench.report.progress import Progress

    with Progress() as progress:
        checked = check_all(Path(arguments.data), on_progress=progress.count("decoding the images"))
    for skipped in checked.bad:
        _print(f"{skipped.name} {skipped.why}")
    if not checked.bad:
        _print(f"{checked.num_files:,} files, all of them sound JPEGs.")
        return 0
    _complain(
        f"{len(checked.bad):,} of {checked.num_files:,} files in {arguments.data} are no sound "
        f"JPEGs. Replace or remove them, or run with --on-error skip."
    )
    return 1


def _shown(make: Make) -> Command:
    """A command that shows what it makes: its progress, the folder, and what is in it."""

    def command(arguments: argparse.Namespace) -> int:
        from fastbench.report.progress import Progress

        with Progress() as progress:
            made = make(arguments, progress.count("unpacking the images"))
        _print(f"{made.note}\n{made.folder}")
        return 0

    return command


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"fastbench: {text}\n")
