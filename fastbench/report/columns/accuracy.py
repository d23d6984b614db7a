"""Columns of the predictions: are they right, are they the reference's, and is the row ranked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import format_percent, format_points
from fastbench.report.columns.column import PREDICTIONS, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.report.columns.column import Row


def _of_accuracy(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.record.accuracy, name) if row.record.accuracy else None


def _of_parity(name: str) -> Callable[[Row], Any]:
    """A figure of the parity with the reference, which the reference has none of."""

    def read(row: Row) -> Any:
        parity = row.record.parity
        return None if parity is None or parity.is_reference else getattr(parity, name)

    return read


def _beside_the_reference(row: Row) -> str | None:
    """Δ top-1, where it is known; of the reference itself, that it is that."""
    parity = row.record.parity
    if parity is None or parity.is_reference:
        return row.parity
    difference = parity.accuracy_difference
    return None if difference is None else format_points(difference)


def _of_pixels(name: str) -> Callable[[Row], Any]:
    def read(row: Row) -> Any:
        pixels = _of_parity("pixels")(row)
        return getattr(pixels, name) if pixels else None

    return read


def _share_bounds(low: float, high: float) -> str:
    return f"{100 * low:.1f}–{100 * high:.1f}"


def _share(**given: Any) -> Column:
    """A share of the predictions, in percent; the more the better, unless it is said otherwise."""
    common: dict[str, Any] = {"topic": PREDICTIONS, "unit": "share", "shown_unit": "%"}
    common |= {"show": format_percent, "show_bounds": _share_bounds, "best": "max"}
    return Column(**{**common, **given})


SCORES: Final = (
    _share(
        name="top-1",
        heading="top-1",
        meaning="share of right predictions, with 95 % interval",
        read=_of_accuracy("top1"),
        bounds=_of_accuracy("top1_interval"),
    ),
    _share(
        name="top-5",
        heading="top-5",
        meaning="share with the right class among the first five, with 95 % interval",
        read=_of_accuracy("top5"),
        bounds=_of_accuracy("top5_interval"),
    ),
    _share(
        name="published",
        heading="published top-1",
        meaning="top-1 that the weights' publisher states for all of ImageNet",
        read=lambda row: row.record.published.top1 if row.record.published else None,
        best="",
    ),
    Column(
        name="delta-top-1",
        heading="Δ top-1",
        meaning="top-1 less the reference's, in percentage points, with 95 % interval",
        topic=PREDICTIONS,
        unit="share",
        shown_unit="pt",
        read=_of_parity("accuracy_difference"),
        show=format_points,
        bounds=_of_parity("difference_interval"),
        show_bounds=lambda low, high: f"{format_points(low)} to {format_points(high)}",
    ),
    _share(
        name="agreement",
        heading="agree",
        meaning="share of top-1 predictions equal to the reference's in float32; below it Δ top-1 "
        "in points",
        read=_of_parity("agreement"),
        detail=_beside_the_reference,
    ),
    Column(
        name="parity-max",
        heading="max level",
        meaning="largest difference of a pixel from the reference's, in levels of 0..255",
        topic=PREDICTIONS,
        unit="levels",
        shown_unit="",
        read=_of_parity("max_levels"),
        best="min",
    ),
    Column(
        name="parity-mean",
        heading="mean level",
        meaning="mean difference of the pixels from the reference's, in levels of 0..255",
        topic=PREDICTIONS,
        unit="levels",
        shown_unit="",
        read=_of_pixels("mean_levels"),
        best="min",
    ),
    Column(
        name="parity",
        heading="parity",
        meaning="exact (no pixel off by more than 1 level), equivalent (less than 0.5 in the mean, "
        "and 98.5 % agree but for chance), or different: not ranked",
        topic=PREDICTIONS,
        read=lambda row: row.parity,
        align="left",
    ),
    Column(
        name="status",
        heading="status",
        meaning="ok, INVALID (its numbers contradict each other), FAIL (a gate of parity or "
        "accuracy) or different; only ok is ranked",
        topic=PREDICTIONS,
        read=lambda row: row.status,
        align="left",
    ),
)
