"""All plots by name.

    from fastbench.report.plots.registry import write_plots
    write_plots(records, Path("pictures"), kinds=("png", "svg"), on_skip=print)

Every plot is a module with one function, `figure(records) -> Figure`. Where the records do not have
what it shows, it raises `NothingToShowError`, whose text says what is missing. matplotlib is
imported when something is drawn.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.atomic_files import write_whole, writing
from fastbench.core.errors import UnknownNameError, UsageError, did_you_mean
from fastbench.report.plots.style import NothingToShowError, encode
from fastbench.report.read import refusing_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from fastbench.records.record import Record

KINDS: Final = ("png", "svg")


@dataclass(frozen=True)
class Plot:
    """A plot's module in this package, and what it shows in one line."""

    module: str
    meaning: str


PLOTS: Final = {
    "accuracy-throughput": Plot("pareto", "top-1 against images/s, with the Pareto front"),
    "loaders": Plot(
        "by_loader", "throughput by loader, alone and end to end, and agreement with the reference"
    ),
    "latency": Plot(
        "latency", "every batch latency and step time, with the percentiles that they support"
    ),
    "batches": Plot("by_batch_size", "throughput and latency against batch size"),
    "scaling": Plot(
        "by_ranks", "throughput against ranks with its ideal, and efficiency with what is lost"
    ),
    "gpus": Plot("by_gpu", "throughput by GPU for the same configuration, with images a joule"),
    "accuracy": Plot(
        "accuracy", "top-1 and top-5 of each row, with intervals and published values"
    ),
}


def draw(name: str, records: Sequence[Record]) -> Figure:
    """One plot, laid out, to be shown or changed.

    Raises `UnknownNameError`, `NothingToShowError`, and `RecordError` for records that are damaged.
    """
    if name not in PLOTS:
        raise UnknownNameError(
            f"There is no plot {name!r}.{did_you_mean(name, list(PLOTS))} "
            f"There are {', '.join(PLOTS)}."
        )
    if not records:
        raise NothingToShowError("There is no record. Name some.")
    module = importlib.import_module(f"{__package__}.{PLOTS[name].module}")
    with refusing_damage(f"The plot {name!r} cannot be drawn: one of the records is damaged"):
        figure: Figure = module.figure(records)
    return figure


def write_plots(
    records: Sequence[Record],
    folder: Path,
    names: Sequence[str] | None = None,
    kinds: Sequence[str] = ("png",),
    *,
    on_skip: Callable[[str], None] | None = None,
) -> list[Path]:
    """Draw the plots of these names, by default all, into a folder, which is made: `NAME.png`.

    `on_skip` is told of each plot that the records cannot show, and why. Files of an earlier time
    are replaced. Raises as `draw`, `UsageError` for a kind that is none of `KINDS`, and
    `OutputError`.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"A plot cannot be {unknown[0]!r}. Write {' or '.join(KINDS)}.")
    paths = []
    for name in dict.fromkeys(PLOTS if names is None else names):
        try:
            figure = draw(name, records)
        except NothingToShowError as reason:
            if on_skip is not None:
                on_skip(f"No plot {name!r}: {reason}")
            continue
        for kind in dict.fromkeys(kinds):
            path = folder / f"{name}.{kind}"
            with writing("The plot", path, "Free some space, or name another folder."):
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(path, encode(figure, kind))
            paths.append(path)
    return paths
