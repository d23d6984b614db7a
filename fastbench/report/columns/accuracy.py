"""Columns of the predictions: accuracy, agreement with the reference, and the row's status."""

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
    """A figure of the parity with the reference; the reference itself has none."""

    def read(row: Row) -> Any:
        parity = row.record.parity
        return None if parity is None or parity.is_reference else getattr(parity, name)

    return read


def format_p(p: float) -> str:
    """A probability: `1.00`, `0.34`, `0.0031`, `<0.0001`."""
    if p < 1e-4:
        return "<0.0001"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.2g}"


def _verdict(row: Row) -> str:
    """The verdict on the pixels, or `reference`; then Δ top-1. Each as far as it is known."""
    difference = _of_parity("accuracy_difference")(row)
    points = None if difference is None else format_points(difference)
    return ", ".join(filter(None, (row.parity, points)))


def _share(**given: Any) -> Column:
    """A share of the predictions, in percent; the more the better, unless it is said otherwise."""
    common: dict[str, Any] = {
        "heading": given["name"],
        "topic": PREDICTIONS,
        "unit": "share",
        "show": format_percent,
        "show_bounds": lambda low, high: f"{100 * low:.1f}–{100 * high:.1f}",
        "best": "max",
    }
    return Column(**{**common, **given})


def _pixels(name: str, heading: str, meaning: str, field: str) -> Column:
    """How far pixels are from the reference's, in levels."""
    return Column(
        name=name,
        heading=heading,
        meaning=f"{meaning} from the reference's, in levels of 0..255",
        topic=PREDICTIONS,
        unit="levels",
        read=_of_parity(field),
        best="min",
    )


def _word(name: str, meaning: str) -> Column:
    return Column(
        name=name,
        heading=name,
        meaning=meaning,
        topic=PREDICTIONS,
        read=lambda row: getattr(row, name),
        align="left",
    )


SCORES: Final = (
    _share(
        name="top-1",
        meaning="share of right predictions, with 95 % interval",
        read=_of_accuracy("top1"),
        bounds=_of_accuracy("top1_interval"),
    ),
    _share(
        name="top-5",
        meaning="share with the right class among the first five, with 95 % interval; none where "
        "the model has at most five classes",
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
    Column(
        name="mcnemar-p",
        heading="McNemar p",
        meaning="how likely chance loses and wins images so unevenly against the reference: "
        "McNemar's exact p",
        topic=PREDICTIONS,
        read=_of_parity("mcnemar_p"),
        show=format_p,
    ),
    _share(
        name="agreement",
        heading="agree",
        meaning="share of top-1 predictions equal to the reference's in float32; below it how "
        "its images compare (exact, equivalent, different), and Δ top-1 in points",
        read=_of_parity("agreement"),
        detail=_verdict,
    ),
    _pixels("parity-max", "max level", "largest difference of a pixel", "max_levels"),
    _pixels("parity-mean", "mean level", "mean difference of the pixels", "mean_levels"),
    Column(
        name="compared",
        heading="compared",
        meaning="images whose pixels were compared with the reference's; parity is of these",
        topic=PREDICTIONS,
        read=lambda row: _of_parity("num_compared")(row) or None,
        show=lambda num: f"{num:,}",
    ),
    _word(
        "parity",
        "exact (no pixel off by more than 1 level), equivalent (less than 0.5 in the mean, "
        "and 98.5 % agree but for chance), or different: not ranked",
    ),
    _word(
        "status",
        "ok, INVALID (its numbers contradict each other), FAIL (a gate of parity or "
        "accuracy) or different; only ok is ranked",
    ),
    Column(
        name="doubts",
        heading="doubts",
        meaning="names of the row's doubts, such as foreign-cpu, for which its speed or its "
        "accuracy is not ranked",
        topic=PREDICTIONS,
        read=lambda row: ", ".join(doubt.name for doubt in row.doubts) or None,
        align="left",
    ),
)
