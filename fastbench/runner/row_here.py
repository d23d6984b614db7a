"""Rows in the caller's own process: those of a model that is only an object there.

What torch has once a process (threads, precision, the current GPU and stream, the state of its
random numbers) is afterwards as it was before. What could not be undone is refused, or done only
where it is asked for. A crash ends the caller's process; the rows before it are on disk.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from fastbench.core import allocator
from fastbench.core.child_process import WAITING
from fastbench.core.errors import CrashError, FastbenchError, UsageError, kind_and_line
from fastbench.core.system_errors import as_ours
from fastbench.records.record import FailedRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Progress


def rows_here(
    make_rows: Callable[..., Iterator[Any]],
    config: RunConfig,
    folder: Path,
    tell: Progress,
    name: tuple[str, str],
) -> Iterator[Any]:
    """The rows of `make_rows(config, folder, tell)`; `name` are the model and loader of the first.

    Raises a `FastbenchError` that `make_rows` raises; any other error is a failed row.
    """
    check(config)
    _warn_of_spinning(config, tell)
    if (why_not := allocator.set_up(config.allocator)) is not None:
        tell.note(f"--allocator {config.allocator} has no effect: {why_not}.")
    with _torch_as_before():
        try:
            yield from make_rows(config, folder, tell)
        except FastbenchError:
            raise
        except Exception as error:  # noqa: BLE001 - it is the row's, and other rows go on
            ours = as_ours(error) or CrashError(
                f"The row failed with {kind_and_line(error)}. Look at its traceback, and mend the "
                f"model or the loader that is named there."
            )
            ours.__cause__ = error
            yield FailedRow(*name, ours)


def check(config: RunConfig) -> None:
    """Raise `UsageError` for what a row in the caller's process cannot have."""
    why = None
    if config.ranks > 1:
        why = f"ranks={config.ranks} needs a process for each rank"
    elif config.cuda_wait != "spin":
        why = f"cuda_wait={config.cuda_wait!r} cannot be undone in this process"
    if why is not None:
        raise UsageError(
            f"The model {config.models[0]} is an object of this process, and {why}. Give the model "
            f"by name, such as package.module:callable, or leave that out."
        )


def _warn_of_spinning(config: RunConfig, tell: Progress) -> None:
    """Say where OpenMP's threads burn cores while they wait, which can only be set before torch."""
    import torch

    on_cpu = config.device == "cpu" or not torch.cuda.is_available()
    if on_cpu and os.environ.get(WAITING[0], "").upper() != WAITING[1]:
        tell.note(
            f"torch's threads spin while they wait here, and take the cores from the loader. Set "
            f"{'='.join(WAITING)} before Python starts, as rows of named models have it."
        )


@contextlib.contextmanager
def _torch_as_before() -> Iterator[None]:
    """Put back what a row sets for the whole process."""
    import torch

    cudnn = torch.backends.cudnn
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    allow_tf32, benchmark = cudnn.allow_tf32, cudnn.benchmark
    with torch.random.fork_rng(devices=[]), _gpu_as_before():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            cudnn.allow_tf32, cudnn.benchmark = allow_tf32, benchmark


@contextlib.contextmanager
def _gpu_as_before() -> Iterator[None]:
    """Put back the current GPU and its stream, and give back the memory that is free again."""
    from torch import cuda

    device = cuda.current_device() if cuda.is_initialized() else 0
    stream = cuda.current_stream() if cuda.is_initialized() else None
    try:
        yield
    finally:
        if cuda.is_initialized():
            cuda.set_device(device)
            cuda.set_stream(stream or cuda.default_stream())
            cuda.empty_cache()
