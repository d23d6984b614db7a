"""Sheets of records, as `fastbench report` makes them."""

from __future__ import annotations

from pathlib import Path

from fastbench.records.record import Record
from fastbench.report.columns.column import Row
from fastbench.report.read import read_rows
from fastbench.report.sheet.sheet import make_sheet
from fastbench.report.sheet.table import Sheet
from fastbench.report.sheet.view import View


def sheet_of(*records: Record, **view: object) -> Sheet:
    sheet, complaints = make_sheet(rows_of(*records), View(**view))  # type: ignore[arg-type]
    assert complaints == []
    assert sheet is not None
    return sheet


def rows_of(*records: Record) -> list[Row]:
    return [Row(record=record, path=Path(f"{i}.json")) for i, record in enumerate(records)]


def sheet_of_files(*paths: Path, **view: object) -> Sheet:
    found = read_rows(paths)
    assert not found.complaints
    sheet, damaged = make_sheet(found.rows, View(**view))  # type: ignore[arg-type]
    assert sheet is not None
    assert not damaged
    return sheet
