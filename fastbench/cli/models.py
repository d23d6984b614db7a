"""`fastbench models`: the models that have a name, and what their package states of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from fastbench.cli.output import say
from fastbench.cli.parser import add_command
from fastbench.core.units import NOT_AVAILABLE, format_percent, format_quantity

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fastbench.models.catalogue import Named

_HEADINGS: Final = ("model", "params M", "GMACs", "pixels", "top-1 %", "top-5 %")


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = add_command(
        commands,
        "models",
        list_models,
        "list the models that have a name; others are given by --model",
    )
    parser.add_argument(
        "pattern",
        nargs="?",
        default="*",
        metavar="PATTERN",
        help="only names like this, such as 'resnet*' or 'timm:vit_*'; with a dot, such as "
        "'timm:vit_*.*in1k', timm's names with a tag of weights (default: all but timm's)",
    )


def list_models(arguments: argparse.Namespace) -> int:
    """Print a model a line, its name first."""
    from fastbench.models.catalogue import matching, named
    from fastbench.models.registry import HINT

    found = named(arguments.pattern)
    if not found:
        matching(arguments.pattern)  # says what is wrong with it
    say(render(found))
    sys.stderr.write(HINT + "\n")  # the list on stdout stays one of models
    return 0


def render(models: Sequence[Named]) -> str:
    """A table of plain text, without what no model states; names are never cut."""
    columns = [*zip(_HEADINGS, *map(_cells, models), strict=True)]
    columns = [(head, *cells) for head, *cells in columns if {*cells} != {NOT_AVAILABLE}]
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for number, (text, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in zip(*columns, strict=True)
    )


def _cells(model: Named) -> tuple[str, ...]:
    counts = (model.num_parameters, 1e-6), (model.num_macs, 1e-9)
    return (
        model.name,
        *(
            NOT_AVAILABLE if x is None else format_quantity(x * by, is_in_column=True)
            for x, by in counts
        ),
        str(model.input_size or NOT_AVAILABLE),
        *(NOT_AVAILABLE if x is None else format_percent(x) for x in (model.top1, model.top5)),
    )
