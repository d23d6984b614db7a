"""Throughput and energy by GPU, as bars for each configuration that several GPUs ran.

A loader that decodes on the CPU depends on the rest of the machine too: the CPU's name is in the
caption or in a footnote. Ratios are to the GPU of the first row, as in a table with `--by gpu`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.records import naming
from fastbench.records.fact_values import device_name
from fastbench.report.columns.column import Row
from fastbench.report.columns.registry import COLUMNS
from fastbench.report.plots import bars, style
from fastbench.report.plots.caption import places_of, valid_records
from fastbench.report.plots.row_layout import add_columns, figures, group_rows, lay_out
from fastbench.report.sheet.ratios import means_over_models, with_ratios

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from fastbench.records.record import Record

_WIDTH: Final = 8.5
_HEIGHT: Final = 0.24
_HEADING_CHARS: Final = 14


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
    places = places_of(records, "device")
    for y, record in zip(rows.ys, grouped.records, strict=True):
        colour = style.colour(places[device_name(record)])
        bars.draw_bar(axes, y, record, _HEIGHT, colour)
    highest = max(max(record.throughput.rates) for record in grouped.records)
    style.scale_axis(axes, "x", 0, highest, from_zero=True)
    axes.set_xlabel(COLUMNS["images/s"].title)
    base = device_name(shared[0])
    speed, gpu = COLUMNS["images/s"], COLUMNS["device"]
    with_ratio = with_ratios([Row(record=record) for record in grouped.records], gpu, base)
    taken = add_columns(axes, rows.ys, _columns(with_ratio, str(base)))
    entries = bars.legend_entries(grouped.records)
    del entries["end to end"]  # whose colours are the GPUs'
    if entries:
        style.add_legend(axes, entries, _WIDTH - rows.left - taken - 0.3)
    alone = len(on_gpu) - len(shared)
    notes = [f"Left out: rows whose configuration one GPU alone ran ({alone})."] if alone else []
    names = list(dict.fromkeys(device_name(record) for record in shared))  # the base is the first
    mean = means_over_models(with_ratio, gpu, names, speed)
    said = [_meaning(grouped.records), f"Ratios are to {base}.", mean, *invalid, *notes]
    return rows.finish("Throughput by GPU, the same configuration on each", said)


def _key(record: Record) -> tuple[object, ...]:
    return naming.configuration_key(record, ("device",))


def _columns(rows: Sequence[Row], base: str) -> list[tuple[str, list[str]]]:
    heading = "\n".join(style.fold(f"ratio to {base}", _HEADING_CHARS))
    records = [row.record for row in rows]
    return [
        *figures(records, "images/s"),
        (heading, [COLUMNS["ratio"].text(row.ratio) for row in rows]),
        *figures(records, "watts", "images/J"),
    ]


def _meaning(records: Sequence[Record]) -> str:
    if any(r.telemetry.images_per_joule if r.telemetry else None for r in records):
        return f"{bars.meaning(records)} Power, images/J: of the GPU alone, over the windows."
    return bars.meaning(records)
