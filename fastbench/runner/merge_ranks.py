"""From what each rank did to the figures of all of them together.

Images and hits are summed, and a window is as long as from the first rank's start to the last one's
end. CPU time is of all processes; what other programs took is counted once a machine. GPUs' power
and energy are summed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastbench.core.errors import LoaderError
from fastbench.measure.ranks import share_of
from fastbench.measure.tally import Scores
from fastbench.records.ranks import RankPart
from fastbench.records.speed import (
    Ceiling,
    GpuTelemetry,
    Latency,
    Round,
    Telemetry,
    Throughput,
    WarmUp,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastbench.measure.ranks import Place
    from fastbench.runner.build_record import Passes


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one rank tells the first one. `samples` are those that it was timed with, `walls_s` the
    windows' seconds of all ranks; `environment` is of the first rank of a machine.
    """

    place: Place
    device: str
    device_name: str | None
    cores: list[int]
    num_threads: int
    samples: range
    passes: Passes
    walls_s: list[float]
    environment: dict[str, Any] | None


def merge(reports: Sequence[Report], names: Sequence[str], loader: str) -> Passes:
    """The passes of all ranks as one row's.

    `names` are all samples'. Raises `LoaderError`, which names a sample, unless each is the share
    of one rank.
    """
    _check_shares(reports, names, loader)
    timed = [report.passes.timed for report in reports]
    rounds = [_round(each) for each in zip(*(part["rounds"] for part in timed), strict=True)]
    others = zip(*(part["other_latencies"] for part in timed), strict=True)
    throughput = _throughput([part["throughput"] for part in timed], reports[0].walls_s, loader)
    clocks = list(dict.fromkeys(report.place.clock for report in reports))
    first = reports[0].passes
    return dataclasses.replace(
        first,
        timed={
            "warm_up": _longest([part["warm_up"] for part in timed]),
            "throughput": throughput,
            "telemetry": together(
                [(x.place.clock, x.cores) for x in reports],
                [part["telemetry"] for part in timed],
                throughput.wall_s,
            ),
            "rounds": rounds,
            "loader_ceiling": _ceiling(
                [each.loader for each in rounds], [part["loader_ceiling"] for part in timed]
            ),
            "model_ceiling": _ceiling(
                [each.model for each in rounds], [part["model_ceiling"] for part in timed]
            ),
            "latency": _latency([part["latency"] for part in timed]),
            "other_latencies": [_latency(each) for each in others],
            "ranks": [_part(report, clocks.index(report.place.clock)) for report in reports],
            "machines": [x.environment for x in reports if x.environment is not None]
            if len(clocks) > 1
            else [],
        },
        scores=_scores([report.passes.scores for report in reports]),
        num_recompiles=sum(report.passes.num_recompiles for report in reports),
    )


def _check_shares(reports: Sequence[Report], names: Sequence[str], loader: str) -> None:
    """Each sample once: the ranks' shares are one after the other, and each was scored whole."""
    for number, report in enumerate(reports):
        expected = share_of(len(names), number, len(reports))
        num_scored = len(report.passes.scores.best)
        if report.samples != expected or num_scored != len(expected):
            raise LoaderError(
                f"Rank {number} has scored {num_scored:,} samples from {report.samples.start} on, "
                f"and its share are {len(expected):,} from {names[expected.start]} on. Nothing "
                f"behind the loader {loader!r} can be scored; report this."
            )


def _part(report: Report, machine: int) -> RankPart:
    timed, place = report.passes.timed, report.place
    throughput: Throughput = timed["throughput"]
    return RankPart(
        rank=place.rank,
        local_rank=place.local_rank,
        machine=machine,
        host=place.host,
        device=report.device,
        device_name=report.device_name,
        cores=report.cores,
        num_threads=report.num_threads,
        num_samples=len(report.samples),
        warm_up=timed["warm_up"],
        windows=throughput.windows,
        kernel_s=throughput.kernel_s,
        loader_ceiling=timed["loader_ceiling"],
        model_ceiling=timed["model_ceiling"],
        latency=timed["latency"],
        telemetry=timed["telemetry"],
    )


def _throughput(parts: Sequence[Throughput], walls_s: Sequence[float], loader: str) -> Throughput:
    """All ranks' windows. Step times are in the order of the windows, and of the ranks in each."""
    if len({(part.num_epochs, len(part.windows)) for part in parts}) > 1:
        raise LoaderError(
            f"The ranks behind the loader {loader!r} were timed with different epochs: report this."
        )
    rests = [iter(part.step_times_s) for part in parts]
    windows: list[Window] = []
    step_times_s: list[float] = []
    for window, wall_s in zip(
        zip(*(part.windows for part in parts), strict=True), walls_s, strict=True
    ):
        windows.append(
            Window(
                num_images=sum(each.num_images for each in window),
                num_steps=sum(each.num_steps for each in window),
                wall_s=max(wall_s, *(each.wall_s for each in window)),
                wait_s=sum(each.wait_s for each in window) / len(window),
            )
        )
        for each, rest in zip(window, rests, strict=True):
            step_times_s += itertools.islice(rest, each.num_steps)
    settled = [part.is_settled for part in parts]
    return Throughput(
        num_images=sum(window.num_images for window in windows),
        num_epochs=parts[0].num_epochs,
        batch_size=parts[0].batch_size,
        wall_s=math.fsum(window.wall_s for window in windows),
        step_times_s=step_times_s,
        windows=windows,
        is_settled=None if None in settled else all(settled),
    )


def _window(parts: Sequence[Window]) -> Window:
    """Windows of ranks at the same time: their rates are added."""
    num_steps = sum(each.num_steps for each in parts)
    wall_s = num_steps / math.fsum(each.num_steps / each.wall_s for each in parts)
    share = math.fsum(each.wait_s / each.wall_s for each in parts) / len(parts)
    return Window(
        num_images=sum(each.num_images for each in parts),
        num_steps=num_steps,
        wall_s=wall_s,
        wait_s=min(share, 1.0) * wall_s,
    )


def _round(parts: Sequence[Round]) -> Round:
    loaders = [each.loader for each in parts if each.loader is not None]
    return Round(
        end_to_end=_window([each.end_to_end for each in parts]),
        loader=_window(loaders) if len(loaders) == len(parts) else None,
        model=_window([each.model for each in parts]),
    )


def _ceiling(windows: Iterable[Window | None], parts: Sequence[Ceiling | None]) -> Ceiling | None:
    known = [window for window in windows if window is not None]
    used = [None if part is None else part.cpu_s for part in parts]
    if not known:
        return None
    return Ceiling(
        num_images=sum(window.num_images for window in known),
        wall_s=math.fsum(window.wall_s for window in known),
        cpu_s=_sum(used),
    )


def _latency(parts: Sequence[Latency]) -> Latency:
    samples_s = [seconds for part in parts for seconds in part.samples_s]
    return Latency(batch_size=parts[0].batch_size, samples_s=samples_s)


def _longest(parts: Sequence[WarmUp]) -> WarmUp:
    """The slowest rank's, field by field."""
    fields = WarmUp.__struct_fields__
    return WarmUp(**{name: max(getattr(part, name) for part in parts) for name in fields})


def _scores(parts: Sequence[Scores]) -> Scores:
    """All samples', in order: the ranks' shares follow each other."""

    def chain(values: Iterable[Sequence[Any]]) -> list[Any]:
        return [*itertools.chain.from_iterable(values)]

    every = [part.hits for part in parts]
    hits = None
    if all(each is not None for each in every):
        epochs = zip(*every, strict=True)  # type: ignore[arg-type]
        hits = [(sum(t1 for t1, _ in x), sum(t5 for _, t5 in x)) for x in epochs]
    kept = [part.probabilities for part in parts]
    starts = itertools.accumulate((len(part.best) for part in parts), initial=0)
    return Scores(
        best=chain(part.best for part in parts),
        probabilities=None if None in kept else chain(kept),  # type: ignore[arg-type]
        times_seen=chain(part.times_seen for part in parts),
        places=chain(
            [start + place for place in part.places]
            for start, part in zip(starts, parts, strict=False)
        ),
        hits=hits,
        num_broken=sum(part.num_broken for part in parts),
        is_constant=all(part.is_constant for part in parts),
    )


def together(
    places: Sequence[tuple[str, list[int]]], parts: Sequence[Telemetry | None], wall_s: float
) -> Telemetry | None:
    """What all ranks used in windows of `wall_s` together; None if one does not know.

    `places` has each rank's clock, which stands for its machine, and its cores. No rank need have
    been the first in every window, so the row's seconds count. To a rank the others on its cores
    are foreign: of their CPU time the foreign one is that of the first rank
    there without what the others used. Of cores that ranks share in part that cannot be told.
    """
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    groups: dict[tuple[str, tuple[int, ...]], list[Telemetry]] = {}
    for (clock, cores), part in zip(places, known, strict=True):
        groups.setdefault((clock, tuple(cores)), []).append(part)
    machines: dict[str, set[int]] = {}
    for clock, its_cores in groups:
        machines.setdefault(clock, set()).update(its_cores)
    num_cores = sum(map(len, machines.values()))
    is_apart = num_cores == sum(len(cores) for _, cores in groups)
    foreign = [
        None if group[0].foreign_cpu_s is None
        else max(0.0, group[0].foreign_cpu_s - math.fsum(each.cpu_s for each in group[1:]))
        for group in groups.values()
    ]  # fmt: skip
    # A quota is that of a machine's group, which all its ranks have.
    of_machines = [
        next(group[0] for (its, _), group in groups.items() if its == clock) for clock in machines
    ]
    readings = [part.rss_bytes for part in known]
    num_readings = min(map(len, readings))
    gpus = [part.gpu for part in known if part.gpu is not None]
    return Telemetry(
        wall_s=max(wall_s, *(part.wall_s for part in known)),
        interval_s=known[0].interval_s,
        num_readings=num_readings,
        num_images=sum(part.num_images for part in known),
        num_cores=num_cores,
        cpu_s=math.fsum(part.cpu_s for part in known),
        foreign_cpu_s=_sum(foreign) if is_apart else None,
        rss_bytes=_sums(readings, num_readings),
        gpu=_gpus(gpus, num_readings) if len(gpus) == len(known) else None,
        cpu_quota=_sum([part.cpu_quota for part in of_machines]),
        num_periods=_sum([part.num_periods for part in of_machines]),
        num_throttled=_sum([part.num_throttled for part in of_machines]),
        kernel_cpu_s=_sum([part.kernel_cpu_s for part in known]),
        num_faults=_sum([part.num_faults for part in known]),
    )


def _gpus(parts: Sequence[GpuTelemetry], num_readings: int) -> GpuTelemetry:
    """Several GPUs: sums of power, energy and memory, and means of the rest."""

    def each(name: str, of: Callable[[Sequence[float]], float]) -> list[Any]:
        values = [getattr(part, name) for part in parts]
        num = min(num_readings, *map(len, values))
        return [of([its[i] for its in values]) for i in range(num)]

    reasons = dict.fromkeys(reason for part in parts for reason in part.throttle_reasons)
    return GpuTelemetry(
        energy_j=_sum([part.energy_j for part in parts]),
        power_w=each("power_w", math.fsum),
        power_limit_w=_sum([part.power_limit_w for part in parts]),
        sm_utilization_pct=each("sm_utilization_pct", _mean),
        memory_utilization_pct=each("memory_utilization_pct", _mean),
        jpeg_utilization_pct=each("jpeg_utilization_pct", _mean),
        sm_clock_mhz=each("sm_clock_mhz", _mean),
        temperature_c=each("temperature_c", max),
        memory_used_bytes=each("memory_used_bytes", sum),
        throttle_reasons=[*reasons],
        num_foreign_processes=_sum([part.num_foreign_processes for part in parts]),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _sum(values: Sequence[Any]) -> Any:
    """The sum; None if one is not known."""
    return None if None in values else sum(values)


def _sums(readings: Sequence[Sequence[int]], num: int) -> list[int]:
    return [sum(each[i] for each in readings) for i in range(num)]
