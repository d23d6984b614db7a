"""`fastbench compare`: two records, or two sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastbench.cli.output import complain
from fastbench.cli.parser import add_command
from fastbench.core.reading import user_path

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "hold records B against A; fail on what got worse"
    parser = add_command(commands, "compare", compare, text, "[OPTIONS] A B")
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
        "--fail-unsure",
        action="store_true",
        help="exit with 2 where a slowdown to --fail-below is not ruled out: the lower end of the "
        "interval is below it",
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


def compare(arguments: argparse.Namespace) -> int:
    """Show how B differs from A, and judge it by the gates that were asked for."""
    from fastbench.report.compare.ci_gate import Gates
    from fastbench.report.compare.show import compare_files

    code, complaints = compare_files(
        user_path(arguments.a),
        user_path(arguments.b),
        Gates(
            fail_below=arguments.fail_below,
            fail_unsure=arguments.fail_unsure,
            fail_accuracy=arguments.fail_accuracy,
            require_all=arguments.require_all,
            allow_unlike=arguments.allow_unlike,
        ),
        form=arguments.format,
        sort=arguments.sort,
        output=user_path(arguments.output) if arguments.output else None,
    )
    for complaint in complaints:
        complain(complaint)
    return code
