"""Reads records from files and folders.

A folder is searched to its bottom. JSON that is no record of a row of `fastbench run` or
`loadtest`, such as a record of `fastbench parity`, is passed over where it lies in a folder. A
damaged record is complained of; the others are read all the same.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastbench.core.debugging import LOGGER
from fastbench.core.errors import RecordError
from fastbench.records.record import AbRecord
from fastbench.records.store import (
    build_ab_record,
    build_load_record,
    build_record,
    is_of_a_row,
    read_json,
)
from fastbench.report.columns.column import Row
from fastbench.report.columns.load import LoadRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, kw_only=True)
class Found:
    """Rows in the order in which they were measured, path by path, and those of `fastbench
    loadtest`; `complaints` say what is damaged or missing, `comparisons` what records of `--ab`
    say, `passed_over` are JSON files of other things.
    """

    rows: list[Row]
    under_load: list[LoadRow]
    complaints: list[str]
    comparisons: list[str]
    passed_over: list[Path]


def read_rows(paths: Iterable[Path]) -> Found:
    """Read files and folders; a file that is named twice is read once."""
    rows: list[Row] = []
    under_load: list[LoadRow] = []
    complaints: list[str] = []
    comparisons: list[str] = []
    passed_over: list[Path] = []
    seen: set[str] = set()

    def complain(error: OSError) -> None:
        complaints.append(
            f"The folder {error.filename} cannot be read ({error.strerror}). Records in it are "
            f"missing here."
        )

    for path in paths:
        num_files = 0
        its_rows: list[Row] = []
        for file in _files(path, complain):
            num_files += 1
            if (resolved := os.path.realpath(file)) in seen:
                continue
            seen.add(resolved)
            try:
                row = _read(file, is_named=file == path)
            except RecordError as error:
                complaints.append(str(error))
                LOGGER.debug("%s", error, exc_info=True)
                continue
            if row is None:
                passed_over.append(file)
            elif isinstance(row, AbRecord):
                comparisons.append(row.in_words)
            else:
                its_rows.append(row)
        if not num_files:
            complaints.append(
                f"The folder {path} holds no records. Name one that `fastbench run` wrote."
            )
        for row in sorted(its_rows, key=lambda row: (str(row.record.created), str(row.path))):
            if isinstance(row, LoadRow):
                under_load.append(row)
            else:
                rows.append(row)
    return Found(
        rows=rows,
        under_load=under_load,
        complaints=complaints,
        comparisons=comparisons,
        passed_over=passed_over,
    )


def _files(path: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=on_error):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names) if _may_be_a_record(name))


def _may_be_a_record(name: str) -> bool:
    """Logs of LoadGen lie beside records, and some of them are JSON."""
    return name.endswith(".json") and not name.startswith("mlperf_log_")


def _read(path: Path, *, is_named: bool) -> Row | AbRecord | None:
    """A row of either kind, or pairs; None for something else that nobody named as a record."""
    stored = read_json(path)
    if (pairs := build_ab_record(stored, path)) is not None:
        return pairs
    if (under_load := build_load_record(stored, path)) is not None:
        return LoadRow(record=under_load, path=path, version=stored["schema_version"])
    if not is_named and not is_of_a_row(stored):
        return None
    record = build_record(stored, path)
    return Row(record=record, path=path, version=stored["schema_version"])


@contextlib.contextmanager
def refusing_damage(what: str) -> Iterator[None]:
    """Raise what a damaged record's figures raise as a `RecordError`; `what` is damaged."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RecordError(f"{what} ({error}). Measure again.") from error
