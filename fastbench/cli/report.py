"""`fastbench report`: records as a table in one of several formats, and as pictures."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.cli.output import complain
from fastbench.cli.parser import add_command
from fastbench.core import terminal
from fastbench.core.atomic_files import write_text
from fastbench.core.errors import UsageError
from fastbench.core.reading import user_path
from fastbench.core.units import and_more

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fastbench.report.sheet.table import Sheet
    from fastbench.report.sheet.view import View

FORMATS: Final = ("table", "markdown", "csv", "jsonl", "latex", "html")
ENDINGS: Final = {
    ".md": "markdown",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".tex": "latex",
    ".html": "html",
}
DATA: Final = ("csv", "jsonl")


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "show records of any machines in one table"
    parser = add_command(commands, "report", report, text, "[OPTIONS] PATH ...")
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="a record, or a folder with records, those in its sub-folders too (default: the "
        "newest run's below this folder)",
    )
    output = parser.group("output")
    output.add_argument(
        "--format", choices=FORMATS, help="default: what the ending of --output says, else table"
    )
    output.add_argument("--output", metavar="FILE", help="write to a file (default: stdout)")
    output.add_argument(
        "--html",
        metavar="FILE",
        help="write one HTML page that needs no network, and nothing else without --format or "
        "--output",
    )
    shown = parser.group("what is shown")
    shown.add_argument(
        "--details",
        action="store_true",
        help="below the table, what the columns mean, and how each row ran, in words",
    )
    shown.add_argument(
        "--columns",
        metavar="A,B,...",
        help="columns of either table by name, and sets: default, loaders, accuracy, gpus, "
        "latency, all; `--columns help` lists them (default: default, and all for csv and jsonl)",
    )
    shown.add_argument("--sort", metavar="COLUMN", help="sort by a column, the best first")
    shown.add_argument("--reverse", action="store_true", help="reverse the order")
    comparing = parser.group("comparing")
    comparing.add_argument(
        "--by",
        metavar="COLUMN",
        help="group by a column, such as gpu, loader, model, dtype or batch, with ratios to the "
        "first group",
    )
    comparing.add_argument(
        "--across",
        metavar="COLUMN",
        help="or group by what was run, the values of this column below each other in each group",
    )
    comparing.add_argument(
        "--baseline", metavar="VALUE", help="the value of --by or --across that ratios are to"
    )
    comparing.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="DEVICE=DOLLARS",
        help='what an hour of a device costs, such as "NVIDIA H200=3.9", for the cost of a million '
        "images; repeatable",
    )
    _add_plot_options(parser.group("plots"))


def _add_plot_options(plots: argparse._ArgumentGroup) -> None:
    from fastbench.report.plots.registry import PLOTS

    plots.add_argument(
        "--plots",
        metavar="DIR",
        help="draw all plots that the records can show, as PNG files, and nothing else without "
        "--format or --output",
    )
    shown = "; ".join(f"{name} ({plot.meaning})" for name, plot in PLOTS.items())
    plots.add_argument(
        "--plot",
        action="append",
        default=[],
        choices=PLOTS,
        metavar="NAME",
        help=f"with --plots: draw only this one, repeatable: {shown}",
    )
    plots.add_argument("--svg", action="store_true", help="with --plots: write SVG files too")


def report(arguments: argparse.Namespace) -> int:
    """Show or write records; complain of those that cannot be used."""
    code, complaints = _report(arguments)
    for complaint in complaints:
        complain(complaint)
    return code


def _report(arguments: argparse.Namespace) -> tuple[int, list[str]]:
    """Read, show or write; the exit code, and what to complain of.

    The code is 1 where a file or a folder could not be used, or a plot that was named could not be
    drawn. Raises `UsageError` for what cannot be asked for, `OutputError` where a file cannot be
    written.
    """
    if (arguments.columns or "").strip() == "help":
        from fastbench.report.columns.registry import list_all

        width = min(100, shutil.get_terminal_size().columns)
        terminal.write(list_all(width) + "\n")
        return 0, []
    paths = arguments.paths or [_newest_run()]
    if (arguments.plot or arguments.svg) and not arguments.plots:
        raise UsageError("There is no folder for the plots. Name one with --plots.")
    ending = Path(arguments.output or "").suffix
    format_ = arguments.format or ENDINGS.get(ending, "table")
    if arguments.details and (format_ != "table" or arguments.output):
        raise UsageError(
            "--details stands below the table on the screen. Leave out --format and --output."
        )
    view = _view(arguments, format_)

    from fastbench.report.read import read_rows
    from fastbench.report.sheet.load_sheet import make_load_sheet
    from fastbench.report.sheet.sheet import make_sheet

    found = read_rows(map(user_path, paths))
    made = make_sheet(found.rows, view), make_load_sheet(found.under_load, view)
    sheets = [sheet for sheet, _ in made if sheet is not None]
    complaints = [*found.complaints, *(text for _, damaged in made for text in damaged)]
    remarks = []
    if sheets and format_ not in DATA:
        first = sheets[0]
        sheets[0] = dataclasses.replace(first, remarks=[*found.comparisons, *first.remarks])
    elif sheets:
        remarks += found.comparisons
    else:
        terminal.write("".join(f"{text}\n" for text in found.comparisons))
    if found.passed_over:
        named = and_more(list(map(str, found.passed_over)), 3)
        remarks.append(f"Passed over, for they are no rows of `fastbench run`: {named}.")
    if sheets:
        if arguments.html:
            _write(sheets, "html", arguments.html)
        if arguments.plots:
            (complaints if arguments.plot else remarks).extend(_draw(sheets, arguments))
        is_enough = arguments.html or arguments.plots
        if not is_enough or arguments.format or arguments.output:
            _write(sheets, format_, arguments.output, with_details=arguments.details)
            if format_ == "csv" and len(sheets) > 1:
                remarks.append(
                    "CSV holds one table: that of rows of `fastbench run`. For rows under load "
                    "name their records, load-*.json, or write --format jsonl, which has both."
                )
    to_a_file = arguments.html or arguments.output or arguments.plots
    if not sheets and not complaints and (to_a_file or not found.comparisons):
        complaints.append(
            "There are no records of `fastbench run` there. Name a folder that it wrote."
        )
    return (1 if complaints else 0), [*remarks, *complaints]


def _newest_run() -> str:
    from fastbench.runner.output_folder import newest

    if (folder := newest("*.json")) is None:
        raise UsageError("There is nothing to report. Name a record, or a folder of records.")
    complain(f"The newest run: {folder}")
    return str(folder)


def _view(arguments: argparse.Namespace, format_: str) -> View:
    from fastbench.report.columns.registry import choose, find
    from fastbench.report.sheet.ratios import parse_price
    from fastbench.report.sheet.view import View

    is_data = format_ in DATA
    columns = arguments.columns
    if columns is None:
        columns = "all" if is_data else "default"
    choose(columns)  # a wrong name is told before anything is read

    def named(name: str | None) -> Any:
        return None if name is None else find(name)

    return View(
        columns=columns,
        sort=named(arguments.sort),
        reverse=arguments.reverse,
        by=named(arguments.by),
        across=named(arguments.across),
        baseline=arguments.baseline,
        prices=dict(map(parse_price, arguments.price)),
        is_data=is_data,
    )


def _write(
    sheets: Sequence[Sheet], format_: str, output: str | None, *, with_details: bool = False
) -> None:
    """Write the tables below each other: that of rows of `fastbench run`, and that under load."""
    if output is not None:
        write_text("The report", user_path(output), _text(sheets, format_))
    elif format_ == "table":
        from fastbench.report.formats.run_screen import print_details
        from fastbench.report.formats.terminal import print_sheet

        console = terminal.console(highlight=False)
        for number, sheet in enumerate(sheets):
            terminal.write("\n" * bool(number))
            print_sheet(sheet, console, with_key=with_details)
            if with_details and not sheet.is_under_load:  # which has its own in any case
                print_details(sheet, console)
    else:
        terminal.write(_text(sheets, format_))


def _draw(sheets: Sequence[Sheet], arguments: argparse.Namespace) -> list[str]:
    """Draw the plots and list their files; what cannot be drawn, and why."""
    from fastbench.report.plots.registry import KINDS, write_plots

    skipped: list[str] = []
    paths = write_plots(
        [line.row.record for sheet in sheets for line in sheet.lines],
        user_path(arguments.plots),
        arguments.plot or None,
        KINDS if arguments.svg else KINDS[:1],
        on_skip=skipped.append,
    )
    terminal.write("".join(f"{path}\n" for path in paths))
    return skipped


def _text(sheets: Sequence[Sheet], format_: str) -> str:
    if format_ == "html":
        from fastbench.report.html.page import render

        return render(*sheets)
    if format_ == "table":
        from fastbench.report.formats.terminal import to_text

        return "\n".join(map(to_text, sheets))
    from fastbench.report.formats import export

    if format_ == "csv":
        return export.to_csv(sheets[0])
    if format_ == "jsonl":
        return "".join(map(export.to_jsonl, sheets))
    make = export.to_markdown if format_ == "markdown" else export.to_latex
    return "\n".join(map(make, sheets))
