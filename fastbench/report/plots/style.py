"""The look of all plots: colours, markers, title and caption, and the file.

The colours are after Okabe and Ito's, which the colour-blind tell apart; what a colour says, a
marker, a hatch or a line says too. A figure is laid out once, at its final size, and then frozen,
so that measured widths of texts hold in PNG and SVG. A user's own style of matplotlib is ignored,
and the same records give the same bytes. Characters that the font lacks (DejaVu Sans has no
Chinese) are drawn as boxes.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import math
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

PALETTE: Final = (
    "#0072b2",  # blue
    "#d55e00",  # vermillion
    "#00855f",  # bluish green
    "#b0568a",  # reddish purple
    "#9a6f00",  # dark yellow
    "#2b8fc4",  # sky blue
    "#5c636b",  # grey
    "#6a4fb3",  # violet
)
"""The colours of `html/page.css`, after M. Okabe and K. Ito, "Color Universal Design" (2008)."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: Final = ("-", "--", "-.", ":")
TEXT: Final = "#222222"
MUTED: Final = "#555555"

DPI: Final = 150
TITLE_SIZE: Final = 12.5
CAPTION_SIZE: Final = 7.5
_CAPTION_LINE: Final = 0.135  # inches
_MARGIN: Final = 0.12  # inches
_LOOK: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.hashsalt": "fastbench",  # ids within the file that do not change from day to day
    "text.color": TEXT,
    "text.parse_math": False,  # a name may hold dollars
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
}


class NothingToShowError(UsageError):
    """The records do not have what a plot shows; the text says what is missing."""


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Within it, or in a function that it decorates, figures are made in this look."""
    import warnings

    import matplotlib.style

    with (
        matplotlib.style.context(["default", _LOOK], after_reset=True),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph")  # a folder's name in any script
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches; `finish` adds the height of title and caption."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=0.08, hspace=0.02, wspace=0.02)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def finish(
    figure: Figure, title: str, caption: Sequence[str], body: tuple[Axes, float] | None = None
) -> None:
    """Write title and caption (its paragraphs, of which some may be empty), lay out, and freeze.

    `body` are axes and how many inches high they have to be, whatever stands around them.
    """
    width, height = figure.get_size_inches()
    left = _MARGIN / width
    head = wrap(title, width - 2 * _MARGIN, TITLE_SIZE)
    figure.suptitle("\n".join(head), x=left, ha="left", fontsize=TITLE_SIZE)
    lines = [
        line for part in caption if part for line in wrap(part, width - 2 * _MARGIN, CAPTION_SIZE)
    ]
    figure.supxlabel(
        "\n".join(lines), x=left, ha="left", fontsize=CAPTION_SIZE, color=MUTED, linespacing=1.25
    )
    height += 0.3 * len(head) + _CAPTION_LINE * len(lines) + 0.1
    figure.set_size_inches(width, height)
    figure.draw_without_rendering()
    if body is not None:
        axes, inches = body
        height += inches - axes.get_window_extent().height / figure.dpi
        figure.set_size_inches(width, height)
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def encode(figure: Figure, kind: str) -> bytes:
    """The file's bytes; `kind` is `png` or `svg`."""
    file = io.BytesIO()
    with look():
        figure.savefig(file, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else {})
    return file.getvalue()


@functools.cache
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """How wide a line is in print, in inches."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    width, _, _ = _renderer().get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return float(width / DPI)


@functools.cache
def _renderer() -> RendererAgg:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(16, 16, DPI)  # type: ignore[no-untyped-call]


def wrap(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """A text as lines of at most so many inches; words that are wider are broken."""
    lines = [""]
    for word in printable(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size, weight) <= width:
            lines[-1] = longer
            continue
        own = text_width(word, size, weight)
        most = len(word) if own <= width else max(1, int(len(word) * width / own))
        lines += textwrap.wrap(word, most, break_on_hyphens=False)
    return [line for line in lines if line] or [""]


def printable(text: str) -> str:
    """A text that can be drawn: a folder's name need not be one."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\n", " ")


def fold(name: str, num_chars: int) -> list[str]:
    """A name in as few lines as possible, of like length.

    It is broken between its parts, `, `; and a part that is longer after spaces and `_-.`.
    """
    pieces: list[str] = []
    for part in re.split(r"(?<=, )", printable(name)):
        fits = len(part.rstrip()) <= num_chars
        finer = [part] if fits else re.findall(r"[^ _.-]*[ _.-]|[^ _.-]+", part)
        pieces += [x for piece in finer for x in _cut(piece, num_chars)]
    fewest = len(_fill(pieces, num_chars))
    widths = range(max((len(piece.rstrip()) for piece in pieces), default=0), num_chars + 1)
    return next(lines for width in widths if len(lines := _fill(pieces, width)) == fewest)


def _cut(part: str, num_chars: int) -> list[str]:
    text, space = part.rstrip(" "), part[len(part.rstrip(" ")) :]
    found = [text[i : i + num_chars] for i in range(0, len(text), num_chars)] or [""]
    return [*found[:-1], found[-1] + space]


def _fill(pieces: list[str], width: int) -> list[str]:
    lines = [""]
    for piece in pieces:
        if len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


def colour(number: int) -> str:
    """The colour of a number; numbers beyond the palette begin it again."""
    return PALETTE[number % len(PALETTE)]


def line_handle(**look: Any) -> Artist:
    """A line or a marker for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def add_legend(axes: Axes, entries: Mapping[str, Artist], width: float, pad: float = 0.3) -> None:
    """A legend above the axes, from their left edge, in as many columns as `width` inches hold.

    `entries` are handles by their labels; `pad` is what keeps the legend off the axes, in heights
    of its letters.
    """
    labels = list(entries)
    sizes = [0.55 + text_width(label, 8.5) for label in labels]
    num = len(labels)
    for columns in range(num, 0, -1):
        # As matplotlib fills them: the first ones have one entry more.
        rows, more = divmod(num, columns)
        starts = [i * rows + min(i, more) for i in range(columns + 1)]
        if sum(max(sizes[a:b]) for a, b in itertools.pairwise(starts)) <= width or columns == 1:
            break
    axes.legend(
        list(entries.values()),
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=pad,
        ncols=columns,
        handlelength=1.9,
        columnspacing=1.4,
    )


def few_ticks(axes: Axes) -> None:
    """At most five ticks on the x axis of a narrow panel, as plain numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def scale_axis(axes: Axes, which: str, low: float, high: float, *, from_zero: bool) -> bool:
    """Set an axis for values above zero: logarithmic where they span more than a decade.

    `which` is `x` or `y`. A linear axis begins at zero where `from_zero` says so. Returns whether
    it is logarithmic. Ticks are plain numbers.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    is_log = low > 0 and high > 10 * low
    if is_log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        room = (high / low) ** 0.07
        set_limits(low / room, high * room)
        few = math.log10(high / low) < 2.5
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=20))
        axis.set_minor_formatter(NullFormatter())
    else:
        room = max(0.09 * (high - low), 0.02 * high, 1e-9)
        set_limits(0 if from_zero else max(0, low - room), high + room)
        axis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    return is_log
