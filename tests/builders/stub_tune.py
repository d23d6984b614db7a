"""What the tests of `fastbench tune` run in place of a trial, without torch.

How fast a pipeline is follows from its settings: batches of 64 are best, those of 128 are killed,
those of 256 crash, and those of 16 are refused.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastbench.core.config import RunConfig
from fastbench.core.errors import LoaderError
from fastbench.measure.gaussian_process import Axis
from fastbench.records.record import AbRecord, FailedRow
from fastbench.records.store import SCHEMA_VERSION
from fastbench.runner.objective import LATENCY
from fastbench.runner.trials_file import Measured, Space

BATCHES = Axis("batch_size", (4, 8, 16, 32, 64, 128, 256), 3, 0.4, 3, memory=1, to_model=True)
THREADS = Axis("num_threads", (1, 2, 3), 1, 0.4, 1.5)
PREFETCH = Axis("prefetch", (1, 2, 4), 1, 0.08, 1.5, memory=0.25)


def describe(
    config: RunConfig,
    folder: Path,
    tell: Any,
    leave_out: Any = (),
    *,
    objective: str,
    loader_search: Any = None,
) -> Iterator[Space]:
    axes = [THREADS] if objective == LATENCY else [BATCHES, THREADS, PREFETCH]
    given = [axis for axis in axes if getattr(config, axis.name, None) is None]
    yield Space(tuple(given), 2, "the CPU", config.data, has_energy=False, environment={})


def trial(
    config: RunConfig,
    folder: Path,
    tell: Any,
    leave_out: Any = (),
    *,
    objective: str,
    num_samples: int,
) -> Iterator[Measured | FailedRow]:
    batch, threads = config.batch_size or 32, config.num_threads or 2
    if batch == 128:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from simulated(batch, threads, max(num_samples, 80) if objective == LATENCY else 0)


def simulated(batch: int, threads: int, num_samples: int) -> Iterator[Measured | FailedRow]:
    if batch == 16:
        yield FailedRow("sample", "dali", LoaderError("It refuses. Use another."))
        return
    rate = 100 * batch / (batch + 8) * (1 - 0.2 * abs(threads - 1)) - (20 if batch > 64 else 0)
    yield Measured(
        num_images=1000,
        wall_s=1000 / rate,
        samples_s=[batch / rate] * num_samples,
        cpu_s=5.0 * threads,
    )


def compared(ratio: float, num_pairs: int = 24) -> AbRecord:
    """What `--ab` of the two gives."""
    return AbRecord(
        schema_version=SCHEMA_VERSION,
        created="2026-01-02T03:04:05+00:00",
        command="fastbench tune",
        loader="dali",
        model="sample",
        weights="embedded",
        device="cpu",
        batch_size=32,
        config={},
        environment={},
        data={"num_samples": 1000},
        preprocess={},
        loader_settings={},
        dtype="float32",
        compile_mode=None,
        changes=["batch-size=64"],
        other_config={},
        other_loader_settings={},
        a_images_per_s=[100.0 + i for i in range(num_pairs)],
        b_images_per_s=[ratio * (100.0 + i + i % 3) for i in range(num_pairs)],
    )
