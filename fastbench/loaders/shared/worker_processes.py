"""DataLoader workers: how they start, how Ctrl-C is kept from them, how their death is reported.

Workers are forked from a clean server process, never from this one, where CUDA, DALI and torch
have threads that a fork would break. This process has one such server (`core/worker_server.py`). It
imports, once, the loaders that were imported here when the first worker was asked for; what a
worker needs beyond them it imports itself, which takes seconds.

Why a worker died is not known: when memory runs out, the system kills one and says so in its log.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import warnings
from abc import abstractmethod
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import torch

from fastbench.core.errors import LoaderError
from fastbench.loaders.base import Batch
from fastbench.loaders.shared.epochs import EpochLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastbench.loaders.base import LoaderSpec, Setting


class WorkerLoader(EpochLoader):
    """A loader over a DataLoader, which has worker processes where it prefetches.

    The DataLoader gives images (N, C, H, W) and ids (N,). After an error it is opened again for the
    next epoch, since its iterator does not go on.
    """

    def __init__(self, spec: LoaderSpec, settings: Mapping[str, Setting]) -> None:
        super().__init__(spec)
        self._num_workers = spec.num_threads if spec.prefetch else 0
        self._loader: Any = None
        self._stream: Iterator[Any] | None = None
        self.settings = {
            **settings,
            "num_workers": self._num_workers,
            "prefetch_factor": spec.prefetch,
            "pin_memory": spec.on_gpu,
        }

    @abstractmethod
    def _open(self) -> Any:
        """Make the DataLoader."""

    def _end_epoch(self) -> None:
        """Called when the last batch of an epoch was taken."""

    def _explain(self, position: int, error: Exception) -> Exception | None:  # noqa: ARG002
        """What to raise in place of an error that came at the batch of a position."""
        return None

    def _arguments(self, init: Callable[[int], None] | None = None) -> dict[str, Any]:
        """A DataLoader's arguments that say how its workers start and how far they run ahead.

        `init` is called in each worker, with its number.
        """
        arguments = {"num_workers": self._num_workers, "pin_memory": self._spec.on_gpu}
        if not self._num_workers:
            return arguments
        context = multiprocessing.get_context("forkserver")
        loaders = {loader.__module__ for loader in WorkerLoader.__subclasses__()}
        context.set_forkserver_preload(sorted(loaders))
        return {
            **arguments,
            "multiprocessing_context": context,
            "prefetch_factor": self._spec.prefetch,
            "worker_init_fn": partial(_start_worker, init=init),
        }

    def _start(self) -> Iterator[Any]:
        """Begin the next epoch; the workers are started where they are not up."""
        with interrupt_deferred():
            if self._loader is None:
                self._loader = self._open()
            return iter(self._loader)

    def _take(self, position: int) -> Any:
        try:
            if self._stream is None:
                self._stream = self._start()
            taken = next(self._stream)
            if self._position == 0:
                self._end_epoch()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            _drop_frames(error)
            self._loader = self._stream = None
            self._position = 0
            told = _worker_death(error, self.name) or self._explain(position, error)
            if told is None:
                raise
            raise told from error
        return taken

    def _hand_over(self, taken: Any, ids: range) -> Batch:
        images_NCHW, ids_N = taken
        images_NCHW = images_NCHW.to(
            self._device, self._dtype, non_blocking=True, memory_format=torch.channels_last
        )
        return Batch(images_NCHW, ids_N.to(self._device, non_blocking=True), len(ids))

    def _free(self) -> None:
        self._loader = self._stream = None


@contextlib.contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Hold Ctrl-C back while workers start, and keep it from them for good.

    A terminal sends it to the whole process group. The server that workers are forked from would
    die of it while it imports torch, and a worker that starts after this process gave up finds
    its queues gone: both print tracebacks. So they inherit the blocked signal. This process, whose
    other threads may still catch it, notes it and stops when the workers are up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # If the first worker started it, it would unblock the signal for the later ones.
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


def _start_worker(worker: int, init: Callable[[int], None] | None = None) -> None:
    # Ctrl-C reaches the whole process group; the parent stops the workers, quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Pillow warns of damaged EXIF data, once a file, which is no error here.
    warnings.filterwarnings("ignore", module="PIL")
    if init is not None:
        init(worker)


def _drop_frames(error: BaseException) -> None:
    """Drop the frames of a DataLoader's error and of its causes.

    They hold the DataLoader's iterator, whose workers would outlive `close()`.
    """
    part: BaseException | None = error
    while part is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__


def _worker_death(error: Exception, loader: str) -> LoaderError | None:
    """The error to raise where `error`, from a DataLoader, says that a worker died; else None.

    What a worker raised arrives with its own type and a text of torch's that begins "Caught".
    """
    # Tensors come through sockets of the worker's: its death may show there first.
    if not isinstance(error, RuntimeError | ConnectionError | EOFError):
        return None
    text = str(error)
    if text.startswith("Caught") or (isinstance(error, RuntimeError) and "worker" not in text):
        return None
    return LoaderError(
        f"A worker process of the loader {loader!r} died; when memory runs out, the system kills "
        f"one. Use a smaller --batch-size or fewer --num-threads."
    )
