"""`fastbench parity`: a loader compared with the reference over all images."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from fastbench.cli.measuring import measure, with_loader
from fastbench.cli.parser import add_command, add_options, given_options
from fastbench.core.config import RunConfig
from fastbench.core.errors import UsageError
from fastbench.models import catalogue
from fastbench.runner.cluster import refuse
from fastbench.runner.execute import parity_rows

if TYPE_CHECKING:
    import argparse

OPTIONS: Final = (
    *("data", "data_root", "model", "weights", "loader", "loader_option", "reference", "resize"),
    *("image_size", "crop_pct", "preprocess"),
    *("device", "batch_size", "num_threads", "limit", "classes", "among", "on_error", "seed"),
    "output",
)


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "hold a loader's images and predictions to the reference"
    parser = add_command(commands, "parity", parity, text, "[OPTIONS]")
    add_options(parser, RunConfig, only=OPTIONS)


def parity(arguments: argparse.Namespace) -> int:
    """Compare each loader that was named with the reference."""
    refuse("parity")
    given = with_loader(given_options(RunConfig, arguments))
    config = RunConfig(**{**given, "model": catalogue.expanded(given.get("model", ()))})
    others = [name for name in config.loaders if name != config.reference]
    if config.reference == "none" or not others:
        raise UsageError(
            "There is nothing to compare: name a --loader and a --reference that differ."
        )
    return measure(config.output, functools.partial(parity_rows, config))
