"""Options of `fastbench run` from files: presets, `--config` files, and the plan of a run.

A file is TOML. Its keys are the options' names, its values those of the command line, as a list if
an option is given several times. `batch_size` is the same as `batch-size`. A table has a value for
each of several models, as MODEL=WEIGHTS on the command line:

    model = ["resnet18", "resnet50"]
    batch-size = [32, 64]
    compile = [false, true]
    [weights]
    resnet18 = "mine.pth"

Unknown options are refused, all at once: a plan that runs for hours should not ignore what is
misspelt.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.atomic_files import write_whole, writing
from fastbench.core.config import OPTIONS
from fastbench.core.errors import UsageError, did_you_mean, os_errors_as
from fastbench.core.options import field_of, spelt
from fastbench.core.reading import read_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESETS: Final = Path(__file__).with_name("presets")
SPELT: Final = "surrogateescape"
"""A path need not be text."""


def read_preset(name: str) -> dict[str, Any]:
    """The options of a preset, by field of `RunConfig`."""
    return read_options(PRESETS / f"{name}.toml")


def read_options(path: Path) -> dict[str, Any]:
    """The options in a file, by field of `RunConfig`; a tuple for one that may be given again.

    Raises `UsageError` for a file that cannot be read, an unknown option, and a wrong value.
    """
    try:
        with os_errors_as(UsageError, f"The options in {path} cannot be read", "Name a TOML file."):
            stored = tomllib.loads(read_regular(path).decode("utf-8", SPELT))
    except (ValueError, RecursionError) as error:  # also numbers and lists beyond all bounds
        raise UsageError(
            f"{path} is not TOML: {error}. Write an option a line, such as batch-size = [32, 64]."
        ) from error
    if unknown := [key for key in stored if field_of(key) not in OPTIONS]:
        known = [*map(spelt, OPTIONS)]
        said = [
            f"{key!r}, which is no option of fastbench run.{did_you_mean(key, known)}"
            for key in unknown
        ]
        raise UsageError(f"{path} has {' It has '.join(said)} List them: fastbench run --help")
    found: dict[str, Any] = {}
    for key, value in stored.items():
        option = OPTIONS[field_of(key)]
        if option.name in found:
            raise UsageError(f"{path} has {spelt(option.name)!r} twice. Leave out one of them.")
        if option.by_model and isinstance(value, dict):
            value = [f"{model}={its}" for model, its in value.items()]
        several = value if isinstance(value, list) or not option.is_repeatable else [value]
        try:
            found[option.name] = option.read(several, several=option.is_repeatable)
        except UsageError as error:
            hint = " Write several as a list." if option.is_repeatable else ""
            raise UsageError(f"{path}: {error}{hint}") from error
    return found


def write_options(options: Mapping[str, Any], path: Path) -> None:
    """Write options so that `read_options` reads them. Raises `OutputError` if that fails."""
    # JSON's texts, numbers and lists are TOML as well.
    lines = [
        f"{spelt(field)} = {json.dumps(value, ensure_ascii=False)}\n"
        for field, value in options.items()
    ]
    with writing("The plan", path):
        write_whole(path, "".join(lines).encode("utf-8", SPELT))
