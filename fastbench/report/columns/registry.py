"""All columns by name, and named sets of them.

To add a column, write an entry in `speed.py`, `cost.py` (what it took) or `accuracy.py`
(predictions), or a fact in `records/facts.py` (what was run, and where); for rows under load in
`load.py`. The help, the legend,
every format, `--sort` and `--by` have it then.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import UnknownNameError, did_you_mean
from fastbench.report.columns.accuracy import SCORES
from fastbench.report.columns.cost import TAKEN
from fastbench.report.columns.identity import LOAD_LABELS, MACHINE_LABELS, RUN_LABELS
from fastbench.report.columns.load import LOAD_FIGURES, UNDER_LOAD
from fastbench.report.columns.speed import FIGURES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastbench.report.columns.column import Column

COLUMNS: Final[dict[str, Column]] = {
    column.name: column for column in (*RUN_LABELS, *FIGURES, *TAKEN, *SCORES, *MACHINE_LABELS)
}
"""Every column of rows of `fastbench run` by its name, in the order of the help and of `all`."""
OF_LOAD: Final[dict[str, Column]] = {
    column.name: column for column in (*LOAD_LABELS, *LOAD_FIGURES)
}
"""The columns that only rows of `fastbench loadtest` have, which have a table of their own."""

_NAMES: Final = {
    alias: column
    for column in (*COLUMNS.values(), *LOAD_LABELS, *LOAD_FIGURES)
    for alias in (column.name, *column.aliases)
}

SETS: Final[dict[str, tuple[str, ...]]] = {
    "default": (
        *("images/s", "scaling", "ratio", "of-ceiling", "step", "batch-latency", "images/J"),
        *("cost", "top-1", "top-5", "agreement"),
    ),
    "loaders": (
        *("loader", "decoder", "loader-ceiling", "images/s", "ratio", "loader-cpu-s"),
        *("top-1", "agreement", "parity-max", "parity-mean", "compared", "parity"),
    ),
    "accuracy": (
        *("top-1", "top-5", "published", "delta-top-1", "mcnemar-p"),
        *("agreement", "parity-max", "parity-mean", "compared", "parity"),
    ),
    "gpus": (
        *("device", "images/s", "ratio", "of-ceiling", "images/J", "cost", "watts", "gpu-memory"),
        *("top-1", "parity"),
    ),
    "latency": (
        *("images/s", "ratio", "batch-latency", "latency-p90", "latency-p99"),
        *("step-p50", "step-p90", "step-p99", "stall"),
    ),
    "all": tuple(COLUMNS),
}
"""Columns that go well together. Those that tell the rows apart come before them by themselves."""


@dataclass(frozen=True)
class Choice:
    """A column of a table; `is_asked` where it was named itself and not by a set of columns."""

    column: Column
    is_asked: bool


def find(name: str, others: Iterable[str] = ()) -> Column:
    """The column of this name or alias, whatever its case; `others` could have been meant too.

    Raises `UnknownNameError` for another name.
    """
    asked = name.strip()
    for known, column in _NAMES.items():
        if asked.lower().replace("_", "-") == known.lower():
            return column
    raise UnknownNameError(
        f"There is no column {asked!r}.{did_you_mean(asked, [*_NAMES, *others])} "
        f"`fastbench report --columns help` lists them."
    )


def choose(text: str) -> list[Choice]:
    """The columns of `loader,images/s` or, with the name of a set, `loaders,cost`; each once.

    Raises `UnknownNameError` for a name that is neither, and where there is none.
    """
    choices: dict[str, Choice] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name in SETS:
            found = [Choice(COLUMNS[each], is_asked=False) for each in SETS[name]]
        else:
            found = [Choice(find(name, SETS), is_asked=True)]
        for choice in found:
            name = choice.column.name
            if name not in choices or choice.is_asked:
                choices[name] = choice
    if not choices:
        raise UnknownNameError(
            "--columns is empty. `fastbench report --columns help` lists the columns."
        )
    return list(choices.values())


def list_all(width: int = 100) -> str:
    """Every column and its meaning, topic by topic, then the sets, as plain text."""
    lines: list[str] = []
    every = [*COLUMNS.values(), *OF_LOAD.values()]
    for topic in dict.fromkeys(column.topic for column in every):
        of_load = " (rows of fastbench loadtest)" if topic == UNDER_LOAD else ""
        lines += [*([""] if lines else []), f"{topic}{of_load}:"]
        for column in every:
            if column.topic == topic:
                also = f" (also: {', '.join(column.aliases)})" if column.aliases else ""
                lines += _entry(column.name, column.meaning + also, width)
    lines += ["", "sets, which may be mixed with names:"]
    for name, names in SETS.items():
        lines += _entry(name, "every column" if name == "all" else ", ".join(names), width)
    return "\n".join(lines)


def _entry(name: str, text: str, width: int) -> list[str]:
    indent = max(map(len, (*COLUMNS, *OF_LOAD))) + 4
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"  {name}".ljust(indent),
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )
