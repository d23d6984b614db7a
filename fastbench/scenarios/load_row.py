"""One row under load: a model behind a loader's requests, searched or timed, scored and recorded.

`fastbench loadtest` calls `load_rows` in a process of its own. What comes first is what can fail:
the model, each image once, the comparison with the reference. Then come the runs of the load
generator, after each of which the record is on disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psutil

from fastbench.core.atomic_files import file_stem
from fastbench.core.device import choose_device, mapped_errors
from fastbench.core.errors import (
    EngineMissingError,
    FastbenchError,
    LoaderMissingError,
    OutOfMemoryError,
    UsageError,
)
from fastbench.core.load_options import MLPERF_S
from fastbench.core.run_options import DEFAULT_BATCH_SIZE
from fastbench.core.units import format_bytes, format_quantity
from fastbench.loaders.guard_on_demand import CheckedOnDemand
from fastbench.loaders.registry import on_demand_of
from fastbench.loaders.shared.threads import read_file
from fastbench.measure.stopwatch import Stopwatch
from fastbench.measure.telemetry import Watch
from fastbench.records.load import SERVER, Limit, LoadRecord, LoadRun
from fastbench.records.record import EVERY_LOADER, UNREAD, FailedRow
from fastbench.records.speed import Compilation
from fastbench.records.store import replace_record, write_record
from fastbench.runner.build_record import accuracy_of, describe_run, published_of
from fastbench.runner.check_program import check_program
from fastbench.runner.parity import compare_with_reference
from fastbench.runner.prepare import Bench, Workbench, prepare_model
from fastbench.scenarios import loadgen
from fastbench.scenarios.accuracy_run import score_each_once
from fastbench.scenarios.batcher import Batcher, seconds_to_answer
from fastbench.scenarios.highest_rate import find_highest
from fastbench.scenarios.run_of_record import details_of, fewest_queries, run_of
from fastbench.scenarios.sized_models import SizedModels, sized, with_sizes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from fastbench.core.load_options import LoadConfig
    from fastbench.core.progress import Progress
    from fastbench.data.dataset import Skipped
    from fastbench.loaders.base import OnDemand
    from fastbench.measure.tally import Scores
    from fastbench.records.load import Purpose
    from fastbench.scenarios.loadgen import Rules

_ALONE: Final = 20
"""Single queries, one after the other, that tell what one alone takes."""
_WARM_UP_S: Final = 2.0
_HARDLY: Final = 2.0
_OFFLINE: Final = 1.1
"""LoadGen makes queries beforehand for so many times the rate that is expected, of `offline` those
that are run.
"""
_MEMORY_SHARE: Final = 0.8


def load_rows(
    config: LoadConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped] = (),
    since: float | None = None,
    called: Sequence[str] = (),
) -> Iterator[LoadRecord | FailedRow]:
    """The one row of a configuration with one model and one loader.

    `called` is what tells it from the others of its run, for its file's name. The record of a
    search that was interrupted has the runs so far. Raises what would end every other row too.
    """
    loadgen.check_installed()
    name, loader = config.models[0], config.timed_loader
    device = choose_device(config.device, stream=config.cuda_stream, wait=config.cuda_wait)
    batch_size = config.batch_size or DEFAULT_BATCH_SIZE[device.type]
    inner = dataclasses.replace(with_sizes(config, batch_size), passes="end-to-end")
    try:
        workbench = Workbench(inner, folder, tell, leave_out, Stopwatch(since))
        factory = workbench.factories[loader]
        on_demand_of(loader, factory)  # before the model is loaded
    except LoaderMissingError as error:
        yield FailedRow(name, loader, error)
        return
    except EngineMissingError as error:
        yield FailedRow(name, EVERY_LOADER, error)
        return
    if device.type == "cpu":
        tell.note("No GPU is used: the loader and the model run on the CPU.")
    try:
        workbench, bench = _prepare(workbench, name)
    except FastbenchError as error:
        yield FailedRow(name, EVERY_LOADER, error)
        return
    row = None
    try:
        with mapped_errors(f"{name} behind {loader}", workbench.batch_size):
            models = sized(workbench, bench)
            spec = workbench.spec(bench.model, loader)
            in_memory = _read_all(workbench) if config.source == "memory" else None
            with contextlib.closing(CheckedOnDemand(loader, factory, spec, in_memory)) as opened:
                row = _Row(config, workbench, bench, opened, models, called)
                row.measure()
    except FastbenchError as error:
        yield FailedRow(name, loader, error)
        return
    except KeyboardInterrupt:
        if row is not None and row.record is not None:
            yield row.record
        raise
    assert row.record is not None
    yield row.record


def _prepare(workbench: Workbench, name: str) -> tuple[Workbench, Bench]:
    """The model for each size of a batch; for the largest alone, where it was exported for that."""
    try:
        return workbench, prepare_model(workbench, name)
    except UsageError:
        if not workbench.config.latency_batch_size:
            raise
        workbench.config = dataclasses.replace(workbench.config, latency_batch_size=())
        return workbench, prepare_model(workbench, name)


def _read_all(workbench: Workbench) -> list[np.ndarray]:
    """The bytes of each JPEG, (B,) uint8. Raises `OutOfMemoryError` where they do not fit."""
    manifest = workbench.manifest
    needed, available = sum(manifest.num_bytes), psutil.virtual_memory().available
    if needed > _MEMORY_SHARE * available:
        raise OutOfMemoryError(
            f"--source memory would hold {len(manifest):,} JPEGs in {format_bytes(needed)}, and "
            f"{format_bytes(available)} are available. Use a smaller --limit."
        )
    return [read_file(path) for path in manifest.paths]


@dataclass
class _Row:
    """The runs of a row, and its record so far."""

    config: LoadConfig
    workbench: Workbench
    bench: Bench
    loader: OnDemand
    models: SizedModels
    called: Sequence[str]
    record: LoadRecord | None = None
    _path: Path | None = None
    _runs: list[LoadRun] = field(default_factory=list)
    _blank: dict[str, Any] = field(default_factory=dict)
    _scores: Scores | None = None
    _alone_s: float = 0.0
    _capacity_per_s: float = 0.0
    _num_graphs: int = 0

    def measure(self) -> None:
        """All runs, the last of which the record is of."""
        config, workbench = self.config, self.workbench
        self._folder = workbench.folder / "loadgen"
        stem = file_stem(self.bench.model.name, config.timed_loader, config.scenario, *self.called)
        self._stem = f"{stem}-{time.time_ns() // 10**6}"
        self._batcher = Batcher(
            self.loader,
            self.models,
            max_wait_s=config.max_wait_s,
            max_queued=config.max_queued if config.scenario == SERVER else None,
            answer=lambda _: None,
        )
        try:
            self._warm_up()
            self._begin()
            if config.scenario != SERVER or config.rate is not None:
                run = self._run("only", self._rules(config.rate))
                if config.scenario == "offline" and run.wall_s < config.duration_s:
                    # It is faster than it was as each image was scored: too few were asked for.
                    self._run("only", self._rules(_OFFLINE * run.completed_per_s))
            else:
                self._search()
        finally:
            self._batcher.close()

    # ------------------------------------------------------------------------- before the runs

    def _warm_up(self) -> None:
        """Fill and use all that is measured, and find what one query alone takes."""
        workbench, batcher = self.workbench, self._batcher
        workbench.progress.say(f"{self._title}: warming up")
        spec = workbench.spec(self.bench.model)
        self.models.warm_up(
            self.bench.classifier.images_dtype, workbench.device, spec.preprocess.crop
        )
        num = len(workbench.manifest)
        deadline = time.monotonic() + _WARM_UP_S
        first = 0
        while True:
            samples = [i % num for i in range(first, first + 2 * self.models.largest)]
            seconds_to_answer(self._batcher, samples)
            first += len(samples)
            if time.monotonic() > deadline:
                break
        if not batcher.errors:  # of a file that cannot be read the run of each image tells
            took = [seconds_to_answer(self._batcher, [i % num]) for i in range(_ALONE)]
            self._alone_s = sorted(took)[len(took) // 2]
        self._num_graphs = self.models.num_graphs()

    def _begin(self) -> None:
        """Score each image once, compare with the reference, and describe the row."""
        config, workbench, bench = self.config, self.workbench, self.bench
        workbench.progress.say(f"{self._title}: each image once, for its prediction")
        scores, self._capacity_per_s = score_each_once(
            workbench, bench, self._batcher, self._logs("accuracy")
        )
        notes: list[str] = []
        reads_images = self.loader.reads_images
        parity = None
        if reads_images:
            self._scores = scores
            parity = compare_with_reference(
                workbench,
                bench,
                config.timed_loader,
                workbench.spec(bench.model, config.timed_loader),
                scores.predictions,
                notes,
            )
        program = check_program(workbench, bench)
        described = describe_run(workbench, bench, config.timed_loader, self.loader.settings)
        seconds, pct = config.latency_limit
        is_server = config.scenario == SERVER
        self._blank = {
            **described,
            "config": dataclasses.asdict(config),
            "dtype": workbench.dtype,
            "compile_mode": workbench.compile_mode,
            "num_threads": workbench.spec(bench.model, config.timed_loader).num_threads,
            "labels": bench.labels.in_words if reads_images else UNREAD,
            "scenario": config.scenario,
            "source": config.source,
            "limit": Limit(seconds=seconds, pct=pct) if is_server else None,
            "max_wait_s": config.max_wait_s,
            "max_queued": config.max_queued,
            "batch_sizes": self.models.sizes,
            "images_per_query": config.images_per_query if self._is_multi else 1,
            "accuracy": accuracy_of(workbench, bench, scores) if reads_images else None,
            "published": published_of(bench) if reads_images else None,
            "parity": parity,
            "program": program,
            "is_mlperf_length": config.duration_s >= MLPERF_S,
            "notes": [*notes, *bench.model.notes],
        }

    # ---------------------------------------------------------------------------------- runs

    @property
    def _title(self) -> str:
        return f"{self.bench.model.name} · {self.config.timed_loader}"

    @property
    def _is_multi(self) -> bool:
        return self.config.scenario == "multi-stream"

    def _logs(self, name: str) -> Path:
        return self._folder / self._stem / name

    def _rules(self, rate_per_s: float | None) -> Rules:
        """Of a run that counts, at this rate."""
        config = self.config
        limit_s, pct = config.latency_limit
        is_server = config.scenario == SERVER
        images = config.images_per_query if self._is_multi else 1
        # LoadGen judges `single-stream` by its p90, `multi-stream` by its p99.
        judged = pct if is_server else 90 if config.scenario == "single-stream" else 99
        fewest = 1 if config.scenario == "offline" else fewest_queries(judged)
        expected = _OFFLINE * self._capacity_per_s
        if config.scenario in ("single-stream", "multi-stream"):
            expected = _HARDLY * max(self._capacity_per_s, images / self._alone_s)
        return loadgen.Rules(
            scenario=config.scenario,
            duration_s=config.duration_s,
            min_queries=fewest,
            rate_per_s=rate_per_s or expected,
            images_per_query=images,
            limit_s=limit_s if is_server else None,
            pct=pct,
            seed=config.seed,
        )

    def _search(self) -> None:
        config = self.config
        found = find_highest(
            self._run,
            self._rules(None),
            capacity_per_s=self._capacity_per_s,
            alone_s=self._alone_s,
            tolerance=config.rate_tolerance,
            is_quick=config.quick,
        )
        assert self.record is not None
        self._keep(
            msgspec.structs.replace(
                self.record,
                search_ended=found.ended,
                estimate_per_s=found.estimate_per_s,
                reach=found.reach,
                is_finished=True,
            )
        )

    def _run(self, purpose: Purpose, rules: Rules) -> LoadRun:
        """One run of LoadGen, after which the record is on disk."""
        at = f" at {format_quantity(rules.rate_per_s)}/s" if rules.scenario == SERVER else ""
        doing = {"search": "searching", "confirm": "confirming"}.get(purpose, "measuring")
        title = f"{self._title}: {doing}, {self.config.scenario}{at}"
        number = len(self._runs) + 1
        folder = self._logs(f"{number:02}-{purpose}{at.replace('/s', '').replace(' at ', '-')}")
        batcher, workbench = self._batcher, self.workbench
        batcher.batches, batcher.errors = [], {}
        expected_s = max(rules.duration_s, rules.min_queries / rules.rate_per_s)

        workbench.progress.say(title)
        count = workbench.progress.count(f"{title}, seconds")

        def tick(seconds: float, _: int) -> None:
            count(int(seconds), math.ceil(max(expected_s, seconds)))

        with Watch(workbench.device.index) as watch:
            watch.look_around()
            watch.begin()
            # Another number of queries at random in each run: the same would be late in all.
            rules = dataclasses.replace(rules, seed=rules.seed + number - 1)
            outcome = loadgen.run(rules, batcher, len(workbench.manifest), folder, tick)
            watch.end(len(outcome.queries))
            telemetry = watch.read()
        logs = str(folder.relative_to(workbench.folder))
        run = run_of(purpose, rules, outcome, logs)
        self._runs.append(run)
        scores, labels = self._scores, self.bench.labels.indices
        compilation = None
        if workbench.compile_mode:
            num_graphs, num_breaks = self.bench.graphs_and_breaks
            made = self.models.num_graphs() - self._num_graphs
            compilation = Compilation(
                num_graphs=num_graphs, num_graph_breaks=num_breaks, num_recompiles=made
            )
        self._keep(
            LoadRecord(
                **self._blank,
                **details_of(
                    rules,
                    outcome,
                    batcher.batches,
                    workbench.manifest.names,
                    labels if scores else None,
                    scores.predictions if scores else None,
                ),
                runs=list(self._runs),
                telemetry=telemetry,
                compilation=compilation,
                rules=loadgen.rules_in_words(rules, outcome.said),
                rate_tolerance=self.config.rate_tolerance if purpose != "only" else None,
                is_finished=purpose == "only",
            )
        )
        return run

    def _keep(self, record: LoadRecord) -> None:
        self.record = record
        if self._path is None:
            self._path = write_record(record, self.workbench.folder, self.called)
        else:
            replace_record(record, self._path)
