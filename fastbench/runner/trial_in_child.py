"""The jobs of `fastbench tune` for a process of their own, of which importing needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress
    from fastbench.data.dataset import Skipped
    from fastbench.measure.loader_settings import Found
    from fastbench.records.record import FailedRow
    from fastbench.runner.trials_file import Measured, Space


def describe(
    config: RunConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped] = (),
    *,
    objective: str,
    loader_search: Found | None = None,
) -> Iterator[Space]:
    """As `trial.describe`, which imports torch."""
    from fastbench.runner.trial import describe

    yield from describe(
        config, folder, tell, leave_out, objective=objective, loader_search=loader_search
    )


def trial(
    config: RunConfig,
    folder: Path,
    tell: Progress,
    leave_out: Collection[Skipped] = (),
    *,
    objective: str,
    num_samples: int,
) -> Iterator[Measured | FailedRow]:
    """As `trial.trial`, which imports torch."""
    from fastbench.runner.trial import trial

    yield from trial(config, folder, tell, leave_out, objective=objective, num_samples=num_samples)
