"""Doubts about a row, each with what to try next: a closed list.

First come doubts that make the figure wrong, then those that make it uncertain, then advice on how
to make it better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.loader_facts import FASTEST_ON, SLOWER_ON
from fastbench.core.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastbench.records.record import Record

NOISY: Final = 0.1
FOREIGN_CPU: Final = 0.1
THROTTLED: Final = 0.01
BOUND: Final = 1.25
ABOVE_CEILING: Final = 1.1


@dataclass(frozen=True, slots=True)
class Advice:
    """A doubt: its name in the list, what was seen, and what to try."""

    name: str
    doubt: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.doubt}: {self.remedy}"


def advise(record: Record) -> list[Advice]:
    """The doubts about a record, the gravest first."""
    found = ((name, check(record)) for name, check in _CHECKS.items())
    return [Advice(name, *said) for name, said in found if said is not None]


def advise_all(records: Sequence[Record], most: int) -> list[tuple[Record, Advice]]:
    """The gravest doubts about several rows, each only for the first row that has it."""
    every = [(record, advice) for record in records for advice in advise(record)]
    every.sort(key=lambda pair: NAMES.index(pair[1].name))  # stable: rows keep their order
    first: dict[str, tuple[Record, Advice]] = {}
    for record, advice in every:
        first.setdefault(advice.name, (record, advice))
    return list(first.values())[:most]


_Said = tuple[str, str] | None


def _recompiled(record: Record) -> _Said:
    if not record.compilation or not record.compilation.num_recompiles:
        return None
    num = record.compilation.num_recompiles
    return (
        f"torch.compile made {counted(num, 'more graph')} in the timed passes, so the "
        f"throughput is too low",
        "set TORCH_LOGS=recompiles to see why, or --no-compile",
    )


def _ran_eagerly(record: Record) -> _Said:
    if not record.compilation or record.compilation.num_graphs:
        return None
    return "torch.compile made no graph, and the model ran eagerly", "--no-compile says so openly"


def _graph_breaks(record: Record) -> _Said:
    if not record.compilation or not record.compilation.num_graph_breaks:
        return None
    num = record.compilation.num_graph_breaks
    return (
        f"torch.compile broke the model into parts ({counted(num, 'graph break')})",
        "set TORCH_LOGS=graph_breaks to see where",
    )


def _throttled(record: Record) -> _Said:
    gpu = record.telemetry.gpu if record.telemetry else None
    if gpu is None or not gpu.throttle_reasons:
        return None
    return (
        f"the GPU lowered its clocks ({', '.join(gpu.throttle_reasons)})",
        "cool it or raise its power limit (nvidia-smi -q -d PERFORMANCE), and run again",
    )


def _cpu_throttled(record: Record) -> _Said:
    share = record.telemetry.throttled_share if record.telemetry else None
    if share is None or share < THROTTLED:
        return None
    return (
        f"the CPU quota was used up in {100 * share:.0f} % of its periods, and the run stood still",
        "raise the quota (docker run --cpus, limits.cpu of a pod), or use fewer --num-threads and "
        "--model-threads",
    )


def _foreign_gpu(record: Record) -> _Said:
    gpu = record.telemetry.gpu if record.telemetry else None
    if gpu is None or not gpu.num_foreign_processes:
        return None
    return (
        f"{counted(gpu.num_foreign_processes, 'other process', 'other processes')} on the GPU",
        "end what nvidia-smi lists, and run again",
    )


def _foreign_cpu(record: Record) -> _Said:
    share = record.telemetry.foreign_cpu_share if record.telemetry else None
    if share is None or share < FOREIGN_CPU:
        return None
    return (
        f"other processes took {100 * share:.0f} % of the time of the cores that the run may use",
        "end them and run again, or compare with --ab, which they slow alike",
    )


def _above_ceiling(record: Record) -> _Said:
    if record.overlap_efficiency is None or record.overlap_efficiency < ABOVE_CEILING:
        return None
    return (
        f"end to end is {record.overlap_efficiency:.2f}x the {record.bound} alone, which cannot be "
        f"but by noise",
        "run again on a quiet machine, with a larger --min-seconds",
    )


def _unsettled(record: Record) -> _Said:
    if record.throughput.is_settled is not False:
        return None
    return (
        "the step time had not settled when the warm-up ended",
        "a larger --min-seconds, or a quieter machine",
    )


def _noisy(record: Record) -> _Said:
    if record.throughput.spread < NOISY:
        return None
    return (
        f"the windows' throughputs differ by {100 * record.throughput.spread:.0f} %",
        "more --windows, a larger --min-seconds, or --ab for a comparison",
    )


def _as_found(record: Record) -> _Said:
    state = record.data.get("page_cache", "warm")
    if state in ("warm", "cold"):
        return None
    if state == "not cold":
        return "the files stayed in the page cache", "another file system, or --page-cache warm"
    return (
        "the files take over half of the memory, and the page cache is as it was found",
        "fewer images with --limit, or --page-cache cold",
    )


def _serial(record: Record) -> _Said:
    if record.contention != "serial":
        return None
    return (
        f"loader and model take turns: for {100 * (record.throughput.stall_share or 0):.0f} % of "
        f"the time the host waits for a loader that does not read ahead",
        f"--loader-option {record.loader}.prefetch=4",
    )


def _contended(record: Record) -> _Said:
    if record.contention != "shared":
        return None
    return (
        f"loader and model take from each other: together they reach "
        f"{100 * (record.overlap_efficiency or 0):.0f} % of the slower one",
        ("fewer --num-threads" if record.num_threads > 1 else "more cores")
        if record.device == "cpu"
        else f"--loader-option {record.loader}.prefetch=4",
    )


def _loader_bound(record: Record) -> _Said:
    if record.bound != "loader" or (record.headroom or 1) < BOUND:
        return None
    kind = "cpu" if record.device == "cpu" else "cuda"
    if record.loader in SLOWER_ON[kind]:
        remedy = f"--loader {FASTEST_ON[kind]}"
    elif kind == "cpu" and record.loader == FASTEST_ON[kind]:
        remedy = "a machine with a GPU, or more cores"
    else:
        remedy = "more --num-threads"
    return f"loader-bound, the model alone is {record.headroom:.1f}x as fast", remedy


def _model_bound(record: Record) -> _Said:
    if record.bound != "model" or (record.headroom or 1) < BOUND:
        return None
    if record.engine is not None:
        remedy = "other settings of its engine, or a larger --batch-size"
    elif record.compile_mode is None:
        remedy = "--compile"
    elif record.device != "cpu" and record.dtype == "float32":
        remedy = "--dtype float16"
    else:
        remedy = "a larger --batch-size"
    return f"model-bound, the loader alone is {record.headroom:.1f}x as fast", remedy


_CHECKS: Final[dict[str, Callable[[Record], _Said]]] = {
    "recompiled": _recompiled,
    "ran-eagerly": _ran_eagerly,
    "graph-breaks": _graph_breaks,
    "throttled": _throttled,
    "cpu-throttled": _cpu_throttled,
    "foreign-gpu": _foreign_gpu,
    "foreign-cpu": _foreign_cpu,
    "above-ceiling": _above_ceiling,
    "unsettled": _unsettled,
    "noisy": _noisy,
    "as-found": _as_found,
    "serial": _serial,
    "contended": _contended,
    "loader-bound": _loader_bound,
    "model-bound": _model_bound,
}
NAMES: Final = tuple(_CHECKS)
