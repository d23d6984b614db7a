"""A row in a process of its own: a crash, a full memory or a fault of a driver ends that row alone.

The child is `python -m fastbench.runner.row_in_child`. It is told what to do by one line of JSON on
its standard input, and answers in lines of JSON on a pipe of its own: stdout and stderr belong to
the libraries, are kept in a file, and become a log beside the records if the child crashes. It
leads a process group, so that a terminal's Ctrl-C reaches the parent alone, who ends the child
first, and so that whatever it started ends with it. The parent holds the child's standard input
open: when that ends, by whatever took the parent, the child kills its group.

What it does not know: whether a child that was killed was killed for its memory. The kernel does
not say so; it is what mostly happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from fastbench.core import errors
from fastbench.core.config import RunConfig
from fastbench.core.errors import EXIT_INTERRUPTED, CorruptImageError, CrashError, FastbenchError
from fastbench.records.record import FailedRow, Record
from fastbench.records.store import read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.core.progress import Progress

__all__ = ["find_missing", "run_row"]

MODULE: Final = "fastbench.runner.row_in_child"
"""What the child runs."""
GRACE_S: Final = 5.0
"""How long a child may take to end after Ctrl-C."""
EXIT_S: Final = 30.0
"""How long a child may take to end after its row is measured."""
POLL_S: Final = 0.2
NUM_TAIL: Final = 6


def run_row(
    config: RunConfig, folder: Path, tell: Progress, models: Sequence[str]
) -> Iterator[Record | FailedRow]:
    """Measure one row as `measure_row.measure_row` does, in a child; a crash is a failed row."""
    job = {
        "config": dataclasses.asdict(config),
        "folder": str(folder),
        "models": list(models),
        "argv": sys.argv[1:],
    }
    with _Child(job, tell) as child:
        answers = child.answers
        try:
            child.listen()
        except KeyboardInterrupt:
            if "record" in answers:  # it had only to end
                yield read_record(Path(answers["record"]))
            raise
        if "record" in answers:
            if child.is_late:
                tell.note(f"The row's process did not end within {EXIT_S:g} s, and was killed.")
            elif child.status:
                tell.note(f"The row's process {_ending(child.status)} after it was measured.")
            yield read_record(Path(answers["record"]))
        elif "failed" in answers:
            failed = answers["failed"]
            yield FailedRow(failed["model"], failed["loader"], _unpack(failed["error"]))
        elif "ends" not in answers:
            yield FailedRow(config.model[0], config.timed_loader, _crash(child, config, folder))
        if "ends" in answers:
            raise _unpack(answers["ends"])


def find_missing(names: Sequence[str], tell: Progress) -> dict[str, str]:
    """The loaders among these that cannot run here, and why; asked in a child, which imports all.

    A child that crashes over it says nothing: the rows will.
    """
    with _Child({"loaders": list(names)}, tell) as child:
        child.listen()
        found: dict[str, str] = child.answers.get("missing", {})
        return found


@dataclass
class _Child:
    """A process that does one job. Leaving the context ends it and all that it started."""

    job: dict[str, Any]
    tell: Progress
    answers: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    """Its exit status as `subprocess` has it: negative for a signal."""
    is_late: bool = False
    """Whether it had answered and would not end."""

    def __enter__(self) -> _Child:
        self.output: IO[bytes] = tempfile.TemporaryFile()
        self._counts: dict[tuple[str, str], Callable[[int, int], None]] = {}
        self._pipe, pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-X", "faulthandler", "-m", MODULE, str(pipe)],
                stdin=subprocess.PIPE,
                stdout=self.output,
                stderr=self.output,
                pass_fds=(pipe,),
                process_group=0,
                env={**os.environ, "PYTHONPATH": _importable()},
            )
        finally:
            os.close(pipe)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is KeyboardInterrupt:
                self._interrupt()
        finally:
            self._end()
            os.close(self._pipe)
            self.output.close()

    def listen(self) -> None:
        """Pass on what the child says until it has ended."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: its status says how
            stdin.write(json.dumps(self.job).encode() + b"\n")
            stdin.flush()
        line = b""
        deadline = float("inf")
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                # A worker of a child that has died may hold the pipe: its end tells nothing.
                ended = self._has_ended()
                if selector.get_map() and selector.select(0 if ended else POLL_S):
                    part = os.read(self._pipe, 2**16)
                    *lines, line = (line + part).split(b"\n")
                    for text in lines:
                        self._hear(json.loads(text))
                    if self.answers and deadline == float("inf"):
                        deadline = time.monotonic() + EXIT_S
                    if not part:
                        selector.unregister(self._pipe)
                elif ended:
                    break
                elif not selector.get_map():
                    time.sleep(POLL_S)
        self.is_late = not self._has_ended()
        self._end()

    def _hear(self, message: dict[str, Any]) -> None:
        (kind, what), *_ = message.items()
        if kind == "say":
            self.tell.say(what)
        elif kind == "note":
            self.tell.note(what)
        elif kind == "count":
            doing, done, now, total = what
            if (doing, done) not in self._counts:
                self._counts[doing, done] = self.tell.count(doing, done)
            self._counts[doing, done](now, total)
        else:
            self.answers[kind] = what

    def _has_ended(self) -> bool:
        """Whether the child has; it is not reaped, and its process group keeps its number."""
        return os.waitid(os.P_PID, self._process.pid, WAIT) is not None

    def _interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE_S
        while not self._has_ended():
            if time.monotonic() > deadline:
                self.tell.note(f"The row did not end within {GRACE_S:g} s, and was killed.")
                return
            time.sleep(0.05)

    def _end(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self.status = self._process.wait()
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()


WAIT: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT


def _importable() -> str:
    """What can be imported here can be in the child, and nothing else."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def _crash(child: _Child, config: RunConfig, folder: Path) -> CrashError:
    """What became of a child that left no answer; its output is kept, and its end shown."""
    child.output.seek(0)
    output = child.output.read()
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    where = ""
    if lines:
        stem = f"crash-{config.model[0]}-{config.timed_loader}".replace("/", "_")
        path = folder / f"{stem}-{os.getpid()}-{time.time_ns() // 10**6}.log"
        with contextlib.suppress(OSError):  # the row has failed in any case
            path.write_bytes(output)
            where = f" Its output is in {path}."
        title = f"{config.model[0]} · {config.timed_loader} crashed, and wrote last:"
        child.tell.note("\n".join((title, *(f"  | {line}" for line in lines[-NUM_TAIL:]))))
    if child.status == -signal.SIGKILL:
        advice = "Mostly that is the system, out of memory: try a smaller --batch-size."
    elif child.status < 0:
        advice = "That is a fault of a library or a driver: try other versions of it."
    else:
        advice = "That is a bug of fastbench or of the loader: report it."
    return CrashError(f"The row's process {_ending(child.status)}. {advice}{where}")


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"


def _pack(error: FastbenchError) -> dict[str, Any]:
    """An error as JSON; one of a class that `errors` does not have is its nearest of those."""
    if isinstance(error, CorruptImageError):  # which takes more than its text
        return {"kind": "CorruptImageError", "args": [error.path, str(error.what), error.remedy]}
    kinds = (kind.__name__ for kind in type(error).__mro__)
    name = next(name for name in kinds if name in vars(errors))
    if name == type(error).__name__ and all(isinstance(part, str) for part in error.args):
        return {"kind": name, "args": list(error.args)}
    return {"kind": name, "args": [str(error)]}


def _unpack(packed: dict[str, Any]) -> FastbenchError:
    kind: type[FastbenchError] = getattr(errors, packed["kind"])
    return kind(*packed["args"])


# ------------------------------------------------------------------------------------ the child


@dataclass
class _Channel:
    """The child's way to say something: a `Progress`, and the answers."""

    pipe: int
    _last: float = 0.0

    def send(self, **message: Any) -> None:
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[os.write(self.pipe, line) :]

    def say(self, text: str) -> None:
        self.send(say=text)

    def note(self, text: str) -> None:
        self.send(note=text)

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        def show(now: int, total: int) -> None:
            # Ten a second are seen, and thousands would be sent.
            if now >= total or time.monotonic() > self._last + 0.1:
                self._last = time.monotonic()
                self.send(count=[doing, done, now, total])

        return show


def main() -> int:
    """The child: do the one job, and say what came of it."""
    # A process in the background of a shell is started with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    channel = _Channel(int(sys.argv[1]))
    os.set_inheritable(channel.pipe, False)
    try:
        job = json.loads(_read_line())
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
        if "loaders" in job:
            channel.send(missing=_missing(job["loaders"]))
        else:
            _measure(job, channel)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _measure(job: dict[str, Any], channel: _Channel) -> None:
    config = RunConfig.from_json(job["config"])
    sys.argv[1:] = job["argv"]  # the record has the command that was given
    channel.say(f"{config.model[0]} · {config.timed_loader}: loading torch")
    from fastbench.runner.measure_row import measure_row

    try:
        for row, path in measure_row(config, Path(job["folder"]), channel, job["models"]):
            if isinstance(row, FailedRow):
                failed = {"model": row.model, "loader": row.loader, "error": _pack(row.error)}
                channel.send(failed=failed)
            else:
                channel.send(record=str(path))
    except FastbenchError as error:
        channel.send(ends=_pack(error))


def _missing(names: list[str]) -> dict[str, str]:
    from fastbench.loaders.registry import why_not

    found = {name: why_not(name) for name in names}
    return {name: why for name, why in found.items() if why is not None}


def _read_line() -> bytes:
    """The line with the job. Not through a buffered file: its lock would be held at the end."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 2**16)
        if not part:
            os._exit(1)  # the parent has gone
        line += part
    return line


def _end_with_the_parent() -> None:
    while os.read(0, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
