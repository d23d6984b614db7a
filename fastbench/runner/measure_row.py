"""One row: a model behind one loader is measured, scored and compared, and its record written.

`fastbench run` calls `measure_row` in a process of its own (see `row_in_child.py`). To measure
several loaders in one process, prepare the model once and call `measure_prepared` for each.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from fastbench.core.device import mapped_errors
from fastbench.core.errors import (
    EngineMissingError,
    FastbenchError,
    LoaderMissingError,
    OutputError,
    RecordError,
)
from fastbench.core.reading import user_path
from fastbench.core.units import and_more, format_about
from fastbench.loaders.base import LoaderTraits
from fastbench.loaders.registry import resolve
from fastbench.measure import machine
from fastbench.measure.clock import make_clock
from fastbench.measure.passes import end_to_end, probe_latency
from fastbench.measure.ranks import ALONE
from fastbench.measure.rounds import Rounds
from fastbench.measure.stopwatch import Stopwatch
from fastbench.measure.tally import check_each_once, check_finite
from fastbench.measure.telemetry import Watch
from fastbench.models.registry import check_name
from fastbench.records.record import EVERY_LOADER, FailedRow, Record
from fastbench.records.store import write_record
from fastbench.runner import predictions_csv
from fastbench.runner.build_record import Passes, make_record
from fastbench.runner.check_program import check_program
from fastbench.runner.merge_ranks import Report, merge
from fastbench.runner.open_loader import open_loader
from fastbench.runner.parity import compare_with_reference
from fastbench.runner.prepare import Bench, Workbench, prepare_model
from fastbench.runner.search_loader import search_loader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress
    from fastbench.data.dataset import Skipped
    from fastbench.loaders.base import LoaderSpec
    from fastbench.measure.ranks import Ranks
    from fastbench.measure.tally import Scores

_IMAGES_PROBED: Final = 2048
_BATCHES_PROBED: Final = 64
"""The latency is probed with as many images and batches, again and again."""
_LOG = logging.getLogger(__name__)


def measure_row(
    config: RunConfig,
    folder: Path,
    tell: Progress,
    models: Sequence[str],
    leave_out: Collection[Skipped] = (),
    since: float | None = None,
    ranks: Ranks | None = None,
    called: Sequence[str] = (),
) -> Iterator[Record | FailedRow]:
    """Measure the one row of a configuration with one model and one loader.

    `called` is what tells the row from the others of its run, for the name of its file. All of
    `ranks` call this at the same time; the first of them yields the record. Its turn came at
    `since`, by `time.monotonic()`; None for now. The record is on disk when it is yielded. The file
    of `--predictions` is written before: a row that has a record is not measured again. Raises
    `OutputError` if one cannot be written. Raises what would end every other row of the run too: an
    error of the data, the device, the reference, or a name among `models`, those of all rows.
    """
    stopwatch = Stopwatch(since)
    for name in models:
        check_name(name)
    name, loader = config.models[0], config.timed_loader
    try:
        workbench = Workbench(config, folder, tell, leave_out, stopwatch, ranks or ALONE)
    except LoaderMissingError as error:
        if config.reference != "none":
            resolve(config.reference)  # if that is missing, no row can be measured
        yield FailedRow(name, loader, error)
        return
    except EngineMissingError as error:
        yield FailedRow(name, EVERY_LOADER, error)
        return
    if workbench.is_idle:
        return
    if workbench.device.type == "cpu":
        tell.note("No GPU is used: loaders and the model run on the CPU.")
    try:
        bench = prepare_model(workbench, name)
    except FastbenchError as error:
        yield FailedRow(name, EVERY_LOADER, error)
        return
    try:
        found = measure_prepared(workbench, bench, loader)
    except FastbenchError as error:
        yield FailedRow(name, loader, error)
        return
    if found is None:
        return
    record, scores = found
    unwritten = None
    if config.predictions and record.reads_images:
        file = user_path(config.predictions)
        try:
            predictions_csv.add(file, record, workbench.manifest, bench.labels, bench.model, scores)
        except OutputError as error:  # the row is kept
            unwritten = error
    try:
        write_record(record, folder, called)
    except RecordError as error:
        yield FailedRow(name, loader, error)
        return
    yield record
    if unwritten is not None:
        raise unwritten


def measure_prepared(
    workbench: Workbench, bench: Bench, loader: str
) -> tuple[Record, Scores] | None:
    """Measure a prepared model behind a loader; the record, and each image's predictions.

    None on all ranks but the first, which scores and compares for them.
    """
    workbench.progress.say(f"{bench.model.name} · {loader}: measuring")
    notes: list[str] = []
    enter = workbench.stopwatch.enter
    with mapped_errors(f"{bench.model.name} behind {loader}", workbench.batch_size):
        enter("search")
        spec, tuned = search_loader(workbench, loader, workbench.spec(bench.model, loader))
        enter("passes")
        found = run_passes(workbench, bench, loader, spec)
        if found is None:
            return None
        passes = found
        enter("scoring")
        scores, num_changed = _score(workbench, bench, loader, spec, passes, notes)
        enter("parity")
        bench.program = check_program(workbench, bench)
        parity = None
        if passes.reads_images:
            parity = compare_with_reference(
                workbench, bench, loader, spec, scores.predictions, notes
            )
    record = make_record(
        workbench,
        bench,
        loader,
        spec,
        passes,
        scores=scores,
        parity=parity,
        num_changed=num_changed,
        tuned=tuned,
        notes=notes,
    )
    return record, scores


def run_passes(workbench: Workbench, bench: Bench, loader: str, spec: LoaderSpec) -> Passes | None:
    """Time end to end with its ceilings in turn, and the latency of each batch size.

    `spec` is of all samples. Those of all ranks together, and None on all ranks but the first.
    Raises `LoaderError` if a sample was lost, repeated or out of order.
    """
    config, factory, ranks = workbench.config, workbench.factories[loader], workbench.ranks
    durations, clock = workbench.durations, make_clock(workbench.device)
    share = workbench.share
    spec = workbench.own(spec)
    tally = workbench.tally(bench, share)
    num_graphs, _ = bench.graphs_and_breaks
    evict = workbench.evict if config.page_cache == "cold" else None
    rounds = None
    start = time.perf_counter()
    with open_loader(loader, factory, spec) as opened, Watch(workbench.device.index) as watch:
        loader_start_s = time.perf_counter() - start
        reads_images, traits = opened.reads_images, LoaderTraits.of(opened)
        num_queued = traits.num_queued(spec.prefetch)
        if bench.resident_NCHW is not None:
            rounds = Rounds(
                bench.classifier,
                workbench.tally(bench, share),
                bench.resident_NCHW,
                clock,
                durations.round_seconds,
                durations.rounds_seconds,
                num_queued=num_queued,
                num_workers=traits.num_workers,
                loader_counts=reads_images,
                watch=watch,
                evict=evict,
                ranks=ranks,
            )
        warm_up, throughput, walls_s = end_to_end(
            opened,
            bench.classifier,
            tally,
            clock,
            durations,
            spec.num_batches,
            num_queued=num_queued,
            watch=watch,
            rounds=rounds,
            evict=evict,
            ranks=ranks,
        )
        _LOG.debug("end to end: %d images in %.3f s", throughput.num_images, throughput.wall_s)
        telemetry = watch.read()
        settings = dict(opened.settings)
    scores = tally.read()
    names = workbench.manifest.names
    check_each_once(scores, throughput.num_epochs, names[share], loader)
    check_finite(scores, throughput.num_epochs, bench.model.name, workbench.dtype)
    latencies = []
    for classifier in (bench.classifier, *bench.others):
        with open_loader(loader, factory, one_by_one(spec, classifier.batch_size)) as opened:
            ranks.gather(None)  # all at the same time
            latencies.append(probe_latency(opened, classifier, durations))
        num = len(latencies[-1].samples_s)
        if config.latency_samples and num < config.latency_samples:
            workbench.progress.note(
                f"Batch latency of {classifier.batch_size}: {num} samples in "
                f"{format_about(durations.latency_limit_s).removeprefix('about ')}, and not the "
                f"{config.latency_samples} of --latency-samples. A smaller batch takes less time."
            )
        seconds = sum(latencies[-1].samples_s)
        _LOG.debug("latency of batches of %d: %.3f s", classifier.batch_size, seconds)
    passes = Passes(
        timed={
            "warm_up": msgspec.structs.replace(
                warm_up,
                model_load_s=bench.load_s,
                loader_start_s=loader_start_s,
                compile_s=bench.compile_s,
            ),
            "throughput": throughput,
            "telemetry": telemetry,
            "rounds": rounds.rounds if rounds else [],
            "loader_ceiling": rounds.loader_ceiling if rounds else None,
            "model_ceiling": rounds.model_ceiling if rounds else None,
            "latency": latencies[0],
            "other_latencies": latencies[1:],
        },
        scores=scores,
        settings=settings,
        reads_images=reads_images,
        repeatable=traits.repeatable,
        num_recompiles=bench.classifier.num_graphs()[0] - num_graphs,
    )
    if ranks.size == 1:
        return passes
    workbench.release_cores()  # also to describe the machine, not the part near a GPU
    reports = ranks.gather(_report(workbench, spec, passes, walls_s))
    return merge(reports, names, loader) if ranks.is_first else None


def _report(workbench: Workbench, spec: LoaderSpec, passes: Passes, walls_s: list[float]) -> Report:
    ranks = workbench.ranks
    is_first_here = ranks.rank == ranks.here[0]
    return Report(
        place=ranks.place,
        device=str(workbench.device),
        device_name=workbench.gpus[0]["name"] if workbench.gpus else None,
        cores=workbench.cores,
        num_threads=spec.num_threads,
        samples=ranks.share(len(workbench.manifest)),
        passes=passes,
        walls_s=walls_s,
        environment=machine.describe(workbench.gpus) if is_first_here else None,
    )


def one_by_one(spec: LoaderSpec, batch_size: int) -> LoaderSpec:
    """What a loader is told for the batch latency: no prefetching, and enough of the images.

    Some prepare all that they are given as they are opened: decode it, or pack it.
    """
    enough = max(_IMAGES_PROBED, _BATCHES_PROBED * batch_size)
    return dataclasses.replace(spec, batch_size=batch_size, prefetch=0, paths=spec.paths[:enough])


def _score(
    workbench: Workbench,
    bench: Bench,
    loader: str,
    spec: LoaderSpec,
    passes: Passes,
    notes: list[str],
) -> tuple[Scores, int | None]:
    """The timed epochs' scores; those of an extra pass if the timed pixels are not repeatable.

    Also returns how many predictions of the timed pass differ from those of the extra pass.
    """
    if passes.repeatable:
        return passes.scores, None
    scores, settings = workbench.score(bench, loader, spec, bench.classifier)
    others = [
        f"{name} {value} in place of {passes.settings[name]}"
        for name, value in settings.items()
        if value != passes.settings.get(name, value)
    ]
    changed = sum(
        a != b for a, b in zip(scores.predictions, passes.scores.predictions, strict=True)
    )
    notes.append(
        f"a sample's pixels depend on its place in the batch with these settings: "
        f"accuracy and parity are of a repeatable pass"
        f"{f' with {and_more(others, 3)}' if others else ''}; {changed} of "
        f"{len(scores.predictions)} predictions of the timed pass differ from it"
    )
    return scores, changed
