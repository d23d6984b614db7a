"""The folder that takes the records of a run."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.atomic_files import remove, temporary_name
from fastbench.core.errors import OutputError, os_errors_as
from fastbench.core.reading import user_path
from fastbench.core.units import counted
from fastbench.records.record import AbRecord
from fastbench.runner import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS: Final = Path("fastbench-results")
"""Where the records go by default: a folder for each run."""
_PROBED: Final = 2**18
"""Bytes that must fit: a record with its pictures. A full disk is told before all measuring.
"""


def open_output(asked: str | None) -> tuple[Path, bool]:
    """Make the folder for the records and try to write into it; whether the folder is new."""
    folder = user_path(asked or RESULTS)
    is_new = not asked or not folder.exists()
    with os_errors_as(
        OutputError, f"The output folder {folder} cannot be written", "Name another with --output."
    ):
        if asked:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = _make_new_folder()
        probe = temporary_name(folder / "fastbench-probe")
        try:
            probe.write_bytes(bytes(_PROBED))
        finally:
            remove(probe)
    return folder, is_new


def discard_if_empty(folder: Path) -> None:
    """Remove a folder that was made for a run of which nothing is left."""
    shutil.rmtree(folder / kept.FOLDER, ignore_errors=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def kept_in_words(records: Sequence[object], folder: Path) -> str:
    """What is left of a run that was interrupted; records of a part of a row know that they are."""
    if not records:
        return "no row was finished"
    num = sum(getattr(record, "is_finished", True) for record in records)
    rows = f"{counted(num, 'finished row is', 'finished rows are')} in {folder}"
    if len(records) == num:
        return rows
    what = "pairs" if isinstance(records[-1], AbRecord) else "runs"
    return f"{f'{rows}, and' if num else f'no row was finished; in {folder} are'} the {what} so far"


def newest(file: str) -> Path | None:
    """The folder in `RESULTS` that got this file last; None if none has it."""
    found = sorted(RESULTS.glob(f"*/{file}"), key=os.path.getmtime)
    return found[-1].parent if found else None


def _make_new_folder() -> Path:
    """A folder named after the time; two runs may start in the same second."""
    stem = f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    for number in itertools.count(1):
        folder = RESULTS / (stem if number == 1 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError
