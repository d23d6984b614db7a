"""Column and Row: what a table, a plot or a page has to know of one figure, and of one record.

Values are raw (SI, shares of 0..1); only texts are rounded.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from fastbench.core.stats import percentile
from fastbench.core.units import NOT_AVAILABLE, format_quantity
from fastbench.records.advice import ACCURACY, THROUGHPUT, advise, worst_of
from fastbench.records.advice import SPEED as OF_SPEED
from fastbench.records.fact_values import device_name
from fastbench.records.facts import FILE, MACHINE, RUN
from fastbench.records.gates import compare_pixels, failures_of
from fastbench.records.load_facts import LOAD
from fastbench.records.store import SCHEMA_VERSION
from fastbench.records.validity import contradictions_of_predictions, find_contradictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.records.advice import Advice
    from fastbench.records.record import Record
    from fastbench.records.scaling import Scaling

OK: Final = "ok"
INVALID: Final = "INVALID"
DIFFERENT: Final = "different"
FAIL: Final = "FAIL"

T = TypeVar("T")
Value: TypeAlias = "str | int | float | None"
Bounds: TypeAlias = "tuple[float, float] | None"

SPEED: Final = "speed"
PREDICTIONS: Final = "predictions"
COST: Final = "what it took"

_SHOWN: Final = {
    "share": ("%", 1e2),
    "bytes": ("GB", 1e-9),
    "bytes/s": ("MB/s", 1e-6),
    "parameters": ("M", 1e-6),
    "MACs": ("", 1e-9),
    "levels": ("", 1),
    "s/1,000 images": ("", 1),
    "$/1,000,000 images": ("", 1),
}
"""The unit that is shown of a raw unit where it is another, and the factor to it."""
_FACTORS: Final = {"ms": 1e3, "MB": 1e-6}
"""To units that a column may name as its `shown_unit`."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a report.

    `read` has a row's raw value in `unit`, None where there is none. `shown_unit` is the unit of
    the text where it is another than usual for `unit`. `show` writes the raw value; without it a
    number has three significant digits. `bounds` are the value's range: a 95 % interval, or the
    windows' extremes. `detail` is a smaller text below the value, by default that range; it may
    have parts with `, ` between. `words` is the value in a sentence: `batch 32`. `best` is the
    better direction, empty where there is none. `topic` is what a table keeps together.
    `is_of_windows` says whether a figure of speed comes from the end-to-end windows, and not from a
    pass of its own.
    """

    name: str
    heading: str
    meaning: str
    topic: str
    read: Callable[[Row], Value]
    show: Callable[[Any], str] | None = None
    unit: str = ""
    shown_unit: str | None = None
    best: Literal["max", "min", ""] = ""
    align: Literal["left", "right"] = "right"
    bounds: Callable[[Row], Bounds] | None = None
    show_bounds: Callable[[float, float], str] | None = None
    detail: Callable[[Row], str | None] | None = None
    words: Callable[[Any], str] = str
    aliases: tuple[str, ...] = ()
    is_of_windows: bool = True

    @property
    def is_label(self) -> bool:
        """Whether it says which row this is, and not what was measured."""
        return self.topic in (RUN, LOAD, MACHINE, FILE)

    @property
    def is_median_of_repeats(self) -> bool:
        """Whether repeats have the median of their figures; else the column knows what to do."""
        return self.topic in (SPEED, COST) and self.name not in ("images/s", "ratio", "scaling")

    @property
    def about(self) -> tuple[str, ...]:
        """Which doubts are doubts of this figure (see `advice.py`)."""
        if self.topic == PREDICTIONS:
            return (ACCURACY,)
        return (OF_SPEED, THROUGHPUT) if self.is_of_windows else (OF_SPEED,)

    @property
    def title(self) -> str:
        """The heading with the unit of what is shown: `latency ms`."""
        unit = self.text_unit
        return self.heading if not unit or unit in self.heading else f"{self.heading} {unit}"

    @property
    def text_unit(self) -> str:
        """The unit of what is shown; empty where there is none."""
        if self.shown_unit is not None:
            return self.shown_unit
        return _SHOWN[self.unit][0] if self.unit in _SHOWN else self.unit

    @property
    def factor(self) -> float:
        """From the raw unit to the one that is shown."""
        return _FACTORS.get(self.text_unit) or _SHOWN.get(self.unit, ("", 1))[1]

    @property
    def raw_title(self) -> str:
        """The name with the unit of the raw value: `latency [s]`."""
        return self.name if self.unit in ("", self.name) else f"{self.name} [{self.unit}]"

    def text(self, value: Value) -> str:
        """A value as people read it."""
        if value is None:
            return NOT_AVAILABLE
        if self.show is not None:
            return self.show(value)
        if isinstance(value, str):
            return value
        return format_quantity(self.factor * value, is_in_column=True)

    def in_words(self, value: Value) -> str:
        """A value in a heading or a sentence; never empty."""
        if value is None:
            return f"{self.heading} unknown"
        named = f"{self.heading} " if isinstance(value, int) else ""
        return self.words(value) or f"{named}{self.text(value)}"

    def detail_of(self, row: Row) -> str:
        """What stands below the value; may be empty."""
        if self.detail is not None:
            return self.detail(row) or ""
        if self.show_bounds is None or (bounds := row.bounds(self)) is None:
            return ""
        said = self.show_bounds(*bounds)
        return f"{said}, n={len(row.repeats)}" if row.repeats and self.name == "images/s" else said


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """A row against eager float32 (see `trade_off.py`): throughput as a ratio, top-1 as a share.

    Intervals are of 95 %; None is what is not known.
    """

    ratio: float | None
    ratio_interval: tuple[float, float] | None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    mcnemar_p: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A record, where it came from, and what the report adds to it.

    `path` is the record's file, where it has one, and `version` the file's schema version.
    `price_per_h` is what an hour of the device costs, in dollars. `ratio` is the throughput over
    that of the same configuration on the other side of a contrast, with its 95 % interval where
    there is one (see `ratios.py`); it is in doubt where that other throughput is. `scaling` is
    against one rank of the same configuration, and in doubt where that one's throughput is (see
    `scaling.py`). `trade_off` is against eager float32, in the table of that alone. `repeats` are
    the records that the row stands for, none where it is one record's (see `repeats.py`).
    """

    record: Record
    path: Path = Path()
    version: int = SCHEMA_VERSION
    price_per_h: float | None = None
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    is_ratio_doubted: bool = False
    scaling: Scaling | None = None
    is_scaling_doubted: bool = False
    trade_off: TradeOff | None = None
    repeats: tuple[Record, ...] = ()
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
        bounds = self._figure(column.bounds)
        return bounds if bounds and all(map(math.isfinite, bounds)) else None

    def _read(self, column: Column) -> Value:
        value = self._figure(column.read)
        if self.repeats and isinstance(value, float) and column.is_median_of_repeats:
            known = [x for row in self._rows if isinstance(x := row.value(column), float)]
            value = percentile(known, 50)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    @functools.cached_property
    def _rows(self) -> list[Row]:
        """Each repeat by itself."""
        return [Row(record=record, price_per_h=self.price_per_h) for record in self.repeats]

    @property
    def rates(self) -> list[float]:
        """The throughputs that scatter: those of the repeats, or of the windows of one record."""
        if self.repeats:
            return [record.throughput.images_per_s for record in self.repeats]
        return self.record.throughput.rates

    def _figure(self, read: Callable[[Row], T]) -> T | None:
        """What can be computed of the row: of an INVALID one, not a throughput over no time."""
        try:
            return read(self)
        except (ArithmeticError, ValueError):
            if not self.invalid:
                raise
            return None

    @functools.cached_property
    def invalid(self) -> list[str]:
        """Why the record is INVALID, in words."""
        return find_contradictions(self.record)

    @functools.cached_property
    def failures(self) -> list[str]:
        """The gates of parity and accuracy that the row does not pass, in words."""
        return failures_of(self.record)

    @functools.cached_property
    def parity(self) -> str | None:
        """`exact`, `equivalent` or `different` from the reference's images, or `reference`."""
        parity = self.record.parity
        if parity is None or contradictions_of_predictions(self.record):
            return None
        if parity.is_reference:
            return "reference"
        return compare_pixels(parity)

    @functools.cached_property
    def status(self) -> str:
        """`ok`, or why the row is not ranked with the others."""
        if self.invalid:
            return INVALID
        if self.parity == DIFFERENT:
            return DIFFERENT
        return FAIL if self.failures else OK

    @functools.cached_property
    def advice(self) -> list[Advice]:
        """What `advice.py` says of the row; nothing if it is INVALID: its figures say nothing.

        Of repeats every doubt counts, the worst of each kind; hints are on the one that is shown.
        """
        own = [] if self.invalid else advise(self.record)
        if not self.repeats:
            return own
        found = [advice for _, advice in worst_of([row.advice for row in self._rows])]
        doubts = [dataclasses.replace(advice, num_rows=1) for advice in found if advice.about]
        return [*doubts, *(hint for hint in own if not hint.about)]

    @property
    def doubts(self) -> list[Advice]:
        """The advice that puts a figure in doubt."""
        return [advice for advice in self.advice if advice.about]

    def is_doubted(self, column: Column) -> bool:
        """Whether the row's figure in a column is in doubt, and so is not ranked."""
        if (column.name == "ratio" and self.is_ratio_doubted) or (
            column.name == "scaling" and self.is_scaling_doubted
        ):
            return True
        return any(doubt.about in column.about for doubt in self.doubts)

    @property
    def reasons(self) -> list[str]:
        """Why it is not ranked: contradictions, the gates that it does not pass, their cause."""
        said = DIFFERENT if self.parity == DIFFERENT else FAIL
        parity = self.record.parity
        cause = parity.cause if parity else None
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
        """The name of the GPU or CPU that the model ran on."""
        return device_name(self.record)
