"""Advice on a row, each with what to try next: a closed list.

First come doubts that make a figure wrong, then those that make it uncertain, then hints on how to
make it better. A row is not ranked by a figure that is in doubt; a hint leaves the rank as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fastbench.core.loader_facts import BUILT_IN, FASTEST_ON_CPU, SLOWER_ON_CPU
from fastbench.core.units import counted, format_quantity
from fastbench.core.value_types import share_of
from fastbench.records import machine_advice
from fastbench.records.verdict import headroom_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastbench.records.machine_advice import Said
    from fastbench.records.record import Record

NOISY: Final = 0.1
BOUND: Final = 1.25
ABOVE_CEILING: Final = 1.1
PADDED: Final = 0.05
CROWDED: Final = 1.25
"""Threads a core, beyond which loader and engine have more of them than can run at a time."""

SPEED: Final = "speed"
"""All that is timed: the machine was not as it should be."""
THROUGHPUT: Final = "throughput"
"""What the end-to-end windows show; what has a pass of its own is not in doubt."""
ACCURACY: Final = "accuracy"
HINT: Final = ""
DECODED_BYTES_PER_S: Final = 1e9
"""More than a core decodes of JPEGs' bytes: libjpeg-turbo reads some 0.1e9, scaled down 0.2e9."""
FLOPS: Final = {"float32": 2e12, "float16": 2e13, "bfloat16": 2e13}
"""More than a core computes: two units of AVX-512 at 5 GHz have 0.3e12, of AMX 8e12."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Its name in the list, what was seen, and what to try.

    `about` is what it puts in doubt: `SPEED`, `THROUGHPUT` or `ACCURACY`; empty for a hint. `size`
    tells which of several rows has it worst, the larger the worse. `num_rows` is how many rows it
    is the worst of.
    """

    name: str
    about: str
    seen: str
    remedy: str
    size: float = 0
    num_rows: int = 1

    def __str__(self) -> str:
        return f"{self.seen}: {self.remedy}"

    @property
    def kind(self) -> tuple[str, str]:
        """Equal for rows that share a footnote; advice without a size does so in the same words."""
        return self.name, "" if self.size else self.seen

    @property
    def doubt(self) -> str:
        """What it puts in doubt, and what was seen in the worst row."""
        return f"{self.about} in doubt: {self._seen_in_the_worst}"

    @property
    def in_doubt(self) -> str:
        """The same for the footnote of a row that is not ranked by it."""
        return f"{self.about} in doubt, not ranked by it: {self._seen_in_the_worst}"

    @property
    def _seen_in_the_worst(self) -> str:
        worst = f" (the worst of {self.num_rows} rows)" if self.num_rows > 1 else ""
        return self.seen + worst


def advise(record: Record) -> list[Advice]:
    """The doubts about a record, the gravest first; then the hints."""
    found = ((name, about, check(record)) for name, (about, check) in _CHECKS.items())
    return [Advice(name, about, *said) for name, about, said in found if said is not None]


def worst_of(every: Sequence[Sequence[Advice]]) -> list[tuple[int, Advice]]:
    """The advice on several rows, the gravest first: each kind once, and the row that has it worst.

    `every` has the advice on each row; a row is its number there.
    """
    found: dict[tuple[str, str], list[tuple[int, Advice]]] = {}
    for number, of_row in enumerate(every):
        for advice in of_row:
            found.setdefault(advice.kind, []).append((number, advice))
    worst = []
    for its in sorted(found.values(), key=lambda its: NAMES.index(its[0][1].name)):
        number, advice = max(its, key=lambda pair: pair[1].size)  # the first of equals
        are_unlike = len({other.seen for _, other in its}) > 1
        worst.append((number, replace(advice, num_rows=len(its) if are_unlike else 1)))
    return worst


def _recompiled(record: Record) -> Said:
    if not record.compilation or not record.compilation.num_recompiles:
        return None
    num = record.compilation.num_recompiles
    return (
        f"torch.compile made {counted(num, 'more graph')} in the timed passes, so the "
        f"throughput is too low",
        "set TORCH_LOGS=recompiles to see why, or --no-compile",
        num,
    )


def _ran_eagerly(record: Record) -> Said:
    if not record.compilation or record.compilation.num_graphs:
        return None
    return "torch.compile made no graph, and the model ran eagerly", "--no-compile says so openly"


def _graph_breaks(record: Record) -> Said:
    if not record.compilation or not record.compilation.num_graph_breaks:
        return None
    num = record.compilation.num_graph_breaks
    return (
        f"torch.compile broke the model into parts ({counted(num, 'graph break')})",
        "set TORCH_LOGS=graph_breaks to see where",
        num,
    )


def _above_decoding(record: Record) -> Said:
    num_bytes, num_cores = record.data.get("num_bytes"), record.num_cores
    if not (record.decodes and record.device == "cpu" and num_bytes and num_cores):
        return None
    rate = max(record.throughput.images_per_s, record.ceilings.get("loader", 0))
    each = num_bytes / record.data["num_samples"]
    if rate * each <= num_cores * DECODED_BYTES_PER_S:
        return None
    return (
        f"{rate:,.0f} images/s are {rate * each / 1e9:,.1f} GB/s of JPEGs, more than "
        f"{counted(num_cores, 'core')} can decode, so they were not decoded while they were timed",
        f"fastbench loaders check {record.loader}",
    )


def _above_arithmetic(record: Record) -> Said:
    num_cores = record.num_cores
    most = FLOPS.get(record.dtype)
    if not (record.device == "cpu" and num_cores and record.num_macs and most):
        return None
    rate = max(record.throughput.images_per_s, record.ceilings.get("model", 0))
    flops = 2 * record.num_macs * rate
    if flops <= num_cores * most:
        return None
    return (
        f"{rate:,.0f} images/s of the model are {flops / 1e12:,.1f} TFLOP/s, more than "
        f"{counted(num_cores, 'core')} can compute, so it did not compute all of them",
        "a model that keeps no results, on data that differ",
    )


def _above_ceiling(record: Record) -> Said:
    if record.overlap is None:
        return None
    ratio, interval = record.overlap
    if ratio < ABOVE_CEILING and (interval is None or interval[0] <= 1):
        return None
    scope = f" (95 %: {interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    return (
        f"end to end is {ratio:.2f}x the {record.bound} alone{scope}, which cannot be but by noise"
        + (", or a loader with a longer queue than it states" if record.bound == "loader" else ""),
        "run again on a quiet machine, with more --windows",
        ratio,
    )


def _padded(record: Record) -> Said:
    share, num_images = record.throughput.padded_share, record.data["num_samples"]
    if share <= PADDED:
        return None
    return (
        f"{format_quantity(100 * share)} % of the places in the batches of {record.batch_size} "
        f"were empty, which the model computes all the same",
        f"a --batch-size that divides the {counted(num_images, 'image')}, or more images",
        share,
    )


def _doubted_accuracy(record: Record) -> Said:
    if not record.accuracy_doubts or record.weights == "none":
        return None
    return "; ".join(record.accuracy_doubts), "check the weights, the labels and the loader"


def _random_weights(record: Record) -> Said:
    if record.weights != "none" or record.accuracy is None:
        return None
    return "the model's weights are random, so its accuracy is chance", "--weights DEFAULT"


def _unsettled(record: Record) -> Said:
    if record.throughput.is_settled is not False:
        return None
    return (
        "the step time had not settled when the warm-up ended",
        "a larger --min-seconds, or a quieter machine",
    )


def _noisy(record: Record) -> Said:
    if record.throughput.spread < NOISY:
        return None
    return (
        f"the windows' throughputs differ by {100 * record.throughput.spread:.0f} %",
        "more --windows, a larger --min-seconds, or --ab for a comparison",
        record.throughput.spread,
    )


def _wide(record: Record) -> Said:
    if (wanted := record.config.get("max_interval")) is None:
        return None
    reach = record.throughput.reach
    if reach is None or reach <= share_of(wanted):
        return None
    return (
        f"after {counted(len(record.throughput.rates), 'window')} the throughput is known to "
        f"{100 * reach:.1f} %, and not to the {100 * share_of(wanted):g} % of --max-interval",
        "more --windows (it stops at ten times as many), or a quieter machine",
        reach,
    )


def _as_found(record: Record) -> Said:
    state = record.data.get("page_cache")
    if state in ("warm", "cold", None):
        return None
    if state == "not cold":
        return "the files stayed in the page cache", "another file system, or --page-cache warm"
    return (
        "the files take over half of the memory, and the page cache is as it was found",
        "fewer images with --limit, or --page-cache cold",
    )


def _serial(record: Record) -> Said:
    if record.contention != "serial":
        return None
    return (
        f"loader and model take turns: for {100 * (record.throughput.stall_share or 0):.0f} % of "
        f"the time the host waits for a loader that does not read ahead",
        f"--loader-option {record.loader}.prefetch=4",
        record.throughput.stall_share or 0,
    )


def _contended(record: Record) -> Said:
    if record.contention != "shared":
        return None
    share = record.sharing_efficiency or record.overlap_efficiency or 0
    of = "the slower one" if record.sharing is None else "what two who share the cores can"
    reached = f"{100 * share:.0f} % of {of}"
    return (
        f"loader and model take from each other: together they reach {reached}",
        _fewer_threads(record)
        if record.device == "cpu"
        else f"--loader-option {record.loader}.prefetch=4",
        -share,
    )


def _fewer_threads(record: Record) -> str:
    """On a CPU. Torch's threads sleep while they wait; those of another engine may spin."""
    num_cores, of_engine = record.num_cores, record.engine and record.engine.num_threads
    if of_engine and num_cores and not record.compile_mode:
        num = record.num_threads + of_engine
        if num > CROWDED * num_cores:
            return (
                f"fewer --model-threads ({of_engine}) and --num-threads ({record.num_threads}): "
                f"{num} share {counted(num_cores, 'core')}"
            )
    return "fewer --num-threads" if record.num_threads > 1 else "more cores"


def _loader_bound(record: Record) -> Said:
    if record.bound != "loader" or (record.headroom or 1) < BOUND:
        return None
    return headroom_in_words(record) or "", _faster_loader(record), record.headroom or 1


def _faster_loader(record: Record) -> str:
    """A loader by its name only where it was measured to be faster."""
    num_cores, most = record.environment.get("num_cores"), BUILT_IN[FASTEST_ON_CPU].num_cores
    if record.device != "cpu" or not num_cores or not most or num_cores > most:
        return "more --num-threads, or --loader all to see which is the fastest here"
    if record.loader in SLOWER_ON_CPU:
        return f"--loader {FASTEST_ON_CPU}"
    if record.loader == FASTEST_ON_CPU:
        return "a machine with a GPU, or more cores"
    return "more --num-threads"


def _model_bound(record: Record) -> Said:
    if record.bound != "model" or (record.headroom or 1) < BOUND:
        return None
    if record.engine is not None and record.compile_mode is None:
        remedy = "other settings of its engine, or a larger --batch-size"
    elif record.compile_mode is None:
        remedy = "--compile, or another engine (--preset engines)"
    elif record.device != "cpu" and record.dtype == "float32":
        remedy = "--dtype float16"
    else:
        remedy = "a larger --batch-size"
    return headroom_in_words(record) or "", remedy, record.headroom or 1


_CHECKS: Final[dict[str, tuple[str, Callable[[Record], Said]]]] = {
    "above-decoding": (SPEED, _above_decoding),
    "above-arithmetic": (SPEED, _above_arithmetic),
    "recompiled": (THROUGHPUT, _recompiled),
    "ran-eagerly": (SPEED, _ran_eagerly),
    "throttled": (SPEED, machine_advice.throttled),
    "cpu-throttled": (SPEED, machine_advice.cpu_throttled),
    "unlike-machines": (SPEED, machine_advice.unlike_machines),
    "foreign-gpu": (SPEED, machine_advice.foreign_gpu),
    "foreign-cpu": (SPEED, machine_advice.foreign_cpu),
    "in-kernel": (SPEED, machine_advice.in_kernel),
    "above-ceiling": (THROUGHPUT, _above_ceiling),
    "padded": (THROUGHPUT, _padded),
    "random-weights": (ACCURACY, _random_weights),
    "doubted-accuracy": (ACCURACY, _doubted_accuracy),
    "unsettled": (THROUGHPUT, _unsettled),
    "noisy": (THROUGHPUT, _noisy),
    "wide": (THROUGHPUT, _wide),
    "as-found": (SPEED, _as_found),
    "straggler": (HINT, machine_advice.straggler),
    "graph-breaks": (HINT, _graph_breaks),
    "serial": (HINT, _serial),
    "contended": (HINT, _contended),
    "loader-bound": (HINT, _loader_bound),
    "model-bound": (HINT, _model_bound),
}
"""What each puts in doubt, and the check of it."""
NAMES: Final = tuple(_CHECKS)
