"""How right is each model, and is that what its weights promise? A text and a bar chart of records.

The two files that an accuracy study leaves beside its records: `accuracy.txt`, a block a row, and
`accuracy.png`, two bars a row. Nothing is measured here.

What it does not know: whether the published figures are of the same images. The record says what
was scored, and the reader compares.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

from fastbench.errors import OutputError
from fastbench.units import format_percent, format_points, format_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastbench.findings import Accuracy, Published
    from fastbench.results import Record

__all__ = ["bar_chart", "summary", "write_study"]

_WIDTH: Final = 80
_INDENT: Final = 12
_NUM_CLASSES: Final = 5


def summary(records: Sequence[Record]) -> str:
    """One or more records as plain text of 80 columns: what they share, then a block a record."""
    facts = [_facts(record) for record in records]
    varying = [name for name in facts[0] if len({row[name] for row in facts}) > 1]
    lines = ["Top-1 and top-5 accuracy", "═" * _WIDTH]
    for name, text in facts[0].items():
        if name not in varying:
            lines += _entry(name, text)
    lines += _entry("date", _dates(records))
    for command in dict.fromkeys(record.command for record in records):
        lines += _entry("command", command)
    for record, row, names in zip(records, facts, _names(records), strict=True):
        title = textwrap.wrap(" · ".join(names), _WIDTH)
        lines += ["", *title, "─" * _WIDTH, *_entry("weights", record.weights)]
        for name in varying:
            if name != "loader":  # the title has it
                lines += _entry(name, row[name])
        lines += _block(record)
    return "\n".join([*lines, "", *_footnotes(records)]).rstrip() + "\n"


def bar_chart(records: Sequence[Record], path: Path) -> None:
    """Draw the records that have an accuracy, of which there must be one; PNG, or SVG by suffix.

    Raises `OutputError` where the file cannot be written.
    """
    picture = _picture(records, "svg" if path.suffix.lower() == ".svg" else "png")
    with _mapped_errors(path.parent):
        path.write_bytes(picture)


def write_study(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write `accuracy.txt` and `accuracy.png` into a folder; no earlier file is overwritten.

    Without any accuracy there is nothing to write. Raises `OutputError` where that fails.
    """
    if not any(record.accuracy for record in records):
        return []
    # A folder's name need not be text: what is none is spelt out.
    text = summary(records).encode("utf-8", "backslashreplace")
    contents = {".txt": text, ".png": _picture(records, "png")}
    with _mapped_errors(folder):
        number = 1
        while True:
            stem = "accuracy" if number == 1 else f"accuracy-{number}"
            paths = [folder / f"{stem}{suffix}" for suffix in contents]
            number += 1
            # The two bear one number, though only one of them be taken.
            if any(path.exists() for path in paths):
                continue
            with contextlib.suppress(FileExistsError):  # another run was faster
                for path, content in zip(paths, contents.values(), strict=True):
                    with open(path, "xb") as file:
                        file.write(content)
                return paths


@contextlib.contextmanager
def _mapped_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The accuracy study cannot be written to {folder} ({error.strerror}). "
            f"Free some space, or name another folder with --output."
        ) from error


def _facts(record: Record) -> dict[str, str]:
    """The conditions of a record that its neighbours may share, in words."""
    data, environment = record.data, record.environment
    num_classes = data.get("num_classes")
    gpu = [f"{environment['gpus'][0]['name']}"] if _on_gpu(record) else []
    cpu = f"{environment['cpu'] or 'unknown CPU'}, {environment['num_cores']} cores"
    compiled = f"torch.compile {record.compile_mode}" if record.compile_mode else "eager"
    return {
        "data": ", ".join(
            [
                str(data.get("root", "unknown folder")),
                f"{data['num_samples']:,} JPEGs",
                *([f"{num_classes:,} classes"] if num_classes else []),
            ]
        ),
        "machine": ", ".join([*gpu, cpu]),
        "conditions": f"{record.device}, {record.dtype}, batch {record.batch_size}, {compiled}",
        "loader": record.loader,
    }


def _on_gpu(record: Record) -> bool:
    return record.device != "cpu" and bool(record.environment["gpus"])


def _names(records: Sequence[Record]) -> list[list[str]]:
    """What each record is called among the others: its model, and what else tells it apart."""
    names = [[record.model] for record in records]
    for field in ("loader", "dtype", "compile_mode"):
        values = [getattr(record, field) or "eager" for record in records]
        if len(set(values)) > 1:
            names = [[*name, value] for name, value in zip(names, values, strict=True)]
    # Weights differ between models anyhow: they count where one model has several.
    if len({(r.model, r.weights) for r in records}) > len({r.model for r in records}):
        names = [[*name, r.weights] for name, r in zip(names, records, strict=True)]
    return names


def _dates(records: Sequence[Record]) -> str:
    """The first and the last row's; every row has its own."""
    dates = sorted(record.created.replace("T", " ") for record in records)
    return " to ".join(dict.fromkeys((dates[0], dates[-1]))).replace("+00:00", " UTC")


def _entry(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        text or "–",
        _WIDTH,
        initial_indent=f"{name:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
    )


def _block(record: Record) -> list[str]:
    """What was found of one record: its figures in a small table, and doubts."""
    throughput = f"{format_rate(record.throughput.images_per_s)} images/s"
    lines = _entry("throughput", f"{throughput}, {record.num_threads} threads")
    if record.accuracy is None:
        lines += _entry("accuracy", f"none: {record.labels.removeprefix('no labels: ')}")
    else:
        lines += _entry("n", f"{record.accuracy.num_samples:,} images, labels {record.labels}")
        lines += ["", *_table(record.accuracy, record.published), *_details(record.accuracy)]
    for note in record.notes:
        lines += _entry("note", note)
    return lines


def _table(accuracy: Accuracy, published: Published | None) -> list[str]:
    rows = [("", "%", "95 % interval", "hits", "published %", "Δ points")]
    for k, share, interval, hits in _shares(accuracy):
        low, high = map(format_percent, interval)
        row = (f"top-{k}", format_percent(share), f"{low}–{high}", f"{hits:,}")
        if published is None:
            rows.append((*row, "", ""))
        else:
            stated = _published(published, k)
            rows.append((*row, format_percent(stated), format_points(share - stated)))
    if published is None:
        rows = [(*row[:4], "", "") for row in rows]
    return [
        f"{name:<{_INDENT}}{share:>6}{interval:>16}{hits:>12}{stated:>15}{points:>12}".rstrip()
        for name, share, interval, hits, stated, points in rows
    ]


def _details(accuracy: Accuracy) -> list[str]:
    """The classes with the fewest hits, the most frequent confusions, and values on the way."""
    lines: list[str] = []
    if (found := accuracy.per_class) is not None:
        shares = [hits / n for hits, n in zip(found.top1_correct, found.num_samples, strict=True)]
        wnids = found.wnids or [""] * len(shares)
        hardest = sorted(range(len(shares)), key=lambda i: (shares[i], i))
        entries = [
            f"{format_percent(shares[i])} % of {found.num_samples[i]:,}: "
            f"{found.names[i]} {wnids[i]}".rstrip()
            for i in hardest[:_NUM_CLASSES]
            if shares[i] < 1
        ]
        lines += _column("hardest", entries)
    confused = [f"{x.count:,} x {x.label_name} as {x.predicted_name}" for x in accuracy.confusions]
    lines += _column("confused", confused[:_NUM_CLASSES])
    running = [
        f"{format_percent(x.top1_correct / x.num_samples):>6} % top-1 "
        f"{format_percent(x.top5_correct / x.num_samples):>6} % top-5 "
        f"after {x.num_samples:,} images"
        for x in accuracy.running
    ]
    return lines + _column("running", running)


def _column(name: str, entries: list[str]) -> list[str]:
    """A name, then its entries below each other; an empty line before."""
    if not entries:
        return []
    first, *rest = entries
    lines = _entry(name, first) + [line for entry in rest for line in _entry("", entry)]
    return ["", *lines]


def _shares(accuracy: Accuracy) -> list[tuple[int, float, tuple[float, float], int]]:
    return [
        (1, accuracy.top1, accuracy.top1_interval, accuracy.top1_correct),
        (5, accuracy.top5, accuracy.top5_interval, accuracy.top5_correct),
    ]


def _published(published: Published, k: int) -> float:
    return published.top1 if k == 1 else published.top5


def _footnotes(records: Sequence[Record]) -> list[str]:
    notes = []
    if any(record.accuracy for record in records):
        notes.append("95 % interval: Wilson's, of the share of hits among n.")
    if any(record.accuracy and record.published for record in records):
        notes.append(
            "Published: what the weights' publisher states for all of ImageNet's validation set; "
            "Δ: measured less published, in percentage points."
        )
    if any(record.config.get("quick") for record in records):
        notes.append("Measured with --quick: a first look, not a result.")
    return [line for note in notes for line in textwrap.wrap(note, _WIDTH)]


# The chart.

_MAX_GROUPS: Final = 12  # in one row of the chart; more go into further rows
_MIN_GROUPS: Final = 4  # the width of so many, at least: fewer stand in the middle
_GROUP_INCHES: Final = 1.15
_BAR: Final = 0.42  # of a group
_LABEL_CHARS: Final = 15  # of a tick label's line: what a group is wide
# Okabe and Ito's blue and orange, which differ in lightness too; and hatching, for print.
_STYLES: Final[dict[int, dict[str, Any]]] = {
    1: {"facecolor": "#0072B2", "hatch": ""},
    5: {"facecolor": "#E69F00", "hatch": "///"},
}
_LEGEND: Final = ("top-1", "top-5", "95 % interval (Wilson)", "published")


def _picture(records: Sequence[Record], kind: str) -> bytes:
    """The chart as a file's bytes, the same whatever style the user has set for matplotlib."""
    import warnings

    import matplotlib.style

    file = io.BytesIO()
    with matplotlib.style.context("default", after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a folder's name in any script
        figure = _figure(records)
        figure.savefig(file, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {})
    return file.getvalue()


def _figure(records: Sequence[Record]) -> Figure:
    """Groups of two bars, in as many rows as they need; what stands around them gets its room."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    scored = [record for record in records if record.accuracy]
    num_rows = math.ceil(len(scored) / _MAX_GROUPS)
    per_row = math.ceil(len(scored) / num_rows)
    span = max(_MIN_GROUPS, per_row)
    width = 1.2 + _GROUP_INCHES * span
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, 2.0 + 3.4 * num_rows), layout=layout)
    FigureCanvasAgg(figure)
    rows = figure.subplots(num_rows, 1, squeeze=False)[:, 0]
    names = _names(scored)
    for i, axes in enumerate(rows):
        part = slice(i * per_row, (i + 1) * per_row)
        _draw_axes(axes, names[part])
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
    entries = [label for label in _LEGEND if label in handles]
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "borderaxespad": 2}
    rows[0].legend(
        [handles[label] for label in entries], entries, ncols=4, frameon=False, fontsize=9, **above
    )
    rows[0].set_title("Top-1 and top-5 accuracy", fontsize=13, pad=46)
    caption = textwrap.fill(_caption(records), int(16 * (width - 0.4)), break_on_hyphens=False)
    figure.supxlabel(caption, x=0.02, ha="left", fontsize=8, color="#333333", parse_math=False)
    return figure


def _draw_axes(axes: Axes, names: list[list[str]]) -> None:
    labels = ["\n".join(line for part in name for line in _fold(part)) for name in names]
    axes.set_xticks(range(len(labels)), labels, fontsize=8.5, parse_math=False)
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("right predictions, %")
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_group(axes: Axes, position: int, record: Record) -> None:
    """Two bars with their intervals and figures, and what was published, left of the interval."""
    assert record.accuracy is not None
    for k, share, interval, _ in _shares(record.accuracy):
        x = position + (-_BAR / 2 if k == 1 else _BAR / 2)
        height, low, high = (100 * value for value in (share, *interval))
        axes.bar(x, height, _BAR, label=f"top-{k}", edgecolor="black", linewidth=0.8, **_STYLES[k])
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
        if record.published is not None:
            stated = 100 * _published(record.published, k)
            axes.plot(
                x - 0.3 * _BAR,
                stated,
                linestyle="none",
                marker="D",
                markersize=5,
                markerfacecolor="white",
                markeredgecolor="black",
                clip_on=False,
                label=_LEGEND[3],
            )
            # The figure stands above the marker where the two would meet.
            figure_y = stated if high < stated < high + 10 else high
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


def _fold(name: str) -> list[str]:
    """A name in as few lines as a group has room for, of like length, broken after `_-.`."""
    parts = re.findall(r"[^_.-]*[_.-]|[^_.-]+", name)
    pieces = [
        x for part in parts for x in textwrap.wrap(part, _LABEL_CHARS, break_on_hyphens=False)
    ]
    fewest = len(_fill(pieces, _LABEL_CHARS))
    widths = range(max(map(len, pieces), default=0), _LABEL_CHARS + 1)
    return next(lines for width in widths if len(lines := _fill(pieces, width)) == fewest)


def _fill(pieces: list[str], width: int) -> list[str]:
    lines = [""]
    for piece in pieces:
        if len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return lines


def _caption(records: Sequence[Record]) -> str:
    """The conditions; where they differ between bars, all there are. And who has no bars."""
    facts = [_facts(record) for record in records if record.accuracy]
    parts = [
        f"{name}: {' / '.join(dict.fromkeys(row[name] for row in facts))}" for name in facts[0]
    ]
    counts = dict.fromkeys(f"{r.accuracy.num_samples:,}" for r in records if r.accuracy)
    parts.append(f"n={' / '.join(counts)}")
    missing = [
        " ".join(name)
        for name, record in zip(_names(records), records, strict=True)
        if record.accuracy is None
    ]
    if missing:
        parts.append(f"without accuracy: {', '.join(missing)}")
    # A folder's name need not be text, and matplotlib draws nothing else.
    return " · ".join(parts).encode("utf-8", "backslashreplace").decode()
