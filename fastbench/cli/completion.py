"""`fastbench --print-completion SHELL`: the script by which a shell completes the command line.

shtab writes it from the parser: commands, options, choices; files and folders by the words that
stand for a value in `--help`.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.engine_facts import UNNAMED
from fastbench.core.loader_facts import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS: Final = ("bash", "zsh", "tcsh")
_BESIDES: Final = {"--loader": ("all",), "--reference": ("none",), "--engine": (UNNAMED,)}
_LOADERS: Final = ("loader", "reference")
"""Values that are loaders' names, which are not all there are: plug-ins are code. So are engines'.
"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script; the parser is only good for that afterwards."""
    import shtab

    from fastbench.engines.registry import known_names
    from fastbench.loaders.registry import installed

    loaders = sorted({*BUILT_IN, *installed()})
    named = {**dict.fromkeys(_LOADERS, loaders), "engine": known_names()}
    for action in _actions(parser):
        metavar = str(action.metavar)
        if action.dest in named and not action.choices:
            besides = _BESIDES.get("".join(action.option_strings), ())
            action.choices = [*named[action.dest], *besides]
        elif any(word in metavar for word in ("FILE", "PATH")) or metavar in ("A", "B"):
            _complete(action, shtab.FILE)
        elif "DIR" in metavar:
            _complete(action, shtab.DIRECTORY)
    return str(shtab.complete(parser, shell=shell))


def _complete(action: Any, how: Any) -> None:
    action.complete = how


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of the parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)
        else:
            yield action
