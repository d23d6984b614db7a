"""MLPerf's LoadGen: it schedules the queries, is the clock of their latency, and judges the run.

It is the package `mlcommons-loadgen`. A run's judgement is in its detailed log, each query's times
are in its trace, and the answers of its accuracy mode in its accuracy log: all are read here.
LoadGen cannot be stopped: what ends a run early leaves its thread behind, which ends with the
process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastbench.core.atomic_files import writing
from fastbench.core.errors import FastbenchError, InstallationError, first_line
from fastbench.scenarios.batcher import answers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fastbench.records.load import Scenario
    from fastbench.scenarios.batcher import Batcher, Query

_LOG = logging.getLogger(__name__)
NS: Final = 1e-9
_SCENARIOS: Final = {
    "server": "Server",
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
    "offline": "Offline",
}
_NO_AUDIT: Final = "no-audit.config"
"""LoadGen reads a file of this name in the current folder, if there is one."""
_PREFIX: Final = "mlperf_log_"
_SAMPLE: Final = re.compile(
    rb'"ts":(-?[\d.]+),"args":\{"sample_seq":(\d+),"query_seq":(\d+),"sample_idx":(\d+),'
    rb'"issue_start_ns":(-?\d+),"complete_ns":(\d+)\}'
)
_PERCENTILE: Final = re.compile(r"result_([\d.]+)_percentile_(?:per_query_)?latency_ns")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one run goes: LoadGen's settings, in SI units.

    `rate_per_s` is the mean rate of `server`, and for other scenarios one in images/s that the run
    will hardly exceed: LoadGen makes the queries beforehand. `limit_s` and `pct` are the limit of
    `server`; the others have LoadGen's percentile. With `each_once` every image is asked for once,
    for its accuracy.
    """

    scenario: Scenario
    duration_s: float
    min_queries: int
    rate_per_s: float
    images_per_query: int = 1
    limit_s: float | None = None
    pct: float = 99.0
    seed: int = 0
    each_once: bool = False


@dataclass(frozen=True, kw_only=True)
class Times:
    """Each image's times, in the order in which they were asked for, (N,) arrays.

    `query` numbers the queries. `arrival_s` is the scheduled arrival after the first one's,
    `issue_s` is from there until the image was handed over, `latency_s` until it was answered.
    """

    query: np.ndarray
    sample: np.ndarray
    arrival_s: np.ndarray
    issue_s: np.ndarray
    latency_s: np.ndarray

    @property
    def wall_s(self) -> float:
        """From the first arrival to the last answer."""
        return float((self.arrival_s + self.latency_s).max())

    def of_queries(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each query its latency, which is that of its last image, and that image's index."""
        starts = np.flatnonzero(np.diff(self.query, prepend=-1))
        if len(starts) == len(self.query):
            return self.latency_s, starts
        latency_s = np.maximum.reduceat(self.latency_s, starts)
        ends = np.append(starts[1:], len(self.query))
        last = [
            start + int(self.latency_s[start:end].argmax())
            for start, end in zip(starts, ends, strict=True)
        ]
        return latency_s, np.array(last)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What LoadGen says of a run, and when each query arrived and was answered.

    `said` has the last value of each key of its detailed log. `queries` are the batcher's, in the
    order of `times`; `answers` is the class for each sample of its accuracy log, in accuracy mode.
    """

    said: dict[str, Any]
    times: Times
    queries: list[Query]
    answers: dict[int, int] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        """Its judgement."""
        return bool(self.said.get("result_validity") == "VALID")

    @property
    def why_not(self) -> list[str]:
        """Its reasons, in words."""
        found = [
            words
            for key, words in (
                ("result_perf_constraints_met", "the latency limit was not kept"),
                ("result_min_duration_met", "it was shorter than it had to be"),
                ("result_min_queries_met", "it had fewer queries than it had to have"),
            )
            if self.said.get(key) is False
        ]
        if self.said.get("early_stopping_met") is False:
            text = " ".join(str(self.said.get("early_stopping_result", "")).split())
            more = re.search(r"(?:at least|process at least) ([\d,]+) (?:more )?queries", text)
            needed = f" (LoadGen: {more[0]})" if more else ""
            found.append(f"too few queries to be sure of the percentile{needed}")
        return found

    @property
    def latency_s(self) -> dict[str, float]:
        """Percentiles, mean, least and largest query latency."""
        per_query = [key for key in self.said if "per_query_latency" in key]
        kind = "query_latency_ns" if per_query else "latency_ns"
        found = {name: self.said[f"result_{name}_{kind}"] * NS for name in ("mean", "min", "max")}
        for key, value in self.said.items():
            named = _PERCENTILE.fullmatch(key)
            if named and bool(per_query) == ("per_query" in key):
                found[f"{float(named[1]):g}"] = value * NS
        return found


class _Running:
    """The thread of this process's last run."""

    thread: threading.Thread | None = None


def check_installed() -> None:
    """Raise `InstallationError` where LoadGen cannot be imported."""
    try:
        import mlperf_loadgen  # noqa: F401
    except ImportError as error:
        raise InstallationError(
            f"fastbench loadtest needs LoadGen, which cannot be imported ({first_line(error)}). "
            f'Install it: pip install "fastbench[loadgen]"'
        ) from error


def run(
    rules: Rules,
    batcher: Batcher,
    num_samples: int,
    folder: Path,
    on_tick: Callable[[float, int], None] = lambda *_: None,
) -> Outcome:
    """One run of LoadGen over the samples, whose logs are left in the folder.

    The calling thread computes. `on_tick` is called some times a second with the seconds since the
    start and the queries so far. Raises what `Batcher.work` raises. After that, and after
    `KeyboardInterrupt`, LoadGen runs on until the process ends, and no other run is possible.
    """
    if _Running.thread is not None and _Running.thread.is_alive():  # LoadGen would abort
        raise FastbenchError(
            "A run of LoadGen that was cut off still goes on in this process. Start a new process."
        )
    queries: list[Query] = []
    with writing("The load generator's logs", folder):
        folder.mkdir(parents=True, exist_ok=True)
    done = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _start(rules, batcher, num_samples, folder, queries)
        except BaseException as error:  # noqa: BLE001 - raised by the caller's thread
            failures.append(error)
        finally:
            done.set()
            batcher.wake()

    start = time.monotonic()
    _Running.thread = threading.Thread(target=work, name="fastbench-loadgen", daemon=True)
    _Running.thread.start()
    batcher.work(done.is_set, lambda: on_tick(time.monotonic() - start, len(queries)))
    for failure in failures:
        raise failure
    outcome = _read(folder, queries, each_once=rules.each_once)
    _LOG.debug("%s: %d queries, %s", folder.name, len(queries), outcome.said.get("result_validity"))
    return outcome


def _start(
    rules: Rules, batcher: Batcher, num_samples: int, folder: Path, queries: list[Query]
) -> None:
    import mlperf_loadgen as loadgen

    response, complete = loadgen.QuerySampleResponse, loadgen.QuerySamplesComplete

    def issue(asked: Sequence[Any]) -> None:
        queries.extend(batcher.take([(each.id, each.index) for each in asked]))

    def answer(answered: Sequence[Query]) -> None:
        values_N = answers_of(answered)
        first, size = values_N.ctypes.data, values_N.itemsize
        complete([response(each.number, first + i * size, size) for i, each in enumerate(answered)])

    batcher.answer = answer
    logs = loadgen.LogSettings()
    output = loadgen.LogOutputSettings()
    output.outdir, output.prefix = str(folder), _PREFIX
    logs.log_output, logs.enable_trace = output, True
    sut = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(num_samples, num_samples, lambda _: None, lambda _: None)
    try:
        audit = str(folder / _NO_AUDIT)
        loadgen.StartTestWithLogSettings(sut, library, _settings(loadgen, rules), logs, audit)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(sut)


def _settings(loadgen: Any, rules: Rules) -> Any:
    found = loadgen.TestSettings()
    found.scenario = getattr(loadgen.TestScenario, _SCENARIOS[rules.scenario])
    mode = "AccuracyOnly" if rules.each_once else "PerformanceOnly"
    found.mode = getattr(loadgen.TestMode, mode)
    found.min_duration_ms = round(1000 * rules.duration_s)
    found.min_query_count = rules.min_queries
    for name in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        setattr(found, name, rules.seed + 1)
    found.server_target_qps = found.offline_expected_qps = rules.rate_per_s
    if rules.limit_s is not None:
        found.server_target_latency_ns = round(rules.limit_s / NS)
        found.server_target_latency_percentile = rules.pct / 100
    found.multi_stream_samples_per_query = rules.images_per_query
    per_query_ns = rules.images_per_query / rules.rate_per_s / NS
    found.single_stream_expected_latency_ns = found.multi_stream_expected_latency_ns = per_query_ns
    return found


def _read(folder: Path, queries: list[Query], *, each_once: bool) -> Outcome:
    """What the logs say. The trace, 700 bytes a query, is not kept."""
    said: dict[str, Any] = {}
    for line in (folder / f"{_PREFIX}detail.txt").read_text("utf-8").splitlines():
        _, marker, text = line.partition(":::MLLOG ")
        if marker:
            with contextlib.suppress(ValueError):  # a line that was cut off
                entry = json.loads(text)
                said[entry["key"]] = entry["value"]
    if said.get("num_errors"):
        text = str(said.get("error_runtime") or "an error of its own").rstrip(".")
        raise FastbenchError(f"LoadGen ended early: {text}. See {folder / f'{_PREFIX}detail.txt'}")
    trace = folder / f"{_PREFIX}trace.json"
    times = _times(trace)
    trace.unlink()
    in_order = _in_order(queries, times)
    answers = {}
    if each_once:
        for each in json.loads((folder / f"{_PREFIX}accuracy.json").read_text("utf-8")):
            answers[each["qsl_idx"]] = int(np.frombuffer(bytes.fromhex(each["data"]), np.int64)[0])
    return Outcome(said=said, times=times, queries=in_order, answers=answers)


def _times(trace: Path) -> Times:
    with trace.open("rb") as file:
        matches = filter(None, map(_SAMPLE.search, file))
        found = [tuple(map(float, match.groups())) for match in matches]
    if not found:
        raise FastbenchError(f"LoadGen's trace has no query: {trace}. Try a longer --duration.")
    table = np.array(found)
    table = table[table[:, 1].argsort(kind="stable")]
    arrival_us, _, query, sample, issue_ns, complete_ns = table.T
    return Times(
        query=query.astype(np.int64),
        sample=sample.astype(np.int64),
        arrival_s=(arrival_us - arrival_us.min()) * 1e-6,
        issue_s=np.maximum(issue_ns, 0) * NS,
        latency_s=complete_ns * NS,
    )


def _in_order(queries: list[Query], times: Times) -> list[Query]:
    """The queries in the order of LoadGen's times; within a query it may hand them over in another.

    Raises `FastbenchError` where the two are not the same queries.
    """
    if len(queries) == len(times.sample):
        if all(map(int.__eq__, (query.sample for query in queries), times.sample.tolist())):
            return queries
        by_number = sorted(queries, key=lambda query: query.number)
        if all(map(int.__eq__, (query.sample for query in by_number), times.sample.tolist())):
            return by_number
    raise FastbenchError(
        f"LoadGen's trace has other queries ({len(times.sample):,}) than it handed over "
        f"({len(queries):,}). That is a bug of fastbench or of this LoadGen: report it."
    )


def rules_in_words(rules: Rules, said: dict[str, Any]) -> dict[str, int | float | str]:
    """LoadGen's settings as it reports them, for the record."""
    return {
        "loadgen": str(said.get("loadgen_version", "")),
        "scenario": _SCENARIOS[rules.scenario],
        "min_duration_s": rules.duration_s,
        "min_query_count": rules.min_queries,
        "seed": rules.seed + 1,
    }


def percentile_of(latency_s: np.ndarray, pct: float) -> float:
    """LoadGen's percentile: of n latencies in order, the one at n * pct / 100, counted from 0."""
    ordered = np.sort(latency_s)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * pct / 100))])
