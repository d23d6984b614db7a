"""DataLoader workers: how they start, how Ctrl-C is kept from them, how their faults are reported.

Workers are forked from a clean server process, never from this one, where CUDA, DALI and torch
have threads that a fork would break. A row's process has one such server
(`core/worker_server.py`). It imports, once, the loaders that were imported here when the first
worker was asked for; what a worker needs beyond them it imports itself, which takes seconds. In a
program of the user's, the server is that of the rows.

A DataLoader waits for ever for a batch that a worker cannot send, or does not finish. So a worker
sends its error in the batch's place, and workers that are too late are killed, which a DataLoader
sees within seconds.

Of a worker that died only its exit status is known: when memory runs out, the system kills one and
says so in its log.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
import warnings
from abc import abstractmethod
from functools import partial
from multiprocessing import connection, queues, resource_sharer, resource_tracker
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._utils import ExceptionWrapper

from fastbench.core import child_process, own_processes
from fastbench.core.device import as_ours
from fastbench.core.errors import FastbenchError, LoaderError
from fastbench.loaders.base import Batch
from fastbench.loaders.shared.epochs import EpochLoader
from fastbench.loaders.shared.shared_memory import SharedMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.process import BaseProcess

    from fastbench.loaders.base import LoaderSpec, Setting

_LOOK_S: Final = 5.0
"""How often is looked whether workers are too late."""
_TOLD_S: Final = 1.0
"""How long the server may take to tell of a worker's end."""
_UNKNOWN: Final = 255
"""The exit code of a process whose server has gone."""


class WorkerLoader(EpochLoader):
    """A loader over a DataLoader, which has worker processes where it prefetches.

    The DataLoader gives images (N, C, H, W) and ids (N,). After an error it is opened again for the
    next epoch, since its iterator does not go on. `sent` is the dtype of the images that workers
    send, where it is not the spec's.
    """

    def __init__(
        self, spec: LoaderSpec, settings: Mapping[str, Setting], sent: torch.dtype | None = None
    ) -> None:
        super().__init__(spec)
        self._num_workers = spec.num_threads if spec.prefetch else 0
        self._memory = SharedMemory(self.name, spec, self._num_workers, sent or self._dtype)
        self._workers: list[BaseProcess] = []
        self._waits_since: float | None = None
        self._is_late = False
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None
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
        self._memory.check()
        context = multiprocessing.get_context("forkserver")
        if multiprocessing.parent_process() is None:
            child_process.ensure_server()
        else:
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
        others = set(multiprocessing.active_children())
        try:
            with interrupt_deferred(), own_processes.started():
                if self._loader is None:
                    self._loader = self._open()
                stream = iter(self._loader)
        except Exception as error:
            raise self._failed(self._position, error) from error
        self._workers += set(multiprocessing.active_children()) - others
        if self._workers and self._watch is None:
            self._watch = threading.Thread(
                target=self._kill_the_late, name="fastbench-late-workers", daemon=True
            )
            self._watch.start()
        return stream

    def _take(self, position: int) -> Any:
        self._waits_since = time.monotonic()
        try:
            if self._stream is None:
                self._stream = self._start()
            taken = next(self._stream)
            if self._position == 0:
                self._end_epoch()
        except FastbenchError:
            raise
        except Exception as error:
            raise self._failed(position, error) from error
        finally:
            self._waits_since = None
        return taken

    def _kill_the_late(self) -> None:
        """Kill the workers when a batch has been waited for too long; runs in a thread."""
        while not self._ended.wait(_LOOK_S):
            since = self._waits_since
            if since is not None and time.monotonic() - since > self._limit_s:
                self._is_late = True
                for worker in self._workers:
                    worker.kill()

    def _failed(self, position: int, error: Exception) -> Exception:
        """Let go of the workers; what to raise in place of an error at the batch of a position."""
        _drop_frames(error)
        told = self._reason(position, error)
        self._loader = self._stream = None
        self._workers = []
        self._is_late = False
        self._position = 0
        return told

    def _reason(self, position: int, error: Exception) -> Exception:
        if isinstance(error, FastbenchError | torch.OutOfMemoryError):
            return error
        if self._is_late:
            return self._too_late(position)
        died = _is_death(error)
        status = self._first_end() if died else None
        if status == -signal.SIGBUS or any(
            words in str(error) for words in ("(shm)", "No space left on device")
        ):
            return self._memory.error()
        if (ours := as_ours(error, "loading", self._spec.batch_size)) is not None:
            return ours
        if died:
            return self._death(status)
        if isinstance(error, StopIteration):
            return LoaderError(
                f"The loader {self.name!r} ended its epoch before batch {position} of "
                f"{self._spec.num_batches}: its workers have lost batches. Use another --loader."
            )
        return self._explain(position, error) or error

    def _first_end(self) -> int | None:
        """The exit status of a worker that ended by itself; None where the server tells of none.

        The worker's end shows before the server has told of it.
        """
        until = time.monotonic() + _TOLD_S
        running = list(self._workers)
        while running and (left := until - time.monotonic()) > 0:
            connection.wait([worker.sentinel for worker in running], left)
            for worker in running:
                # Those that a DataLoader ends itself say nothing.
                if worker.exitcode not in (None, 0, -signal.SIGTERM, _UNKNOWN):
                    return worker.exitcode
            running = [worker for worker in running if worker.exitcode is None]
        return None

    def _death(self, status: int | None) -> LoaderError:
        """What is known of the death of a worker, by its exit status."""
        what = f"A worker process of the loader {self.name!r} died"
        if status is None or status == -signal.SIGKILL:
            return LoaderError(
                f"{what}, as when memory, processes or threads run out. Use a smaller --batch-size "
                f"or fewer --num-threads, or look at the limits: ulimit -a"
            )
        return LoaderError(
            f"{what}: it {child_process.ending_of(status)}. That is a fault of a library that it "
            f"uses: try other versions of it, or another --loader."
        )

    def _hand_over(self, taken: Any, ids: range) -> Batch:
        images_NCHW, ids_N = taken
        images_NCHW = images_NCHW.to(
            self._device, self._dtype, non_blocking=True, memory_format=torch.channels_last
        )
        return Batch(images_NCHW, ids_N.to(self._device, non_blocking=True), len(ids))

    def _free(self) -> None:
        self._ended.set()
        self._loader = self._stream = None
        self._workers = []
        if self._watch is not None:
            self._watch.join()


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
    queues.Queue._on_queue_feeder_error = _send_error  # type: ignore[attr-defined]
    # Starts the thread that hands tensors out. If that fails later, only the first batch has the
    # error, and the next one would be waited for.
    resource_sharer.DupFd(1)
    if init is not None:
        init(worker)


def _send_error(queue: queues.Queue[Any], error: Exception, item: tuple[int, Any]) -> None:
    """Send, in place of a batch that could not be sent, the error; the number of the batch stays.

    A queue calls this in its own thread, and would else lose the batch.
    """
    number, _ = item
    # Before the batches that follow it: a DataLoader drops what comes after a worker's last.
    queue._sem.acquire()  # type: ignore[attr-defined]
    told = ExceptionWrapper((type(error), error, error.__traceback__), "as it sent a batch")
    queue._buffer.appendleft((number, told))  # type: ignore[attr-defined]


def _drop_frames(error: BaseException) -> None:
    """Drop the frames of a DataLoader's error and of its causes.

    They hold the DataLoader's iterator, whose workers would outlive `close()`.
    """
    part: BaseException | None = error
    while part is not None:
        part.__traceback__ = None
        part = part.__cause__ or part.__context__


def _is_death(error: Exception) -> bool:
    """Whether an error, from a DataLoader, says that a worker died.

    What a worker raised arrives with its own type and a text of torch's that begins "Caught".
    """
    # Tensors come through sockets of the worker's: its death may show there first.
    if not isinstance(error, RuntimeError | ConnectionError | EOFError):
        return False
    text = str(error)
    return not text.startswith("Caught") and (
        not isinstance(error, RuntimeError) or "worker" in text
    )
