"""Accuracy lost per speed-up: rows against float32 in eager mode of the same model and loader.

A row has its place here where it differs from such a row in engine, number format, quantisation or
the size of its input, and in nothing else that was run; of several sizes the largest is the one
that the others are held against. The speed-up is a ratio as `ratios.py` has it.

The difference of top-1 is that of `Parity`: image by image, against the float32 reference, so it
has an exact p. The reference of another size is another one. There, and without a reference, it
is the difference of the two rows' top-1, with the interval of two independent samples, which is
wider than one of pairs.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.engine_facts import EAGER
from fastbench.core.stats import independent_difference_interval, log_ratio_interval
from fastbench.core.units import format_percent, format_rate
from fastbench.records import naming
from fastbench.records.fact_values import NOT_QUANTIZED
from fastbench.records.facts import FACTS, PREPROCESS
from fastbench.report.columns.column import OK, SPEED, Column, TradeOff
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.sheet.footnotes import stands_apart
from fastbench.report.sheet.table import Group, Line, Sheet, cell_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastbench.records.record import Record
    from fastbench.report.columns.column import Row

_SIZE: Final = "preprocess-crop"
_VARIED: Final = ("dtype", "engine", "quantize", _SIZE, "preprocess-resize", "engine-option")
"""The facts in which the rows may differ."""
_FREE: Final = {*_VARIED, "image-size", "crop-pct"}
"""With the names of the options that they follow from."""
_ALIKE: Final = ("images", "cpu")
MOST: Final = 60
"""Lines of the table; where there would be more, there is none."""
TITLE: Final = "Accuracy lost per speed-up, against eager float32"


def _of_trade_off(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.trade_off, name) if row.trade_off else None


_FIGURES: Final = (
    Column(
        name="speed-up",
        heading="speed-up",
        meaning="images/s over those of eager float32, with 95 % interval",
        topic=SPEED,
        read=_of_trade_off("ratio"),
        show="{:.2f}x".format,
        bounds=_of_trade_off("ratio_interval"),
        show_bounds="{:.2f}–{:.2f}".format,
    ),
    dataclasses.replace(
        COLUMNS["delta-top-1"],
        meaning="top-1 less that of the float32 reference, in percentage points, with 95 % "
        "interval; of another image size, less that of eager float32",
        read=_of_trade_off("difference"),
        bounds=_of_trade_off("difference_interval"),
    ),
    dataclasses.replace(COLUMNS["mcnemar-p"], read=_of_trade_off("mcnemar_p")),
    COLUMNS["weights-size"],
)
_LABELS: Final = (
    *(COLUMNS[name] for name in ("engine", "dtype", "quantize")),
    dataclasses.replace(COLUMNS[_SIZE], name="image-size", heading="image size"),
)
_UNLABELLED: Final = (_FIGURES[0], COLUMNS["agreement"], COLUMNS["weights-size"])


def trade_off_of(lines: Sequence[Line]) -> Sheet | None:
    """The table of a report's lines; None where there is nothing to hold against another."""
    found = _pairs(lines)
    num = sum(len(its) for _, its in found)
    if not 0 < num <= MOST:
        return None
    bases = [base for base, _ in found]
    groups = [[_held_against(line, base.row) for line in its] for base, its in found]
    rows = [line.row for its in groups for line in its]
    alike = [
        [base.row, *(line.row for line in its)] for base, its in zip(bases, groups, strict=True)
    ]
    columns = [*_labels(alike), *_figures(rows)]
    names = naming.names([base.row.record for base in bases])
    headings = [
        f"{' · '.join(name)}: {_speed_of(base.row)}"
        for name, base in zip(names, bases, strict=True)
    ]
    is_one = len(bases) == 1
    return Sheet(
        common=[f"{TITLE}: {_speed_of(bases[0].row)}" if is_one else TITLE],
        columns=columns,
        groups=[
            Group(heading="" if is_one else heading, lines=_in_order(its, columns))
            for heading, its in zip(headings, groups, strict=True)
        ],
        footnotes=[],
        remarks=[],
    )


def _held_against(line: Line, base: Row) -> Line:
    """The line with its trade-off; of its footnotes those that are doubts."""
    row = dataclasses.replace(line.row, trade_off=_trade_off(line.row, base))
    notes = [note for note in line.footnotes if note.is_doubt]
    return dataclasses.replace(line, row=row, footnotes=notes)


def _in_order(lines: Sequence[Line], columns: Sequence[Column]) -> list[Line]:
    """The lines with their cells, the smallest speed-up first."""
    made = [
        dataclasses.replace(line, cells=[cell_of(line.row, column) for column in columns])
        for line in lines
    ]
    return sorted(made, key=lambda line: line.row.trade_off.ratio or 0)  # type: ignore[union-attr]


def _pairs(lines: Sequence[Line]) -> list[tuple[Line, list[Line]]]:
    """Each line of eager float32 that others are held against, and these."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        if not line.row.invalid:
            groups.setdefault(_key(line.row.record), []).append(line)
    found = []
    for its in groups.values():
        bases = [line for line in its if _is_base(line.row.record)]
        if not bases:
            continue
        base = max(bases, key=lambda line: _size(line.row.record))  # the first of equals
        what = _varied(base.row.record)
        others = [
            line
            for line in its
            if _varied(line.row.record) != what and _is_like(line.row.record, base.row.record)
        ]
        if others:
            found.append((base, others))
    return found


def _key(record: Record) -> tuple[Any, ...]:
    """Equal for rows that differ in nothing but what is varied."""
    without = {*_FREE, "page-cache"}  # which an old record may not know: see `_is_like`
    return (
        *naming.configuration_key(record, without),
        *(FACTS[name].of(record) for name in _ALIKE),
    )


def _is_base(record: Record) -> bool:
    facts = tuple(FACTS[name].of(record) for name in ("engine", "dtype", "quantize"))
    return facts == (EAGER, "float32", NOT_QUANTIZED)


def _size(record: Record) -> int:
    return int(FACTS[_SIZE].of(record) or 0)


def _varied(record: Record) -> tuple[Any, ...]:
    return tuple(FACTS[name].of(record) for name in _VARIED)


def _is_like(a: Record, b: Record) -> bool:
    """Whether page cache and preprocessing are the same but for sizes, as far as both know them."""
    names = [name for name in ("page-cache", *PREPROCESS) if name not in _FREE]
    return not any(stands_apart(FACTS[name].of(a), FACTS[name].of(b)) for name in names)


def _trade_off(row: Row, base: Row) -> TradeOff:
    ratio, ratio_interval = None, None
    if min(*row.rates, *base.rates) > 0:
        ratio, ratio_interval = log_ratio_interval(base.rates, row.rates)
    speed: dict[str, Any] = {"ratio": ratio, "ratio_interval": ratio_interval}
    parity = row.record.parity
    is_paired = parity is not None and parity.discordant is not None
    if parity is not None and is_paired and _size(row.record) == _size(base.record):
        return TradeOff(
            **speed,
            difference=parity.accuracy_difference,
            difference_interval=parity.difference_interval,
            mcnemar_p=parity.mcnemar_p,
        )
    its, other = row.record.accuracy, base.record.accuracy
    if its is None or other is None:
        return TradeOff(**speed)
    return TradeOff(
        **speed,
        difference=its.top1 - other.top1,
        difference_interval=independent_difference_interval(
            (other.top1_correct, other.num_samples), (its.top1_correct, its.num_samples)
        ),
    )


def _labels(groups: Sequence[Sequence[Row]]) -> list[Column]:
    """The columns in which the rows of one base differ: each model may have a size of its own."""
    return [
        column
        for column in _LABELS
        if any(len({row.value(column) for row in its}) > 1 for its in groups)
    ]


def _figures(rows: Sequence[Row]) -> list[Column]:
    """The columns of figures that any row has, and the status where one is not ok."""
    has_labels = any(row.trade_off and row.trade_off.difference is not None for row in rows)
    columns = [
        column
        for column in (_FIGURES if has_labels else _UNLABELLED)
        if any(row.value(column) is not None for row in rows)
    ]
    return [*columns, *([COLUMNS["status"]] if any(row.status != OK for row in rows) else [])]


def _speed_of(base: Row) -> str:
    """`87.3 images/s, top-1 92.30 %`."""
    record = base.record
    said = f"{format_rate(COLUMNS['images/s'].read(base) or 0)} images/s"  # type: ignore[arg-type]
    return f"{said}, top-1 {format_percent(record.top1)} %" if record.top1 is not None else said
