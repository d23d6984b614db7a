"""Options of `fastbench run` from files: the presets of the package, a user's own, a run's plan.

A file is TOML. Its keys are the options' names, its values what would be given on the command line,
a list where an option may be given again:

    model = ["resnet18", "resnet50"]
    batch-size = [32, 64]
    compile = [false, true]

What is no option, or of another type, is refused by name: a plan that runs for hours should not
leave out in silence what was misspelt.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, Final

from fastbench.core.config import SWEPT, RunConfig
from fastbench.core.errors import OutputError, UsageError, did_you_mean

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_options", "read_preset", "write_options"]

PRESETS: Final = Path(__file__).with_name("presets")
SPELT: Final = "surrogateescape"
"""A path need not be text."""

_WORDS: Final = {
    str: ("text in quotes", "texts in quotes"),
    bool: ("true or false", "them"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
}


def read_preset(name: str) -> dict[str, Any]:
    """The options of a preset, by field of `RunConfig`."""
    return read_options(PRESETS / f"{name}.toml")


def read_options(path: Path) -> dict[str, Any]:
    """The options in a file, by field of `RunConfig`; a tuple where one may be given again.

    Raises `UsageError` for a file that cannot be read, an option that there is not, and a value of
    another type.
    """
    try:
        stored = tomllib.loads(path.read_bytes().decode("utf-8", SPELT))
    except OSError as error:
        raise UsageError(
            f"The options in {path} cannot be read ({error.strerror}). Name a TOML file."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{path} is not TOML: {error}. Write an option a line, such as batch-size = [32, 64]."
        ) from error
    kinds = _kinds()
    found = {}
    for key, value in stored.items():
        field = key.replace("-", "_")
        if field not in kinds or "_" in key:
            known = [name.replace("_", "-") for name in kinds]
            raise UsageError(
                f"{path} has {key!r}, which is no option of fastbench run."
                f"{did_you_mean(key, known)} List them: fastbench run --help"
            )
        found[field] = _checked(path, key, value, *kinds[field])
    return found


def write_options(options: Mapping[str, Any], path: Path) -> None:
    """Write options so that `read_options` reads them; the file is there as a whole or not at all.

    Raises `OutputError` where that fails.
    """
    # JSON's texts, numbers and lists are TOML's too.
    lines = [
        f"{field.replace('_', '-')} = {json.dumps(value, ensure_ascii=False)}\n"
        for field, value in options.items()
    ]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes("".join(lines).encode("utf-8", SPELT))
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"The plan cannot be written to {path} ({error.strerror}). "
            f"Free some space, or name another folder with --output."
        ) from error


def _kinds() -> dict[str, tuple[type, bool]]:
    """The type of each option's value, and whether it may be given again."""
    hints = typing.get_type_hints(RunConfig)
    found = {}
    for field in dataclasses.fields(RunConfig):
        kind = hints[field.name]
        several = typing.get_origin(kind) is tuple
        if several:
            kind = typing.get_args(kind)[0]
        elif isinstance(kind, types.UnionType):  # int | None
            kind = next(part for part in typing.get_args(kind) if part is not type(None))
        found[field.name] = (kind, several or field.name in SWEPT)
    return found


def _checked(path: Path, key: str, value: Any, kind: type, several: bool) -> Any:
    values = value if several and isinstance(value, list) else [value]
    accepted = (int, float) if kind is float else kind
    for one in values:
        # true is an int to Python, and to nobody else.
        if not isinstance(one, accepted) or (isinstance(one, bool) and kind is not bool):
            single, plural = _WORDS[kind]
            raise UsageError(
                f"{path}: {key} is {value!r}. Give {single}"
                f"{f', or a list of {plural}' if several else ''}."
            )
    if not values:
        raise UsageError(f"{path}: {key} is an empty list. Give it a value or leave it out.")
    values = [float(one) for one in values] if kind is float else values
    return tuple(values) if several else values[0]
