"""What can a report show of a record? A registry of columns, by name; and named sets of them.

A column says all that a table, a plot or a page has to know of a figure: its heading and what it
means, how it is read from a row and in which unit, how it is written for people, which direction is
better. It knows nothing of formats, and rounds only in its text:

    read    Row -> the raw value in the unit `unit` (SI, shares of 0..1), None where there is none
    bounds  Row -> the range of that value: a 95 % interval, or the windows' extremes
    text    the value as people read it; `detail` is a second, smaller text below it
    words   the value in a sentence: `batch 32`, where a column's one value stands above the table

To add one, write one entry; the help, the legend, every format and `--sort` have it then. What it
does not know: whether two rows may be compared (see `unlike.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from fastbench.errors import UnknownNameError, did_you_mean
from fastbench.stats import supported_percentile
from fastbench.units import (
    NOT_AVAILABLE,
    format_milliseconds,
    format_percent,
    format_points,
    format_quantity,
    format_rate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastbench.measurements import GpuTelemetry, Telemetry
    from fastbench.report.rows import Row

__all__ = ["COLUMNS", "SETS", "Bounds", "Choice", "Column", "Value", "choose", "find", "list_all"]

Value: TypeAlias = "str | int | float | None"
Bounds: TypeAlias = "tuple[float, float] | None"

RUN: Final = "what was run"
SPEED: Final = "speed"
PREDICTIONS: Final = "predictions"
COST: Final = "what it took"
MACHINE: Final = "machine and software"
FILE: Final = "record"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; see the module.

    `unit` is that of the raw value, `shown_unit` that of the text where it is another. `best` is
    the better direction, empty where there is none. `topic` is what a table keeps together.
    """

    name: str
    heading: str
    meaning: str
    topic: str
    read: Callable[[Row], Value]
    show: Callable[[Any], str] = str
    unit: str = ""
    shown_unit: str | None = None
    best: Literal["max", "min", ""] = ""
    align: Literal["left", "right"] = "right"
    bounds: Callable[[Row], Bounds] | None = None
    show_bounds: Callable[[float, float], str] | None = None
    detail: Callable[[Row], str | None] | None = None
    words: Callable[[Any], str] = str
    aliases: tuple[str, ...] = ()

    @property
    def is_label(self) -> bool:
        """Whether it says which row this is, and not what was measured."""
        return self.topic in (RUN, MACHINE, FILE)

    @property
    def title(self) -> str:
        """The heading with the unit of what is shown: `latency ms`."""
        unit = self.unit if self.shown_unit is None else self.shown_unit
        return self.heading if not unit or unit in self.heading else f"{self.heading} {unit}"

    @property
    def raw_title(self) -> str:
        """The name with the unit of the raw value: `latency [s]`."""
        return self.name if self.unit in ("", self.name) else f"{self.name} [{self.unit}]"

    def text(self, value: Value) -> str:
        """A value as people read it."""
        return NOT_AVAILABLE if value is None else self.show(value)

    def detail_of(self, row: Row) -> str:
        """What stands below the value: its range, or a word; empty where there is nothing."""
        if self.detail is not None:
            return self.detail(row) or ""
        if self.show_bounds is None or (bounds := row.bounds(self)) is None:
            return ""
        return self.show_bounds(*bounds)


@dataclass(frozen=True)
class Choice:
    """A column of a table; `is_asked` where it was named itself and not by a set of columns."""

    column: Column
    is_asked: bool


def _label(name: str, meaning: str, read: Callable[[Row], Value], **more: Any) -> Column:
    """A column of words: left, and without a better direction."""
    given = {"heading": name, "topic": RUN, "align": "left"}
    return Column(name=name, meaning=meaning, read=read, **{**given, **more})


def _gpu(row: Row) -> GpuTelemetry | None:
    return row.record.telemetry.gpu if row.record.telemetry else None


def _telemetry(row: Row, read: Callable[[Telemetry], float | None]) -> float | None:
    return read(row.record.telemetry) if row.record.telemetry else None


def _windows(row: Row) -> Bounds:
    rates = row.record.throughput.rates
    return (min(rates), max(rates)) if len(rates) > 1 else None


def _step(pct: float) -> Callable[[Row], Value]:
    def read(row: Row) -> Value:
        return supported_percentile(row.steps_s, pct) if row.steps_s else None

    return read


def _of_accuracy(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.record.accuracy, name) if row.record.accuracy else None


def _of_parity(name: str) -> Callable[[Row], Any]:
    """A figure of the parity with the reference, which the reference has none of."""

    def read(row: Row) -> Any:
        parity = row.record.parity
        return None if parity is None or parity.is_reference else getattr(parity, name)

    return read


def _of_pixels(name: str) -> Callable[[Row], Any]:
    def read(row: Row) -> Any:
        pixels = _of_parity("pixels")(row)
        return getattr(pixels, name) if pixels else None

    return read


def _loader_cpu(row: Row) -> float | None:
    ceiling = row.record.loader_ceiling
    cpu_s: float | None = getattr(ceiling, "cpu_s", None)
    return 1000 * cpu_s / ceiling.num_images if ceiling and cpu_s is not None else None


def _jpeg_bytes(row: Row) -> float | None:
    num_bytes = row.record.data.get("num_bytes")
    if num_bytes is None:
        return None
    return num_bytes / row.record.data["num_samples"] * row.record.throughput.images_per_s


def _peak(readings: list[int] | None) -> int | None:
    return max(readings, default=None) if readings else None


def _cost(row: Row) -> float | None:
    if row.price_per_h is None:
        return None
    return row.price_per_h / 3600 * 1e6 / row.record.throughput.images_per_s


def _share_bounds(low: float, high: float) -> str:
    return f"{100 * low:.1f}–{100 * high:.1f}"


def _rates(low: float, high: float) -> str:
    return f"{format_rate(low)}–{format_rate(high)}"


def _scaled(factor: float) -> Callable[[float], str]:
    return lambda value: format_quantity(value * factor)


def _counted(singular: str) -> Callable[[int], str]:
    return lambda number: f"{number:,} {singular}{'' if number == 1 else 's'}"


_ALL: Final = (
    _label(
        "device",
        "the GPU that the model ran on, or the CPU where it ran there",
        lambda row: row.device,
        aliases=("gpu",),
    ),
    _label("model", "the model's name", lambda row: row.record.model),
    _label(
        "weights",
        "the model's weights",
        lambda row: row.record.weights,
        words=lambda value: "" if value == "embedded" else f"weights {value}",
    ),
    _label("loader", "what turned files into batches", lambda row: row.record.loader),
    _label(
        "decoder",
        "what the loader decoded JPEGs with",
        lambda row: row.record.loader_settings.get("decoder"),
        words="decoder {}".format,
    ),
    _label("dtype", "the model's number format", lambda row: row.record.dtype),
    _label(
        "batch",
        "images a batch",
        lambda row: row.record.batch_size,
        show="{:,}".format,
        align="right",
        words="batch {:,}".format,
    ),
    _label(
        "compile",
        "torch.compile's mode, or eager",
        lambda row: row.record.compile_mode or "eager",
        words=lambda value: value if value == "eager" else f"compile={value}",
    ),
    _label(
        "threads",
        "the loader's threads or worker processes",
        lambda row: row.record.num_threads,
        align="right",
        words=_counted("thread"),
    ),
    _label(
        "images",
        "images of the data set that were used",
        lambda row: row.record.data["num_samples"],
        show="{:,}".format,
        align="right",
        words=_counted("image"),
    ),
    _label(
        "digest",
        "which images these are: the first digits of their digest",
        lambda row: row.record.data.get("digest"),
        show=lambda value: value[:10],
        words=lambda value: f"digest {value[:10]}",
    ),
    _label(
        "page-cache",
        "whether the files were in memory: warm or cold",
        lambda row: row.record.data.get("page_cache"),
        heading="page cache",
        words="page cache {}".format,
    ),
    Column(
        name="images/s",
        heading="images/s",
        meaning="throughput from files to predictions, median of the windows, and their range",
        topic=SPEED,
        unit="images/s",
        read=lambda row: row.record.throughput.images_per_s,
        show=format_rate,
        best="max",
        bounds=_windows,
        show_bounds=_rates,
        aliases=("throughput",),
    ),
    Column(
        name="ratio",
        heading="ratio",
        meaning="images/s over that of the same configuration in the baseline, with 95 % interval",
        topic=SPEED,
        read=lambda row: row.ratio,
        show="{:.2f}x".format,
        best="max",
        bounds=lambda row: row.ratio_interval,
        show_bounds="{:.2f}–{:.2f}".format,
    ),
    Column(
        name="spread",
        heading="spread",
        meaning="the largest of the windows' throughputs less the smallest, of their median",
        topic=SPEED,
        unit="share",
        shown_unit="%",
        read=lambda row: (
            row.record.throughput.spread if len(row.record.throughput.rates) > 1 else None
        ),
        show=_scaled(100),
        best="min",
    ),
    Column(
        name="loader-ceiling",
        heading="loader alone",
        meaning="throughput of the loader alone",
        topic=SPEED,
        unit="images/s",
        read=lambda row: row.record.ceilings.get("loader"),
        show=format_rate,
        best="max",
    ),
    Column(
        name="model-ceiling",
        heading="model alone",
        meaning="throughput of the model alone on a resident batch, less the last batch's padding",
        topic=SPEED,
        unit="images/s",
        read=lambda row: row.record.ceilings.get("model"),
        show=format_rate,
        best="max",
    ),
    Column(
        name="of-ceiling",
        heading="of ceiling",
        meaning="images/s over the loader alone or the model alone, whichever is slower",
        topic=SPEED,
        unit="share",
        shown_unit="%",
        read=lambda row: row.record.overlap_efficiency,
        show=lambda value: f"{100 * value:.0f}",
        best="max",
        detail=lambda row: row.record.bound,
    ),
    Column(
        name="bound",
        heading="bound",
        meaning="what is slower alone: loader or model",
        topic=SPEED,
        read=lambda row: row.record.bound,
        align="left",
    ),
    Column(
        name="verdict",
        heading="verdict",
        meaning="what limits the pipeline, in words",
        topic=SPEED,
        read=lambda row: row.record.verdict,
        align="left",
    ),
    Column(
        name="stall",
        heading="stalled",
        meaning="share of the time in which the host waited for the loader",
        topic=SPEED,
        unit="share",
        shown_unit="%",
        read=lambda row: row.record.throughput.stall_share,
        show=lambda value: f"{100 * value:.0f}",
        best="min",
    ),
    *(
        Column(
            name=f"step-p{pct}",
            heading=f"step p{pct}",
            meaning=f"from one completed batch to the next, pipeline full: {said}",
            topic=SPEED,
            unit="s",
            shown_unit="ms",
            read=_step(pct),
            show=format_milliseconds,
            best="min",
        )
        for pct, said in (
            (50, "median"),
            (90, "90 % are shorter; from 64 steps on"),
            (99, "99 % are shorter; from 662 steps on"),
        )
    ),
    Column(
        name="batch-latency",
        heading="latency",
        meaning="from asking for a batch to its predictions, nothing else in flight: median",
        topic=SPEED,
        unit="s",
        shown_unit="ms",
        read=lambda row: row.record.latency.median_s,
        show=format_milliseconds,
        best="min",
        aliases=("latency",),
    ),
    Column(
        name="images/J",
        heading="images/J",
        meaning="images for each joule that the GPU took",
        topic=COST,
        unit="images/J",
        read=lambda row: _telemetry(row, lambda telemetry: telemetry.images_per_joule),
        show=format_rate,
        best="max",
        aliases=("images/joule",),
    ),
    Column(
        name="cost",
        heading="$ per million",
        meaning="dollars for a million images at the --price of an hour of the device",
        topic=COST,
        unit="$/1,000,000 images",
        shown_unit="",
        read=_cost,
        show=format_quantity,
        best="min",
    ),
    Column(
        name="watts",
        heading="power",
        meaning="mean power of the GPU while the windows ran",
        topic=COST,
        unit="W",
        read=lambda row: _telemetry(row, lambda telemetry: telemetry.watts),
        show=lambda value: f"{value:.0f}",
    ),
    Column(
        name="cpu-s",
        heading="CPU s / 1,000",
        meaning="CPU seconds for 1,000 images end to end, all processes of the run together",
        topic=COST,
        unit="s/1,000 images",
        shown_unit="",
        read=lambda row: _telemetry(row, lambda telemetry: telemetry.cpu_s_per_1000_images),
        show=format_quantity,
        best="min",
    ),
    Column(
        name="loader-cpu-s",
        heading="loader CPU s / 1,000",
        meaning="CPU seconds for 1,000 images of the loader alone",
        topic=COST,
        unit="s/1,000 images",
        shown_unit="",
        read=_loader_cpu,
        show=format_quantity,
        best="min",
    ),
    Column(
        name="gpu-memory",
        heading="GPU memory",
        meaning="the most memory in use on the GPU, by all its processes",
        topic=COST,
        unit="bytes",
        shown_unit="GB",
        read=lambda row: _peak(gpu.memory_used_bytes if (gpu := _gpu(row)) else None),
        show=_scaled(1e-9),
        best="min",
    ),
    Column(
        name="rss",
        heading="resident memory",
        meaning="the most resident memory of all processes of the run together",
        topic=COST,
        unit="bytes",
        shown_unit="GB",
        read=lambda row: _peak(row.record.telemetry.rss_bytes if row.record.telemetry else None),
        show=_scaled(1e-9),
        best="min",
    ),
    Column(
        name="jpeg",
        heading="JPEG",
        meaning="compressed bytes that were read and decoded a second",
        topic=COST,
        unit="bytes/s",
        shown_unit="MB/s",
        read=_jpeg_bytes,
        show=_scaled(1e-6),
    ),
    Column(
        name="compile-s",
        heading="compile time",
        meaning="the compiled model's first run beyond a later one",
        topic=COST,
        unit="s",
        read=lambda row: row.record.warm_up.compile_s if row.record.compile_mode else None,
        show=format_quantity,
        best="min",
    ),
    Column(
        name="parameters",
        heading="parameters",
        meaning="the model's parameters",
        topic=COST,
        unit="parameters",
        shown_unit="M",
        read=lambda row: getattr(row.record, "num_parameters", None),
        show=_scaled(1e-6),
    ),
    Column(
        name="macs",
        heading="GMACs",
        meaning="multiplications and additions of the model for one image",
        topic=COST,
        unit="MACs",
        shown_unit="",
        read=lambda row: getattr(row.record, "num_macs", None),
        show=_scaled(1e-9),
    ),
    Column(
        name="top-1",
        heading="top-1",
        meaning="share of right predictions, with 95 % interval",
        topic=PREDICTIONS,
        unit="share",
        shown_unit="%",
        read=_of_accuracy("top1"),
        show=format_percent,
        best="max",
        bounds=_of_accuracy("top1_interval"),
        show_bounds=_share_bounds,
    ),
    Column(
        name="top-5",
        heading="top-5",
        meaning="share with the right class among the first five, with 95 % interval",
        topic=PREDICTIONS,
        unit="share",
        shown_unit="%",
        read=_of_accuracy("top5"),
        show=format_percent,
        best="max",
        bounds=_of_accuracy("top5_interval"),
        show_bounds=_share_bounds,
    ),
    Column(
        name="published",
        heading="published top-1",
        meaning="top-1 that the weights' publisher states for all of ImageNet",
        topic=PREDICTIONS,
        unit="share",
        shown_unit="%",
        read=lambda row: row.record.published.top1 if row.record.published else None,
        show=format_percent,
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
        name="agreement",
        heading="agree",
        meaning="share of top-1 predictions equal to the reference's in float32",
        topic=PREDICTIONS,
        unit="share",
        shown_unit="%",
        read=_of_parity("agreement"),
        show=format_percent,
        best="max",
    ),
    Column(
        name="parity-max",
        heading="max level",
        meaning="largest difference of a pixel from the reference's, in levels of 0..255",
        topic=PREDICTIONS,
        unit="levels",
        shown_unit="",
        read=_of_pixels("max_levels"),
        show=format_quantity,
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
        show=format_quantity,
        best="min",
    ),
    Column(
        name="parity",
        heading="parity",
        meaning="exact (no pixel off by more than 1 level), equivalent (less than 0.5 in the mean, "
        "and 98.5 % agree), or different: not ranked",
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
    _label(
        "cpu",
        "the machine's CPU",
        lambda row: row.record.environment.get("cpu"),
        heading="CPU",
        topic=MACHINE,
    ),
    _label(
        "cores",
        "cores that the run could use",
        lambda row: row.record.environment.get("num_cores"),
        topic=MACHINE,
        align="right",
        words=_counted("core"),
    ),
    _label(
        "torch",
        "the version of torch",
        lambda row: row.package("torch"),
        topic=MACHINE,
        words="torch {}".format,
    ),
    _label(
        "dali",
        "the version of DALI",
        lambda row: row.package("nvidia-dali-cuda120", "nvidia-dali-cuda130"),
        heading="DALI",
        topic=MACHINE,
        words="DALI {}".format,
    ),
    _label(
        "driver",
        "the version of NVIDIA's driver",
        lambda row: row.record.environment.get("driver"),
        topic=MACHINE,
        words="driver {}".format,
    ),
    _label(
        "date",
        "when it was measured, UTC",
        lambda row: row.record.created,
        topic=FILE,
        show=lambda value: value[:16].replace("T", " "),
        words=lambda value: value[:10],
    ),
    _label("file", "the record's file", lambda row: str(row.path), topic=FILE),
)

COLUMNS: Final[dict[str, Column]] = {column.name: column for column in _ALL}
"""Every column by its name, in the order of the help and of `all`."""

_NAMES: Final = {alias: column for column in _ALL for alias in (column.name, *column.aliases)}

SETS: Final[dict[str, tuple[str, ...]]] = {
    "default": (
        *("images/s", "ratio", "of-ceiling", "batch-latency", "images/J", "cost"),
        *("top-1", "top-5", "agreement", "parity"),
    ),
    "loaders": (
        *("loader", "decoder", "loader-ceiling", "images/s", "ratio", "loader-cpu-s"),
        *("top-1", "agreement", "parity-max", "parity-mean", "parity"),
    ),
    "accuracy": (
        *("top-1", "top-5", "published", "delta-top-1"),
        *("agreement", "parity-max", "parity-mean", "parity"),
    ),
    "gpus": (
        *("device", "images/s", "ratio", "of-ceiling", "images/J", "cost", "watts", "gpu-memory"),
        *("top-1", "parity"),
    ),
    "latency": ("images/s", "ratio", "batch-latency", "step-p50", "step-p90", "step-p99", "stall"),
    "all": tuple(COLUMNS),
}
"""Columns that go well together. Those that tell the rows apart come before them by themselves."""


def find(name: str, others: Iterable[str] = ()) -> Column:
    """The column of this name or alias, whatever its case; `others` could have been meant too.

    Raises `UnknownNameError` for another name.
    """
    asked = name.strip()
    for known, column in _NAMES.items():
        if asked.lower().replace("_", "-") == known.lower():
            return column
    raise UnknownNameError(
        f"There is no column {asked!r}.{did_you_mean(asked, [*_NAMES, *others])} "
        f"`fastbench report --columns help` lists them."
    )


def choose(text: str) -> list[Choice]:
    """`loader,images/s` or `loaders,cost` -> columns, each once; names of sets stand for theirs.

    Raises `UnknownNameError` for a name that is neither, and where there is none.
    """
    choices: dict[str, Choice] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name in SETS:
            found = [Choice(COLUMNS[each], is_asked=False) for each in SETS[name]]
        else:
            found = [Choice(find(name, SETS), is_asked=True)]
        for choice in found:
            choices.setdefault(choice.column.name, choice)
    if not choices:
        raise UnknownNameError(
            "--columns is empty. `fastbench report --columns help` lists the columns."
        )
    return list(choices.values())


def list_all() -> str:
    """Every column with its unit and its meaning, then the sets, as plain text."""
    width = max(map(len, COLUMNS))
    lines: list[str] = []
    for topic in dict.fromkeys(column.topic for column in _ALL):
        lines += ["", f"{topic}:"] if lines else [f"{topic}:"]
        for column in _ALL:
            if column.topic == topic:
                also = f" (also: {', '.join(column.aliases)})" if column.aliases else ""
                lines.append(f"  {column.name:<{width}}  {column.meaning}{also}")
    lines += ["", "sets, which may be mixed with names:"]
    for name, names in SETS.items():
        said = "every column" if name == "all" else ", ".join(names)
        lines.append(f"  {name:<{width}}  {said}")
    return "\n".join(lines)
