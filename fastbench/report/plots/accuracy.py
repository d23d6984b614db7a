"""Top-1 and top-5 of each row as bars, and what the weights' publisher states.

Published figures may be of other images. The caption says what was scored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import format_percent
from fastbench.records import naming
from fastbench.records.gates import failures_of
from fastbench.records.validity import contradictions_of_predictions, find_contradictions
from fastbench.report.plots import style
from fastbench.report.plots.caption import brief_names, caption_of, in_doubt, list_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.records.record import Record

_MAX_GROUPS: Final = 12  # in one row of the chart; more go into further rows
_MOST_GROUPS: Final = 120
_MIN_GROUPS: Final = 4  # the width of so many, at least: fewer stand in the middle
_GROUP_INCHES: Final = 1.15
_BAR: Final = 0.42  # of a group
_LABEL_CHARS: Final = 15  # of a tick label's line: what a group is wide
# Blue and orange differ in lightness too; and hatching, for print.
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "top-1": {"facecolor": style.PALETTE[0], "hatch": ""},
    "top-5": {"facecolor": style.PALETTE[1], "hatch": "///"},
}
_LEGEND: Final = ("top-1", "top-5", "95 % interval (Wilson)", "published")


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """The chart of the records that have an accuracy, of which there must be one.

    Groups of two bars, in as many rows as they need. Raises `NothingToShowError`.
    """
    scored = [record for record in records if _has_bars(record)][:_MOST_GROUPS]
    if not scored:
        raise style.NothingToShowError("No row has an accuracy. Run with labelled images.")
    num_rows = math.ceil(len(scored) / _MAX_GROUPS)
    per_row = math.ceil(len(scored) / num_rows)
    span = max(_MIN_GROUPS, per_row)
    width = 1.2 + _GROUP_INCHES * span
    made = style.new_figure(width, 0.5 + 3.5 * num_rows)
    rows = made.subplots(num_rows, 1, squeeze=False)[:, 0]
    said = caption_of(scored)
    names = naming.names(scored, always=() if naming.varying(scored) else ("model",))
    for i, axes in enumerate(rows):
        part = slice(i * per_row, (i + 1) * per_row)
        _draw_axes(axes, names[part], [*map(_after, scored, said.marks)][part])
        for position, record in enumerate(scored[part]):
            _draw_group(axes, position, record)
        middle = (per_row - 1) / 2
        axes.set_xlim(middle - span / 2, middle + span / 2)
    # Above the first row and above its highest figures, where there is nothing to hide.
    handles = {
        label: handle
        for axes in rows
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    entries = {label: handles[label] for label in _LEGEND if label in handles}
    style.add_legend(rows[0], entries, width - 1, pad=1.9)
    notes = [
        said.paragraphs[0] + _num_scored(scored),
        *said.paragraphs[1:],
        " ".join(_left_out(records, scored)),
    ]
    style.finish(made, "Top-1 and top-5 accuracy", notes)
    return made


def _draw_axes(axes: Axes, names: list[list[str]], marks: list[str]) -> None:
    labels = [
        "\n".join(line for part in name for line in style.fold(part, _LABEL_CHARS)) + mark
        for name, mark in zip(names, marks, strict=True)
    ]
    axes.set_xticks(range(len(labels)), labels, fontsize=8.5)
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("right predictions, %")
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")


def _draw_group(axes: Axes, position: int, record: Record) -> None:
    """Two bars with their intervals and figures, and what was published, left of the interval.

    Top-5 has none where it says nothing.
    """
    for name, x in (("top-1", position - _BAR / 2), ("top-5", position + _BAR / 2)):
        field = name.replace("-", "")
        if (share := getattr(record.accuracy, field)) is None:
            continue
        interval = getattr(record.accuracy, f"{field}_interval")
        stated = getattr(record.published, field, None)
        height, low, high = (100 * value for value in (share, *interval))
        axes.bar(x, height, _BAR, label=name, edgecolor="black", linewidth=0.8, **_STYLES[name])
        axes.errorbar(
            x,
            height,
            yerr=[[max(0, height - low)], [max(0, high - height)]],
            fmt="none",
            ecolor="black",
            elinewidth=1.2,
            capsize=3,
            label=_LEGEND[2],
        )
        figure_y = high
        if stated is not None:
            axes.plot(
                x - 0.3 * _BAR,
                100 * stated,
                linestyle="none",
                marker="D",
                markersize=5,
                markerfacecolor="white",
                markeredgecolor="black",
                clip_on=False,
                label=_LEGEND[3],
            )
            # The figure stands above the marker where the two would meet.
            figure_y = 100 * stated if high < 100 * stated < high + 10 else high
        axes.annotate(
            format_percent(share),
            (x, figure_y),
            xytext=(0, 5),
            textcoords="offset points",
            annotation_clip=False,  # above the axes, where the share is nearly 100
            ha="center",
            va="bottom",
            fontsize=8,
        )


def _after(record: Record, mark: str) -> str:
    """What stands after a row's name: a footnote's mark, and that its bars do not count."""
    if find_contradictions(record):
        return mark + "\nINVALID"
    found = {"fails": bool(failures_of(record)), "in doubt": in_doubt(record, "top-1")}
    why = ", ".join(word for word, is_so in found.items() if is_so)
    return mark + (f"\n({why})" if why else "")


def _has_bars(record: Record) -> bool:
    """Whether there are hits; more hits than samples have no interval."""
    return bool(record.accuracy) and not contradictions_of_predictions(record)


def _num_scored(scored: Sequence[Record]) -> str:
    counts = dict.fromkeys(f"{r.accuracy.num_samples:,}" for r in scored if r.accuracy)
    return f" · n={' / '.join(counts)}"


def _left_out(records: Sequence[Record], scored: Sequence[Record]) -> list[str]:
    """Which rows have no bars, and whose bars do not count."""
    pairs = list(zip(brief_names(records), records, strict=True))
    of_scored = [(name, record) for name, record in pairs if _has_bars(record)]
    missing = [name for name, record in pairs if not record.accuracy]
    invalid = [name for name, record in pairs if record.accuracy and find_contradictions(record)]
    failing = [name for name, record in of_scored if failures_of(record)]
    notes = [
        f"{what}: {list_names(names)}."
        for what, names in (
            ("Without accuracy", missing),
            ("INVALID", invalid),
            ("Fails a gate of parity or accuracy", failing),
        )
        if names
    ]
    if len(of_scored) > len(scored):
        notes.append(f"The first {len(scored):,} of {len(of_scored):,} rows.")
    return notes
