"""A process that does one job: started, heard, and ended with all that it started.

The parent has `ChildProcess`, the child calls `serve`. The job is one line of JSON on the child's
standard input; what the child says are lines of JSON on a pipe of its own: stdout and stderr belong
to the libraries, and are kept in a file. The child leads a process group, so that a terminal's
Ctrl-C reaches the parent alone, and whatever the child started ends with it. The parent holds the
child's standard input open: when that ends, by whatever took the parent, the child kills its group.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from fastbench.core import errors
from fastbench.core.errors import EXIT_INTERRUPTED, CorruptImageError, FastbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Channel", "ChildProcess", "pack_error", "serve", "unpack_error"]

POLL_S: Final = 0.2
WAIT: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT


class ChildProcess:
    """`python -m module` with a job, as a context manager: leaving it kills the process group.

    `environment` is set beside the parent's, `flags` are the interpreter's. `output` is what the
    libraries printed, `status` the exit status, negative for a signal, once it has ended.
    """

    def __init__(
        self,
        module: str,
        job: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        # It lives as long as the process, which writes to it.
        self.output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.status = 0
        self._lines: deque[bytes] = deque()
        self._part = b""
        self._pipe, pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *flags, "-m", module, str(pipe)],
                stdin=subprocess.PIPE,
                stdout=self.output,
                stderr=self.output,
                pass_fds=(pipe,),
                process_group=0,
                env={
                    "OMP_WAIT_POLICY": "PASSIVE",
                    **os.environ,
                    "PYTHONPATH": _importable(),
                    **(environment or {}),
                },
            )
        finally:
            os.close(pipe)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        with contextlib.suppress(BrokenPipeError):  # it died at once: its status says how
            self._stdin.write(json.dumps(job).encode() + b"\n")
            self._stdin.flush()

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._selector.close()
        os.close(self._pipe)
        self.output.close()

    def next_message(self, seconds: float = math.inf) -> dict[str, Any] | None:
        """What the child says next; None where it has ended and said all.

        Raises `TimeoutError` where nothing comes in so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not self._lines:
            # A worker of a child that has died may hold the pipe: its end tells nothing.
            has_ended = self.has_ended()
            left = deadline - time.monotonic()
            if self._selector.select(0 if has_ended else min(POLL_S, left)):
                part = os.read(self._pipe, 2**16)
                *lines, self._part = (self._part + part).split(b"\n")
                self._lines.extend(lines)
                if not part:
                    self._selector.unregister(self._pipe)
            elif has_ended:
                return None
            elif left < 0:
                raise TimeoutError
        message: dict[str, Any] = json.loads(self._lines.popleft())
        return message

    def has_ended(self) -> bool:
        """Whether the child has; until `end` it is not reaped, and its group keeps its number."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, WAIT) is not None

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for the child to end by itself."""
        deadline = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def interrupt(self) -> None:
        """Send Ctrl-C to the child, who stops what it started."""
        if not self.has_ended():  # `send_signal` would reap it, and its group be left alone
            os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill what is left of the group, and note how the child ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self.status = self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    @property
    def ending(self) -> str:
        """How it ended, in words that go on from its name."""
        if self.status >= 0:
            return f"ended with exit code {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            name = f"signal {-self.status}"
        return f"was killed by {name}"

    def read_output(self) -> tuple[bytes, list[str]]:
        """What the libraries printed, and the lines of it that are not empty."""
        file = self.output.fileno()
        output = os.pread(file, os.fstat(file).st_size, 0)  # `seek` would move the child's end too
        lines = output.decode("utf-8", "replace").splitlines()
        return output, [line for line in lines if line.strip()]

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin


def _importable() -> str:
    """What can be imported here can be in the child, and nothing else."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def pack_error(error: FastbenchError) -> dict[str, Any]:
    """An error as JSON; one of a class that `errors` does not have is its nearest of those."""
    if isinstance(error, CorruptImageError):  # which takes more than its text
        return {"kind": "CorruptImageError", "args": [error.path, str(error.what), error.remedy]}
    kind = next(k for k in type(error).__mro__ if vars(errors).get(k.__name__) is k)
    if kind is type(error) and all(isinstance(part, str) for part in error.args):
        return {"kind": kind.__name__, "args": list(error.args)}
    return {"kind": kind.__name__, "args": [str(error)]}


def unpack_error(packed: Mapping[str, Any]) -> FastbenchError:
    """The error that `pack_error` packed."""
    kind: type[FastbenchError] = getattr(errors, packed["kind"])
    return kind(*packed["args"])


# ------------------------------------------------------------------------------------ the child


@dataclass
class Channel:
    """The child's way to say something: messages by name, and a `core.progress.Progress`."""

    pipe: int
    _last: float = 0.0

    def send(self, **message: Any) -> None:
        """Say one thing, by its name; it is JSON."""
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[os.write(self.pipe, line) :]

    def say(self, text: str) -> None:
        """What is being done now."""
        self.send(say=text)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.send(note=text)

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        """As `core.progress.Count`."""

        def show(now: int, total: int) -> None:
            # Ten a second are seen, and thousands would be sent.
            if now >= total or time.monotonic() > self._last + 0.1:
                self._last = time.monotonic()
                self.send(count=[doing, done, now, total])

        return show


def serve(work: Callable[[dict[str, Any], Channel], None]) -> int:
    """The child: do the one job; a `FastbenchError` is sent as `ends`. Returns the exit code."""
    # A process in the background of a shell is started with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    channel = Channel(int(sys.argv[1]))
    os.set_inheritable(channel.pipe, False)
    parent = os.dup(0)
    with open(os.devnull) as nothing:  # for a library that reads its standard input
        os.dup2(nothing.fileno(), 0)
    try:
        job = json.loads(_read_line(parent))
        threading.Thread(target=_end_with_the_parent, args=(parent,), daemon=True).start()
        work(job, channel)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except FastbenchError as error:
        channel.send(ends=pack_error(error))
    return 0


def _read_line(parent: int) -> bytes:
    """The line with the job. Not through a buffered file: its lock would be held at the end."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(parent, 2**16)
        if not part:
            os._exit(1)  # the parent has gone
        line += part
    return line


def _end_with_the_parent(parent: int) -> None:
    while os.read(parent, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
