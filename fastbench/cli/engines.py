"""`fastbench engines`: what executes a model, and whether it runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastbench.cli.parser import add_command
from fastbench.core import terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import RenderableType

    from fastbench.engines.registry import Listed


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = add_command(
        commands, "engines", list_engines, "list the engines, and whether they run here"
    )
    parser.add_argument(
        "--check",
        dest="ask",
        action="store_true",
        help="import what each engine needs, which takes some seconds; without, it is told from "
        "the packages that are installed",
    )


def list_engines(arguments: argparse.Namespace) -> int:
    """Print every engine, and whether it runs here."""
    from fastbench.engines.registry import listing

    is_asked = arguments.ask
    with terminal.console(stderr=True).status("importing what each engine needs"):
        listed = listing(check=is_asked)
    terminal.console().print(render_list(listed, is_asked=is_asked))
    return 0


def render_list(engines: Sequence[Listed], *, is_asked: bool) -> RenderableType:
    """Each engine's name, whether it runs here, and in words what it does and what it lacks."""
    from rich.console import Group
    from rich.text import Text

    from fastbench.cli.listed import described, table_of

    rows = [
        (
            engine,
            described(
                engine,
                {
                    "quantises to": ", ".join(engine.quantizes),
                    "files": ", ".join(engine.formats),
                },
                engine.lacks,
            ),
        )
        for engine in engines
    ]
    told = (
        [] if is_asked else ["By what is installed. Import and ask each: fastbench engines --check"]
    )
    return Group(
        table_of("engine", rows, is_asked),
        *map(Text, told),
        Text("Run one: --engine NAME. Its options: --engine-option NAME.OPTION=VALUE"),
    )
