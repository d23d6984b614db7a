"""Throughput and energy by GPU, as bars for each configuration that several GPUs ran.

A loader that decodes on the CPU depends on the rest of the machine too: the CPU's name is in the
caption or in a footnote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.records import naming
from fastbench.records.facts import device_name
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import bars, style
from fastbench.report.plots.caption import valid_records
from fastbench.report.plots.row_layout import add_columns, figures, group_rows, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from fastbench.records.record import Record

_WIDTH: Final = 8.5
_HEIGHT: Final = 0.24


@style.look()
def figure(records: Sequence[Record]) -> Figure:
    """Bars by GPU, in groups by configuration. Raises `NothingToShowError`."""
    valid, invalid = valid_records(records)
    on_gpu = [record for record in valid if record.device != "cpu" and device_name(record)]
    if not on_gpu:
        raise style.NothingToShowError("No valid row ran on a GPU. Measure on one.")
    machines: dict[tuple[object, ...], set[str | None]] = {}
    for record in on_gpu:
        machines.setdefault(_key(record), set()).add(device_name(record))
    shared = [record for record in on_gpu if len(machines[_key(record)]) > 1]
    if not shared:
        raise style.NothingToShowError(
            "No configuration was measured on two GPUs. Run the same command on another one."
        )
    grouped = group_rows(shared, "device", lambda record: record.throughput.images_per_s)
    rows = lay_out(grouped, width=_WIDTH, row_height=0.36)
    (axes,) = rows.panels
    for y, record in zip(rows.ys, grouped.records, strict=True):
        bars.draw_bar(axes, y, record, _HEIGHT)
    highest = max(max(record.throughput.rates) for record in grouped.records)
    style.scale_axis(axes, "x", 0, highest, from_zero=True)
    axes.set_xlabel(COLUMNS["images/s"].title)
    taken = add_columns(axes, rows.ys, _columns(grouped.records))
    if bars.any_fails(grouped.records):
        entries = bars.legend_entries(grouped.records)
        style.add_legend(axes, entries, _WIDTH - rows.left - taken - 0.3)
    alone = len(on_gpu) - len(shared)
    notes = [f"Left out: rows whose configuration one GPU alone ran ({alone})."] if alone else []
    said = [_meaning(grouped.records), *invalid, *notes]
    return rows.finish("Throughput by GPU, the same configuration on each", said)


def _key(record: Record) -> tuple[object, ...]:
    return naming.configuration_key(record, ("device",))


def _columns(records: Sequence[Record]) -> list[tuple[str, list[str]]]:
    slowest: dict[tuple[object, ...], float] = {}
    for record in records:
        rate = record.throughput.images_per_s
        slowest[_key(record)] = min(rate, slowest.get(_key(record), rate))
    ratios = [f"{r.throughput.images_per_s / slowest[_key(r)]:.2f}x" for r in records]
    return [
        *figures(records, "images/s"),
        ("of the\nslowest", ratios),
        *figures(records, "watts", "images/J"),
    ]


def _meaning(records: Sequence[Record]) -> str:
    if any(r.telemetry.images_per_joule if r.telemetry else None for r in records):
        return f"{bars.meaning(records)} Power, images/J: of the GPU alone, over the windows."
    return bars.meaning(records)
