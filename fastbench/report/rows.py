"""Records in files and folders -> the rows of a report, and what is wrong with the rest.

A folder is searched to its bottom. JSON that is something else, such as a record of `fastbench
parity`, is passed over where it lies in a folder, and said so; what is damaged is complained of,
and the good ones are reported all the same.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import RecordError
from fastbench.records.conditions import device_name
from fastbench.records.gates import compare_pixels, failures_of
from fastbench.records.store import SCHEMA_VERSION, build_record, other_kind, read_json
from fastbench.records.validity import find_contradictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastbench.records.record import Record
    from fastbench.report.column import Bounds, Column, Value

__all__ = ["DIFFERENT", "FAIL", "INVALID", "OK", "Found", "Row", "read_rows"]

OK: Final = "ok"
INVALID: Final = "INVALID"
DIFFERENT: Final = "different"
FAIL: Final = "FAIL"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A record, where it came from, and what the report adds to it.

    `version` is the schema version of the file. `price_per_h` is what an hour of the device costs,
    in dollars. `ratio` is the throughput over that of the same configuration on the other side of
    a contrast, with its 95 % interval where there is one (see `contrast.py`).
    """

    record: Record
    path: Path
    version: int = SCHEMA_VERSION
    price_per_h: float | None = None
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    _values: dict[str, Value] = field(default_factory=dict, init=False, repr=False, compare=False)

    def value(self, column: Column) -> Value:
        """The raw value of a column, read once; None where the record does not have it."""
        if column.name not in self._values:
            self._values[column.name] = self._read(column)
        return self._values[column.name]

    def bounds(self, column: Column) -> Bounds:
        """The range of a column's value; None where it has none, or no finite one."""
        if column.bounds is None or self.value(column) is None:
            return None
        bounds = column.bounds(self)
        return bounds if bounds and all(map(math.isfinite, bounds)) else None

    def _read(self, column: Column) -> Value:
        try:
            value = column.read(self)
        except ArithmeticError:
            if not self.invalid:
                raise
            return None  # as a throughput over no time
        return None if isinstance(value, float) and not math.isfinite(value) else value

    @functools.cached_property
    def invalid(self) -> list[str]:
        """What contradicts itself in the record, in words."""
        return find_contradictions(self.record)

    @functools.cached_property
    def failures(self) -> list[str]:
        """The gates of parity and accuracy that the row does not pass, in words."""
        return failures_of(self.record)

    @functools.cached_property
    def parity(self) -> str | None:
        """`exact`, `equivalent` or `different` from the reference's images, or `reference`."""
        parity = self.record.parity
        if parity is None:
            return None
        if parity.is_reference:
            return "reference"
        return compare_pixels(parity.pixels) if parity.pixels else None

    @functools.cached_property
    def status(self) -> str:
        """`ok`, or why the row is not ranked with the others."""
        if self.invalid:
            return INVALID
        if self.parity == DIFFERENT:
            return DIFFERENT
        return FAIL if self.failures else OK

    @property
    def reasons(self) -> list[str]:
        """Why it is not ranked: contradictions, the gates that it does not pass, their cause."""
        said = DIFFERENT if self.parity == DIFFERENT else FAIL
        parity = self.record.parity
        cause = parity.pixels.cause if parity and parity.pixels else None
        return [
            *(f"{INVALID}: {reason}" for reason in self.invalid),
            *(f"{said}: {failure}" for failure in self.failures),
            *([f"probable cause: {cause}"] if cause and self.failures else []),
        ]

    @functools.cached_property
    def steps_s(self) -> list[float]:
        """The step times in order: several percentiles of thousands of them take one sort."""
        return sorted(self.record.throughput.step_times_s)

    @property
    def device(self) -> str | None:
        """As `differences.device_name`."""
        return device_name(self.record)

    def package(self, *names: str) -> str | None:
        """The version of the first of these packages that was installed."""
        packages = self.record.environment.get("packages", {})
        return next((packages[name] for name in names if packages.get(name)), None)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The rows in the order in which they were measured, argument by argument.

    `complaints` say what is damaged or missing; `passed_over` are JSON files that are no rows.
    """

    rows: list[Row]
    complaints: list[str]
    passed_over: list[Path]


def read_rows(paths: Iterable[Path]) -> Found:
    """Read what the paths stand for; each file once, however often it was named."""
    rows: list[Row] = []
    complaints: list[str] = []
    passed_over: list[Path] = []
    seen: set[Path] = set()

    def complain(error: OSError) -> None:
        complaints.append(
            f"The folder {error.filename} cannot be read ({error.strerror}). Records in it are "
            f"missing here."
        )

    for path in paths:
        num_files, its_rows = 0, []
        for file in _files(path, complain):
            num_files += 1
            if (resolved := file.resolve()) in seen:
                continue
            seen.add(resolved)
            try:
                row = _read(file, is_named=file == path)
            except RecordError as error:
                complaints.append(str(error))
                continue
            if row is None:
                passed_over.append(file)
            else:
                its_rows.append(row)
        if not num_files:
            complaints.append(
                f"The folder {path} holds no records. Name one that `fastbench run` wrote."
            )
        rows += sorted(its_rows, key=lambda row: (str(row.record.created), str(row.path)))
    return Found(rows=rows, complaints=complaints, passed_over=passed_over)


def _files(path: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=on_error):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(".json"))


def _read(path: Path, *, is_named: bool) -> Row | None:
    """A row; None for what is something else, where nobody named it as a record."""
    stored = read_json(path)
    is_record = isinstance(stored, dict) and "schema_version" in stored
    if not is_named and (not is_record or other_kind(stored) is not None):
        return None
    record = build_record(stored, path)
    return Row(record=record, path=path, version=stored["schema_version"])
