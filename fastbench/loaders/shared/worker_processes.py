"""How do DataLoader workers start, how are they left alone by Ctrl-C, and how is their death told?

Workers are forked from a clean server process, never from this one, where CUDA, DALI and torch
have threads that a fork would break. There is one server for the whole process. It imports, once,
the loaders that this process had imported when the first worker was asked for; what a worker needs
beyond them it imports itself, which takes seconds.

What it does not know: why a worker died. The system kills one when memory runs out, and says so
only in its own log.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import warnings
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from fastbench.core.errors import LoaderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "interrupt_deferred",
    "start_worker",
    "without_frames",
    "worker_arguments",
    "worker_death",
]


def worker_arguments(prefetch: int, init: Callable[[int], None] | None = None) -> dict[str, Any]:
    """The arguments of a DataLoader that say how its workers start and how far they run ahead.

    `init` is called in each worker, with its number.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_loaders_with_workers())
    return {
        "multiprocessing_context": context,
        "prefetch_factor": prefetch,
        "worker_init_fn": partial(start_worker, init=init),
    }


@contextlib.contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Hold Ctrl-C back while workers start, and keep it from them for good.

    A terminal sends it to the whole process group. The server that workers are forked from would
    die of it while it imports torch, and a worker that comes up after this process gave up finds
    its queues gone: both print tracebacks. They inherit the blocked signal; this process, whose
    other threads may still catch it, notes it and stops when the workers are up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Started by the first worker, it would unblock the signal again for all that come after.
    resource_tracker.ensure_running()
    pending = []
    previous = signal.signal(signal.SIGINT, lambda *_: pending.append(True))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, previous)
    if pending:
        raise KeyboardInterrupt


def start_worker(worker: int, init: Callable[[int], None] | None = None) -> None:
    """What a worker does first."""
    # Ctrl-C reaches the whole process group; the parent stops the workers, quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Pillow warns of damaged EXIF data, once a file: not an error, and not ours to print.
    warnings.filterwarnings("ignore", module="PIL")
    if init is not None:
        init(worker)


def without_frames(error: BaseException) -> None:
    """Take its frames from an error of a DataLoader's, and from those that it came from.

    They hold the DataLoader's iterator, whose workers would outlive `close()`.
    """
    part: BaseException | None = error
    while part is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__


def worker_death(error: Exception, loader: str) -> LoaderError | None:
    """The error to raise where `error`, from a DataLoader, says that a worker died; else None.

    An exception that a worker raised arrives as one of its own type, with a text of torch's that
    begins with "Caught".
    """
    # Tensors come through sockets of the worker's: its end may show there first.
    if not isinstance(error, RuntimeError | ConnectionError | EOFError):
        return None
    text = str(error)
    if text.startswith("Caught") or (isinstance(error, RuntimeError) and "worker" not in text):
        return None
    return LoaderError(
        f"A worker process of the loader {loader!r} died; when memory runs out, the system kills "
        f"one. Use a smaller --batch-size or fewer --num-threads."
    )


def _loaders_with_workers() -> list[str]:
    """The loaders' modules that this process has imported: those that have `worker_arguments`."""
    return [
        name
        for name, module in list(sys.modules.items())
        if name not in (__name__, "__main__")
        and getattr(module, "__dict__", {}).get("worker_arguments") is worker_arguments
    ]
