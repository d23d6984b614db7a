"""`fastbench models`: the models that have a name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fastbench.cli.output import say
from fastbench.cli.parser import add_command

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    add_command(
        commands,
        "models",
        list_models,
        "list the models that have a name; others are given by --model",
    )


def list_models(_: argparse.Namespace) -> int:
    """Print a name a line."""
    from fastbench.models.registry import HINT, known_names

    say("\n".join(known_names()))
    sys.stderr.write(HINT + "\n")  # the list on stdout stays one of names
    return 0
