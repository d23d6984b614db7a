"""What was predicted of each image, as CSV.

A line has the row (a digest of its options; model, loader, dtype, engine, quantisation, image
size), the file, the label and the five likeliest classes, all as the numbers of the model's
outputs, and the softmax values of those five. A row is added when it is measured, so an interrupted
run keeps the rows before. It is added before its record is written: if the run is killed in
between, `--resume` measures the row again, and its lines are replaced.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from fastbench.core.atomic_files import remove_left_over, whole, writing
from fastbench.core.config import RunConfig
from fastbench.core.errors import OutputError, UsageError
from fastbench.core.terminal import write_csv
from fastbench.records.facts import FACTS
from fastbench.runner.planned_rows import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.data.dataset import Manifest
    from fastbench.data.labels import Labels
    from fastbench.measure.tally import Scores
    from fastbench.models.base import LoadedModel
    from fastbench.records.record import Record

NUM_BEST: Final = 5
COLUMNS: Final = (
    *("row", "model", "loader", "dtype", "engine", "quantize", "image_size", "file", "label"),
    *(f"top{k}" for k in range(1, NUM_BEST + 1)),
    *(f"probability{k}" for k in range(1, NUM_BEST + 1)),
)


def check(path: Path) -> None:
    """Raise `OutputError` if the file cannot be written, `UsageError` if it exists."""
    if path.exists():
        raise UsageError(
            f"The file {path} is there already, and nothing is overwritten. "
            f"Name another with --predictions."
        )
    _write(path, "", [])
    path.unlink()


def add(
    path: Path,
    record: Record,
    manifest: Manifest,
    labels: Labels,
    model: LoadedModel,
    scores: Scores,
) -> None:
    """Write one row's predictions, behind those of other rows.

    Raises `OutputError` if they cannot be written, or the file has other columns.
    """
    output = model.classes.output
    digest = digest_of(RunConfig.from_json(record.config), record.model, record.loader)
    how = [FACTS[name].of(record) for name in ("dtype", "engine", "quantize", "image-size")]
    row = [digest, record.model, record.loader, *("" if x is None else x for x in how)]
    probabilities = scores.probabilities or [[] for _ in scores.best]
    missing = [""] * (NUM_BEST - len(scores.best[0]))  # a model with fewer classes
    lines = (
        [
            *row,
            name,
            output(labels.indices[i]) if labels.indices is not None else "",
            *map(output, scores.best[i]),
            *missing,
            *probabilities[i],
            *missing,
        ]
        for i, name in enumerate(manifest.names)
    )
    _write(path, digest, lines)


def _write(path: Path, row: str, lines: Iterable[Sequence[object]]) -> None:
    """Write the file anew, with these lines in place of those that begin with `row`."""
    real = Path(os.path.realpath(path))
    with (
        writing("The predictions", path, "Name another file with --predictions."),
        whole(real) as temporary,
    ):
        remove_left_over(real.parent, real.name)
        with _open(temporary, "w") as file:
            write_csv(file, [COLUMNS])
            if real.exists():
                with _open(real, "r") as before:
                    _copy(before, file, row, path)
            write_csv(file, lines)


def _copy(before: IO[str], file: IO[str], row: str, path: Path) -> None:
    """The lines below the columns that do not begin with `row`."""
    lines = csv.reader(before)
    if tuple(next(lines, ())) != COLUMNS:
        raise OutputError(
            f"The predictions cannot be added to {path}: it has other columns. "
            f"Name another file with --predictions."
        )
    kept = (line for line in lines if line[0] != row)
    csv.writer(file, lineterminator="\n").writerows(kept)


def _open(path: Path, mode: str) -> IO[str]:
    """As CSV is read and written. A file's name need not be text."""
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")
