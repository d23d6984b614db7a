"""Ratios of throughputs of the same configuration between GPUs (loaders, dtypes, ...); prices.

A contrast is the column in which the sides differ, the baseline is one side. A row's ratio is that
of the geometric means of the windows' throughputs (of the repeats', where there are repeats), over
all of the same configuration in the baseline, with Welch's 95 % interval, as `fastbench compare`
has it. The same configuration: model, weights, loader, dtype, batch size, compilation, ranks, image
size, images, `--quick` and every option of the pipeline are equal but for the contrast itself.
There is no ratio where the page cache or the preprocessing is unlike, or a record is INVALID. A
machine's drift between two runs is in no interval.
"""

from __future__ import annotations

import dataclasses
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import UnknownNameError, UsageError, did_you_mean
from fastbench.core.stats import log_ratio_interval
from fastbench.core.units import and_more, counted
from fastbench.records import naming
from fastbench.records.advice import ACCURACY
from fastbench.records.facts import FACTS, PREPROCESS
from fastbench.report.columns.column import OK
from fastbench.report.sheet.footnotes import stands_apart

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastbench.report.columns.column import Column, Row, Value

CONFIGURATION: Final = (
    *("device", "model", "weights", "loader"),
    *("dtype", "engine", "batch", "quantize", "ranks", "image-size"),
)
"""The columns that make up what was run, apart from the images."""
MOST_MODELS: Final = 6
"""Of those that a mean is over, so many are named."""


def configuration(row: Row, contrast: Column) -> tuple[Any, ...]:
    """What a row has in common with the same configuration on the other sides."""
    without = {contrast.name, "page-cache"}  # which an old record may not know: see `is_like`
    names = {"images", "cpu"} - without
    if contrast.name == "device":
        names -= {"cpu"}  # of several machines, each against itself
    elif contrast.name == "cpu" and row.record.device == "cpu":
        without.add("device")  # which is the CPU
    values = (FACTS[name].of(row.record) for name in sorted(names))
    return (*naming.configuration_key(row.record, without), *values)


def tells(name: str, rows: Iterable[Row]) -> bool:
    """Whether a column says what was run of these rows: image sizes do not that are each model's
    own.
    """
    return name != "image-size" or naming.differs([row.record for row in rows], FACTS[name])


def sides(rows: Iterable[Row], contrast: Column, baseline: str | None) -> list[Value]:
    """The contrast's values, the baseline first: the one named, or the first of the rows'.

    Numbers are in order. Raises `UnknownNameError` for a baseline that no row has.
    """
    values: list[Any] = list(dict.fromkeys(row.value(contrast) for row in rows))
    numbers = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) for value in numbers):
        numbers = []
    if numbers:
        values = sorted(numbers) + [None] * (None in values)
    if baseline is not None:
        known = {contrast.text(value): value for value in values}
        # 1024 is written 1,024 here, and 6 is no part of 64.
        written = {str(value): contrast.text(value) for value in numbers}
        name, *_ = match(
            written.get(baseline.strip(), baseline),
            list(known),
            f"{contrast.heading} to be the baseline",
            in_part=not written,
        )
        values.remove(known[name])
        values.insert(0, known[name])
    return values


def with_ratios(rows: Sequence[Row], contrast: Column, baseline: Value) -> list[Row]:
    """The rows, each with its ratio where the baseline has the same configuration."""
    partners: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.value(contrast) == baseline and not row.invalid:
            partners.setdefault(configuration(row, contrast), []).append(row)
    return [
        _with_ratio(row, partners.get(configuration(row, contrast), []), contrast, baseline)
        for row in rows
    ]


def _with_ratio(row: Row, partners: list[Row], contrast: Column, baseline: Value) -> Row:
    partners = [partner for partner in partners if is_like(row, partner, contrast)]
    if row.invalid or not partners:
        return row
    if row.value(contrast) == baseline:
        return dataclasses.replace(row, ratio=1.0)
    rates = [rate for partner in partners for rate in partner.rates]
    its_rates = row.rates
    if min(*rates, *its_rates) <= 0:  # windows in which nothing was classified
        return row
    ratio, interval = log_ratio_interval(rates, its_rates)
    is_doubted = any(doubt.about != ACCURACY for partner in partners for doubt in partner.doubts)
    return dataclasses.replace(
        row, ratio=ratio, ratio_interval=interval, is_ratio_doubted=is_doubted
    )


def means_over_models(
    rows: Sequence[Row], contrast: Column, values: Sequence[Value], speed: Column
) -> str:
    """A sentence with the geometric mean of each side's ratios, over the models that all have.

    Each configuration counts once. One is left out if a row of it may not be ranked by `speed`.
    The sentence is empty where fewer than two models are left.
    """
    if contrast.name in ("model", "weights"):
        return ""
    found: dict[tuple[Any, ...], dict[Value, list[Row]]] = {}
    for row in rows:
        if row.ratio is not None:
            its_sides = found.setdefault(configuration(row, contrast), {})
            its_sides.setdefault(row.value(contrast), []).append(row)
    whole = [its_sides for its_sides in found.values() if len(its_sides) == len(values)]
    sound = [
        its_sides
        for its_sides in whole
        if all(r.status == OK and not r.is_doubted(speed) for x in its_sides.values() for r in x)
    ]
    models = list(dict.fromkeys(x[values[0]][0].record.model for x in sound))
    if len(models) < 2:
        return ""
    means = [
        geometric_mean([geometric_mean([r.ratio or 1 for r in x[value]]) for x in sound])
        for value in values
    ]
    said = ", ".join(
        f"{contrast.in_words(value)} {mean:.2f}x" for value, mean in zip(values, means, strict=True)
    )
    num = f"{len(sound)} configurations of " if len(sound) > len(models) else ""
    left_out = len(whole) - len(sound)
    rest = f"; without {counted(left_out, 'configuration')} that cannot be ranked"
    return (
        f"Geometric mean of the ratios, over {num}the {len(models)} models that every "
        f"{contrast.heading} has ({and_more(models, MOST_MODELS)}): {said}"
        f"{rest if left_out else ''}."
    )


def is_like(a: Row, b: Row, contrast: Column) -> bool:
    """Whether page cache and preprocessing are the same, as far as both records know them."""
    apart = {contrast.name}
    if contrast.name in ("image-size", "crop-pct"):
        apart.add("preprocess-resize")  # which follows from it
    facts = [FACTS[name] for name in ("page-cache", *PREPROCESS) if name not in apart]
    return not any(stands_apart(fact.of(a.record), fact.of(b.record)) for fact in facts)


def parse_price(text: str) -> tuple[str, float]:
    """`NVIDIA H200=3.9` -> the device's name and dollars an hour.

    Raises `UsageError` for anything else.
    """
    name, equals, written = text.rpartition("=")
    try:
        price = float(written.strip().lstrip("$"))
    except ValueError:
        price = 0.0
    if not equals or not name.strip() or not 0 < price < float("inf"):
        raise UsageError(
            f'--price is {text!r}. Write it as DEVICE=DOLLARS an hour, such as "NVIDIA H200=3.9".'
        )
    return name.strip(), price


def with_prices(rows: Sequence[Row], prices: Mapping[str, float]) -> list[Row]:
    """The rows, each with the price of its device.

    A name stands for the device of that name, else for those whose names hold it; of two that hold
    for a device, the longer one counts. Raises `UnknownNameError` for a name of no row's device.
    """
    devices = list(dict.fromkeys(row.device for row in rows if row.device))
    priced: dict[str, float] = {}
    for name in sorted(prices, key=len):
        priced |= dict.fromkeys(match(name, devices, "device with a --price"), prices[name])
    return [
        dataclasses.replace(row, price_per_h=priced.get(row.device or "")) if priced else row
        for row in rows
    ]


def match(name: str, known: Sequence[str], what: str, *, in_part: bool = True) -> list[str]:
    """The known name that equals `name`, else those that contain it; upper case is the same."""
    asked = name.casefold()
    found = [each for each in known if each.casefold() == asked]
    if in_part:
        found = found or [each for each in known if asked in each.casefold()]
    if not found:
        listed = ", ".join(repr(each) for each in known[:5]) or "none"
        raise UnknownNameError(
            f"No record has {name!r} as the {what}.{did_you_mean(name, list(known))} "
            f"The records have: {listed}."
        )
    return found
