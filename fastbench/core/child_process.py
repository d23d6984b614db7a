"""A process that does one job: started, listened to, and ended with all that it started.

Children are forked from a server process that has imported torch, so a child starts in
milliseconds. It is started with the first child, and again if it has died.

A child sends messages through a pipe. Its stdout and stderr are kept in a file. It leads a process
group of its own: a terminal's Ctrl-C reaches the parent alone, and whatever the child started ends
with it. When the parent ends, in whatever way, the child kills its group.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import logging.handlers
import math
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from typing import IO, TYPE_CHECKING, Any, Final

from fastbench.core import errors, own_processes, system_errors, temporary
from fastbench.core.debugging import debugging, is_debugging, traceback_of
from fastbench.core.errors import EXIT_INTERRUPTED, CorruptImageError, CrashError, FastbenchError
from fastbench.core.worker_server import fork_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.process import BaseProcess

PRELOADED: Final = ["fastbench.core.server_preload", "fastbench.core.torch_preload"]
"""What the server imports."""
import_failures: Final[list[Exception]] = []
"""In the server and its children: why torch or torchvision could not be imported."""
FOLDERS_VARIABLE: Final = "FASTBENCH_SERVER_FOLDERS"
"""Tells the server in which folder this process keeps its temporary files."""
WAITING: Final = ("OMP_WAIT_POLICY", "PASSIVE")
"""A variable of the server and its children, read as torch is loaded. OpenMP's threads spin while
they wait, and take the cores from the loader's workers: on two cores without a GPU that costs a
third of the throughput.
"""
_MOST_BYTES: Final = 2**27
"""Of a message. Text that a library writes into the pipe reads as a longer one."""
_CUT_OFF_S: Final = 2.0
"""How long a child that was killed may take to end."""
MUTE_S: Final = 10.0
"""How long one may go on that has closed its end of the pipe, and can answer no more."""
_LOG = logging.getLogger(__name__)


class ChildProcess:
    """`work(job, channel)` in a process, as a context manager: leaving it kills its process group.

    `work` is a function of a module, `output` the file that takes stdout and stderr. After `end()`,
    `status` is the exit status, negative for a signal. `called` is what an error calls it,
    `is_done` whether it has nothing to answer, and `silent_s` for how long it gave no sign of life,
    if it was ended for that. `fault` is what else it was ended for, to follow "the process". Raises
    `CrashError` if no process can be started.
    """

    called = "The row's process"
    is_done = False
    silent_s: float | None = None

    def __init__(self, work: Callable[[Any, Channel], None], job: Any) -> None:
        # Not in a `with`: the process writes to it as long as it lives.
        self.output: IO[bytes] = tempfile.TemporaryFile(dir=temporary.run_folder())  # noqa: SIM115
        self.status = 0
        self._messages, theirs = multiprocessing.Pipe(duplex=False)
        output = connection.Connection(os.dup(self.output.fileno()), readable=False)
        with theirs, output:
            self._process = _start(work, job, theirs, output)
        self._is_over = False
        self.fault = ""
        _LOG.debug("process %d started: %s.%s", self._pid, work.__module__, work.__name__)

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._process.close()
        self._messages.close()
        self.output.close()

    def next_message(self, seconds: float = math.inf) -> Any:
        """The child's next message; None if it has ended and there is no other.

        Raises `TimeoutError` if none comes within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 or self.has_ended():
            connection.wait(self.signs, None if math.isinf(left) else max(0.0, left))
            # Not by the pipe's end: a worker of a child that has died may hold it open.
            if not self._messages.poll():
                if self.has_ended():
                    return None
                continue
            try:
                content = self._messages.recv_bytes(_MOST_BYTES)
            except EOFError:  # nothing writes any more
                if self.ends_within(min(left, MUTE_S)):
                    return None
                if left <= MUTE_S:
                    break
                self.fault = "closed the pipe for its answers, and was ended"
                self.end()
                return None
            except OSError:
                content = b""
            try:
                message = pickle.loads(content)
                name = message[0]
            except Exception:  # noqa: BLE001 - garbage may unpickle to anything
                # A killed child's message may be cut off.
                killed = self.ends_within(_CUT_OFF_S) and (self._process.exitcode or 0) < 0
                if not killed:
                    self.fault = "wrote what is no message where its answers belong, and was ended"
                self.end()
                return None
            if name != "log":
                return message
            logging.getLogger(message[1].name).handle(message[1])
        raise TimeoutError

    @property
    def signs(self) -> list[Any]:
        """What `multiprocessing.connection.wait` can wait for: a message, or the child's end."""
        return [self._messages, self._process.sentinel]

    def has_news(self) -> bool:
        """Whether there is a message, or the child has ended."""
        return self._messages.poll() or self.has_ended()

    def has_ended(self) -> bool:
        """Whether the child has ended."""
        return self._process.exitcode is not None

    def ends_within(self, seconds: float) -> bool:
        """Wait for the child to end by itself; whether it did."""
        self._process.join(None if math.isinf(seconds) else max(0.0, seconds))
        return self.has_ended()

    def interrupt(self) -> None:
        """Send Ctrl-C to the child, so that it stops what it started."""
        if not self.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGINT)

    def end(self) -> None:
        """Kill what is left of the group, and note how the child ended."""
        if self._is_over:  # another process may have its number by now
            return
        self._is_over = True
        by_itself = self.has_ended()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        self._process.kill()  # it may not lead a group yet
        self._process.join()
        self.status = self._process.exitcode or 0
        _LOG.debug("process %d %s", self._pid, self.ending if by_itself else "was ended from here")

    @property
    def ending(self) -> str:
        """How it ended, to follow "the process"."""
        return self.fault or ending_of(self.status)

    def read_output(self) -> tuple[bytes, list[str]]:
        """What was printed, and the lines of it that are not empty."""
        file = self.output.fileno()
        output = os.pread(file, os.fstat(file).st_size, 0)  # `seek` would move the child too
        lines = output.decode("utf-8", "replace").splitlines()
        return output, [line for line in lines if line.strip()]

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


def ending_of(status: int) -> str:
    """How a process with this exit status ended, negative for a signal: `was killed by SIGKILL`."""
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _start(
    work: Callable[[Any, Channel], None],
    job: Any,
    messages: connection.Connection,
    output: connection.Connection,
) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    environment = {**dict([WAITING]), **os.environ, **temporary.variables()}
    # If the server was just killed, or importing torch kills it, the second try has a server
    # without torch. The child then imports torch itself, and its crash is reported.
    for preloaded in (PRELOADED, []):
        process = context.Process(target=_serve, args=(work, job, messages, output, environment))
        try:
            ensure_server(preloaded)
            with own_processes.started():
                process.start()
        except (EOFError, OSError) as failure:
            error = failure
            time.sleep(0.1)  # until the system says that the server has ended
        else:
            return process
    raise system_errors.limit_of(error, "as a process was started") or CrashError(
        f"No process can be started ({type(error).__name__}: {error}). "
        f"See the limits of processes and of open files: ulimit -a"
    ) from error


def ensure_server(preloaded: Sequence[str] = PRELOADED) -> None:
    """Start the server if there is none; its imports are not waited for.

    Loaders in a program of the user's call it too: their workers are forked from the same server.
    """
    own_processes.server.set_forkserver_preload(list(preloaded))
    settings = {
        WAITING[0]: os.environ.get(*WAITING),
        FOLDERS_VARIABLE: "\n".join(temporary.folders()),
        # It imports from the same folders as this process, and from no others.
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "PYTHONSAFEPATH": "1",
        # A child that was killed leaves semaphores, and Python warns when it removes them.
        "PYTHONWARNINGS": f"{os.environ.get('PYTHONWARNINGS', '')},ignore:resource_tracker",
    }
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        resource_tracker.ensure_running()  # before the next line: it would unblock the signal
        # A terminal's Ctrl-C must not end the server, nor a child that leads no group yet.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            own_processes.server.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        _set_environment(before)


@atexit.register
def _end_server() -> None:
    """End a server that is still importing; it would notice this process's end only afterwards."""
    pid = getattr(own_processes.server, "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _set_environment(environment: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def portable(error: FastbenchError) -> FastbenchError:
    """The error as one that any process can unpickle: its class is the nearest in `errors`."""
    ours: FastbenchError
    if isinstance(error, CorruptImageError):  # its constructor takes more than the text
        ours = CorruptImageError(error.path, str(error.what), error.remedy)
    else:
        ours = next(k for k in type(error).__mro__ if vars(errors).get(k.__name__) is k)(str(error))
    if is_debugging():
        ours.add_note(f"In process {os.getpid()}:\n{traceback_of(error)}")
    return ours


# ------------------------------------------------------------------------------------ the child


@dataclass
class Channel:
    """How the child reports: messages by name, and a `core.progress.Progress`."""

    messages: connection.Connection
    _last: float = 0.0
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, name: str, *what: Any) -> None:
        """Send the tuple to the parent, which must be able to import the classes in it."""
        with self._sending:
            self.messages.send((name, *what))

    def say(self, text: str) -> None:
        """What is being done now."""
        self.send("say", text)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.send("note", text)

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        """As `core.progress.Count`."""

        def show(now: int, total: int) -> None:
            # At most ten a second, of what may be thousands.
            if now >= total or time.monotonic() > self._last + 0.1:
                self._last = time.monotonic()
                self.send("count", doing, done, now, total)

        return show


def _serve(
    work: Callable[[Any, Channel], None],
    job: Any,
    messages: connection.Connection,
    output: connection.Connection,
    environment: dict[str, str],
) -> None:
    """Do the job; a `FastbenchError`, or a limit that is reached, is sent as `ends`."""
    os.setpgid(0, 0)
    # The server has the environment of the time when it was started.
    _set_environment(environment)
    tempfile.tempdir = None
    with output:
        for standard in (1, 2):
            os.dup2(output.fileno(), standard)
    os.set_inheritable(messages.fileno(), False)
    with contextlib.suppress(OSError):  # then one is started when there is a worker
        fork_server(messages)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # The child's workers start by Python's default method, not by the child's own.
    multiprocessing.set_start_method(None, force=True)
    # A shell starts background processes with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    channel = Channel(messages)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with debugging(False, _LogToParent(channel)):
            if import_failures:
                raise import_failures[0]
            work(job, channel)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except FastbenchError as error:
        channel.send("ends", portable(error))
    except Exception as error:
        ours = system_errors.as_ours(error)
        if ours is None:
            raise
        channel.send("ends", portable(ours))


class _LogToParent(logging.handlers.QueueHandler):
    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)  # type: ignore[arg-type] # only `enqueue` uses the queue
        self._channel = channel

    def enqueue(self, record: logging.LogRecord) -> None:
        self._channel.send("log", record)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)
