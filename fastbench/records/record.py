"""A record: what was run, on what, and the raw numbers.

Nothing is rounded and nothing derived is stored: throughput, percentiles and intervals are
properties. SI units; `_s` is seconds. `store.py` writes a record as a JSON file.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from fastbench.core.loader_facts import decodes
from fastbench.core.stats import hodges_lehmann_interval
from fastbench.core.units import counted
from fastbench.core.value_types import PUBLISHED_TOLERANCE
from fastbench.records.accuracy import Accuracy, Parity, ProgramCheck, Published
from fastbench.records.engine import Calibration, Engine
from fastbench.records.fields import Amount, Count, Positive, Stored
from fastbench.records.ranks import RankPart
from fastbench.records.speed import (
    Ceiling,
    Compilation,
    Latency,
    Round,
    Telemetry,
    Throughput,
    Trial,
    WarmUp,
)
from fastbench.records.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.core.errors import FastbenchError

EVERY_LOADER: Final = "every loader"
"""The loader of a failed row whose model, dtype, compilation or batch size is at fault."""
UNREAD: Final = "no labels: the images are not read"
"""`labels` of a row whose loader makes images of its own."""
NO_PARITY: Final = "no parity, for the reference failed"
"""How the note of a row begins that could not be compared."""
CONTENDED: Final = 0.85
SERIAL: Final = 0.8


class Described(Stored, frozen=True, kw_only=True):
    """What every kind of record says of its run.

    `schema_version` is of the file (`store.py` has its history), `created` the UTC time in ISO
    8601, `command` the command line. `device` is torch's name of it; it and `batch_size` are
    what was run, also where the configuration leaves the choice. `config` has every option as it
    was set, `environment` the machine and its software, `data` the images and the page cache,
    `preprocess` how an image becomes the model's input and where that was read, `loader_settings`
    what the loader itself reports. `files` has the SHA-256 of the files of weights and model that
    were named, by option. `engine` is what runs the model; None if torch does. `process` is what
    the row ran in: a process of its own, or the caller's, whose model was an object in memory.
    """

    schema_version: Count
    created: str
    command: str
    loader: str
    model: str
    weights: str
    device: str
    batch_size: Positive
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    preprocess: dict[str, Any]
    loader_settings: dict[str, Any]
    files: dict[str, str] = msgspec.field(default_factory=dict)
    engine: Engine | None = None
    process: Literal["own", "caller"] = "own"

    @property
    def tolerance(self) -> str:
        """The gate of the published value: points, or `mlperf`."""
        return str(self.config.get("tolerance", PUBLISHED_TOLERANCE))


class Record(Described, frozen=True, kw_only=True, dict=True):
    """One row: a model behind a loader, measured and scored.

    `accuracy` is None without labels (`labels` says why), `parity` without a reference, and both
    if the loader does not read the images; then it has no ceiling either. The ceilings are None if
    they were not asked for. `other_latencies` are of other batch sizes. `published` is None if the
    labels are not ImageNet's or the weights state nothing. `num_macs` are multiply-accumulates for
    one image; it and `num_parameters` are None if they cannot be counted. `num_changed` predictions
    of the timed pass differ from the scored ones; None if the timed ones are scored. `tuning_s` are
    the seconds of the search for the loader's settings, which the rows of a folder share.
    `accuracy_doubts` say why hits may mean nothing, `notes` what else people should know, `stages`
    where the row's wall time went. `rounds` are empty without ceilings, and in records of version 7
    and older. `ranks` has each rank's part if there were several, and `machines` the environment of
    each machine if there were several, in the order of their ranks. `calibration` has the images
    that it was quantised with, and `program` how what the engine makes of the model compares with
    the model in float32 (None for an eager one).
    """

    dtype: str
    compile_mode: str | None
    num_threads: Positive
    labels: str
    tuning: list[Trial]
    warm_up: WarmUp
    compilation: Compilation | None
    throughput: Throughput
    loader_ceiling: Ceiling | None
    model_ceiling: Ceiling | None
    latency: Latency
    accuracy: Accuracy | None
    published: Published | None
    parity: Parity | None
    notes: list[str]
    telemetry: Telemetry | None = None
    other_latencies: list[Latency] = msgspec.field(default_factory=list)
    tuning_s: Amount | None = None
    num_parameters: Count | None = None
    num_macs: Count | None = None
    accuracy_doubts: list[str] = msgspec.field(default_factory=list)
    num_changed: Count | None = None
    rounds: list[Round] = msgspec.field(default_factory=list)
    stages: Stages | None = None
    ranks: list[RankPart] = msgspec.field(default_factory=list)
    machines: list[dict[str, Any]] = msgspec.field(default_factory=list)
    calibration: Calibration | None = None
    program: ProgramCheck | None = None

    @property
    def images_per_s(self) -> float:
        """The throughput: median of the windows."""
        return self.throughput.images_per_s

    @property
    def latency_s(self) -> float | None:
        """The median batch latency."""
        return self.latency.median_s

    @property
    def top1(self) -> float | None:
        """The share of images whose likeliest class is right; None where it was not scored."""
        return self.accuracy.top1 if self.accuracy else None

    @property
    def top5(self) -> float | None:
        """As `top1`, of the five likeliest classes."""
        return self.accuracy.top5 if self.accuracy else None

    @property
    def num_ranks(self) -> int:
        """Ranks that were asked for; those without an image have no part."""
        return int(self.config.get("ranks") or 1)

    @property
    def num_cores(self) -> int | None:
        """The cores of the run, of ranks all that one of them could use; None if not known."""
        if not self.ranks:
            return self.environment.get("num_cores")
        return len({(part.machine, core) for part in self.ranks for core in part.cores})

    @functools.cached_property
    def num_batches(self) -> int:
        """Batches of one epoch, of all ranks; the last one of each may have empty places."""
        shares = [part.num_samples for part in self.ranks] or [self.data["num_samples"]]
        return sum(math.ceil(share / self.batch_size) for share in shares)

    @property
    def reads_images(self) -> bool:
        """Whether the loader reads the images; otherwise the predictions mean nothing."""
        return self.labels != UNREAD

    @property
    def decodes(self) -> bool:
        """Whether JPEGs are read and decoded while the row is timed."""
        return self.reads_images and decodes(self.loader_settings)

    @property
    def measured_s(self) -> float:
        """Seconds that were timed: windows, rounds and latencies."""
        ceilings = filter(None, (self.loader_ceiling, self.model_ceiling))
        latencies = (self.latency, *self.other_latencies)
        return math.fsum(
            (
                self.throughput.wall_s,
                *(ceiling.wall_s for ceiling in ceilings),
                *(each.end_to_end.wall_s for each in self.rounds),
                *(seconds for latency in latencies for seconds in latency.samples_s),
            )
        )

    @functools.cached_property
    def ceilings(self) -> dict[str, float]:
        """Throughput of `loader` and `model` alone, as far as known, in valid images/s.

        The model alone runs full batches. In an epoch part of the last batch may be padding, which
        takes time and does not count.
        """
        found = {}
        if self.loader_ceiling is not None:
            found["loader"] = self.loader_ceiling.images_per_s
        if self.model_ceiling is not None:
            valid = self.data["num_samples"] / (self.num_batches * self.batch_size)
            found["model"] = self.model_ceiling.images_per_s * valid
        return found

    @property
    def bound(self) -> str | None:
        """The lower ceiling, `loader` or `model`; None without ceilings."""
        return min(self.ceilings, key=self.ceilings.__getitem__, default=None)

    @property
    def headroom(self) -> float | None:
        """The higher ceiling over the lower; None without both."""
        rates = self.ceilings.values()
        return max(rates) / min(rates) if len(rates) == 2 else None

    @functools.cached_property
    def overlap(self) -> tuple[float, tuple[float, float] | None] | None:
        """End to end over the lower ceiling, and its 95 % interval; None without ceilings.

        The Hodges-Lehmann centre of the rounds' log ratios and Wilcoxon's interval, None for fewer
        than 6 rounds. Against the model batches are compared, which it computes with their padding,
        against the loader images. Without rounds the throughput over the ceiling.
        """
        bound = self.bound
        if bound is None:
            return None
        logs = []
        for each in self.rounds:
            whole, part = each.end_to_end, each.model
            if bound == "loader" and each.loader is not None:
                logs.append(math.log(whole.images_per_s / each.loader.images_per_s))
            elif bound == "model":
                logs.append(math.log(whole.num_steps / whole.wall_s * part.wall_s / part.num_steps))
        if not logs:
            return self.throughput.images_per_s / self.ceilings[bound], None
        centre, bounds = hodges_lehmann_interval(logs)
        return math.exp(centre), bounds and (math.exp(bounds[0]), math.exp(bounds[1]))

    @property
    def overlap_efficiency(self) -> float | None:
        """The ratio of `overlap`."""
        return None if self.overlap is None else self.overlap[0]

    @property
    def sharing(self) -> float | None:
        """Images/s that a loader and a model reach who share the cores, each of which they use up
        when they are alone: 1 / (1/loader + 1/model). None on a GPU, or without both ceilings.
        """
        rates = self.ceilings.values()
        shares_cores = self.device == "cpu" and len(rates) == 2
        return 1 / sum(1 / rate for rate in rates) if shares_cores else None

    @property
    def sharing_efficiency(self) -> float | None:
        """End to end over `sharing`; None where that is."""
        if self.sharing is None or self.overlap_efficiency is None:
            return None
        return self.overlap_efficiency * min(self.ceilings.values()) / self.sharing

    @property
    def contention(self) -> str | None:
        """Why both together are well below `sharing`, or the lower ceiling; None if they are not.

        `serial`: the host waits for about as long as the loader takes alone, so it reads nothing
        ahead. `shared`: the two take memory, cores or the GPU from each other.
        """
        overlap, stalled = self.overlap_efficiency, self.throughput.stall_share
        efficiency = overlap if self.sharing is None else self.sharing_efficiency
        if overlap is None or efficiency is None or efficiency >= CONTENDED:
            return None
        loader = self.ceilings.get("loader")
        if stalled is None or loader is None:
            return "shared"
        alone = overlap * min(self.ceilings.values()) / loader
        return "serial" if stalled > SERIAL * alone else "shared"


@dataclass(frozen=True)
class FailedRow:
    """A row that could not be measured; `how` tells it from others of its model and loader."""

    model: str
    loader: str
    error: FastbenchError
    how: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{' · '.join((self.model, self.loader, *self.how))}: {self.error}"


def ratio_of_pairs(
    a: Sequence[float], b: Sequence[float]
) -> tuple[float, tuple[float, float] | None]:
    """B's throughput over A's, from pairs, and its 95 % interval, None with too few pairs.

    The Hodges-Lehmann median of log ratios, and Wilcoxon's interval. The unit is A B B A, the mean
    of two pairs: a drift cancels out, and what disturbs neighbouring pairs does not make the units
    dependent, which would make the interval too narrow. Raises `ValueError` for fewer than two
    pairs.
    """
    logs = [math.log(y / x) for x, y in zip(a, b, strict=True)]
    units = [sum(pair) / 2 for pair in zip(logs[::2], logs[1::2], strict=False)]
    centre, bounds = hodges_lehmann_interval(units)
    return math.exp(centre), bounds and (math.exp(bounds[0]), math.exp(bounds[1]))


MIN_PAIRS: Final = 2


class AbRecord(Described, frozen=True, kw_only=True):
    """Two configurations in turn: the throughputs of their windows, images/s, pair by pair.

    `changes` are the options of `--ab`, as written; `config`, `dtype` and `compile_mode` are A's.
    `num_planned` pairs were to be measured; None if it is not known.
    """

    dtype: str
    compile_mode: str | None
    changes: list[str]
    other_config: dict[str, Any]
    other_loader_settings: dict[str, Any]
    a_images_per_s: list[Amount]
    b_images_per_s: list[Amount]
    num_planned: Positive | None = None

    @property
    def is_finished(self) -> bool:
        """Whether all pairs that were planned were measured."""
        return len(self.a_images_per_s) == (self.num_planned or len(self.a_images_per_s))

    @property
    def ratio(self) -> float:
        """B's throughput over A's (see `ratio_of_pairs`)."""
        return ratio_of_pairs(self.a_images_per_s, self.b_images_per_s)[0]

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `ratio`; None with too few pairs."""
        return ratio_of_pairs(self.a_images_per_s, self.b_images_per_s)[1]

    @property
    def verdict(self) -> str:
        """The result in words. Raises `ValueError` for throughputs that are damaged."""
        if not len(self.a_images_per_s) == len(self.b_images_per_s) > 0:
            raise ValueError("a_images_per_s and b_images_per_s are no pairs")
        pairs = counted(len(self.a_images_per_s), "pair")
        if not self.is_finished:
            pairs += f" of the {self.num_planned} planned"
        if len(self.a_images_per_s) < MIN_PAIRS:
            return f"no result, {pairs}"
        if self.interval is None:
            return f"B is {self.ratio:.3f}x A, with too few pairs for an interval ({pairs})"
        low, high = self.interval
        scope = f"95 %: {low:.3f} to {high:.3f}, {pairs}"
        if low <= 1 <= high:
            return f"no difference found, B is {self.ratio:.3f}x A ({scope})"
        return f"B is {self.ratio:.3f}x A ({scope})"

    @property
    def in_words(self) -> str:
        """What was compared, and the result."""
        sides = f"{self.model} · {self.loader} (A) and the same with {', '.join(self.changes)} (B)"
        return f"{sides}, in turn: {self.verdict}."


class ParityRecord(Described, frozen=True, kw_only=True):
    """One loader compared with the reference over all samples; nothing is timed."""

    labels: str
    parity: Parity
