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
from fastbench.records.load import LoadRecord
from fastbench.report.plots.style import NothingToShowError, encode
from fastbench.report.read import refusing_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from fastbench.records.record import Record

KINDS: Final = ("png", "svg")


@dataclass(frozen=True)
class Plot:
    """A plot's module in this package, what it shows in one line, and of which rows."""

    module: str
    meaning: str
    is_under_load: bool = False

    @property
    def command(self) -> str:
        """Whose rows it shows."""
        return "fastbench loadtest" if self.is_under_load else "fastbench run"

    def of(self, records: Iterable[Record | LoadRecord]) -> list[Record | LoadRecord]:
        """Those of the records that it is of."""
        return [x for x in records if isinstance(x, LoadRecord) == self.is_under_load]


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
    "latency-rate": Plot(
        "load_rate", "under load: query latency against the rate of queries", is_under_load=True
    ),
    "latency-cdf": Plot(
        "load_latency", "under load: the share of queries that take longer", is_under_load=True
    ),
}


def draw(name: str, records: Sequence[Record | LoadRecord]) -> Figure:
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
    if not (records := PLOTS[name].of(records)):
        raise NothingToShowError(
            f"It is of rows of `{PLOTS[name].command}`, and there is none. Name some."
        )
    module = importlib.import_module(f"{__package__}.{PLOTS[name].module}")
    with refusing_damage(f"The plot {name!r} cannot be drawn: one of the records is damaged"):
        figure: Figure = module.figure(records)
    return figure


def write_plots(
    records: Sequence[Record | LoadRecord],
    folder: Path,
    names: Sequence[str] | None = None,
    kinds: Sequence[str] = ("png",),
    *,
    on_skip: Callable[[str], None] | None = None,
) -> list[Path]:
    """Draw the plots of these names into a folder, which is made: `NAME.png`. By default all that
    are of such records.

    `on_skip` is told of each plot that the records cannot show, and why. Files of an earlier time
    are replaced. Raises as `draw`, `UsageError` for a kind that is none of `KINDS`, and
    `OutputError`.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"A plot cannot be {unknown[0]!r}. Write {' or '.join(KINDS)}.")
    paths = []
    if names is None:
        names = [name for name, plot in PLOTS.items() if plot.of(records)]
    for name in dict.fromkeys(names):
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
