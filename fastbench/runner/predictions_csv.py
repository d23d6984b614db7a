"""What was predicted of each image, as CSV.

A line has the row (model, loader, dtype, torch.compile's mode), the file, the label and the five
likeliest classes, all as the numbers of the model's outputs, and the softmax values of those five.
A row is added when it is measured, so an interrupted run keeps the rows before.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.atomic_files import whole, writing
from fastbench.core.errors import UsageError
from fastbench.core.terminal import write_csv
from fastbench.records.facts import FACTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastbench.data.dataset import Manifest
    from fastbench.data.labels import Labels
    from fastbench.measure.tally import Scores
    from fastbench.models.base import LoadedModel
    from fastbench.records.record import Record

NUM_BEST: Final = 5
COLUMNS: Final = (
    *("model", "loader", "dtype", "compile_mode", "file", "label"),
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
    _append(path, [])
    path.unlink()


def add(
    path: Path,
    record: Record,
    manifest: Manifest,
    labels: Labels,
    model: LoadedModel,
    scores: Scores,
) -> None:
    """Add one row's predictions. Raises `OutputError` if they cannot be written."""
    output = model.classes.output
    dtype = FACTS["dtype"].text(record)
    row = [record.model, record.loader, dtype, record.compile_mode or ""]
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
    _append(path, lines if path.exists() else itertools.chain([COLUMNS], lines))


def _append(path: Path, lines: Iterable[Sequence[object]]) -> None:
    real = Path(os.path.realpath(path))
    with (
        writing("The predictions", path, "Name another file with --predictions."),
        whole(real) as temporary,
    ):
        if real.exists():
            shutil.copyfile(real, temporary)
        # A file's name need not be text.
        with open(temporary, "a", newline="", encoding="utf-8", errors="surrogateescape") as file:
            write_csv(file, lines)
