"""Every rule of the contract, tried on a loader in a process of its own.

A loader on trial may hang, crash, or never give the interpreter back. So another process
(`python -m fastbench.loaders.contract.process`) is told on its stdin what to try, and
writes a line of JSON to a pipe as it begins a rule and as it has a finding; what the loader prints
goes to a file, and temporary files to a folder of its own. Where a rule takes longer than it may
(one or two minutes), or the process dies, that is the finding: the process and all that it started
are ended, and another one goes on with the next rule.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core import errors
from fastbench.core.errors import FastbenchError, LoaderError, LoaderMissingError
from fastbench.loaders.contract.finding import OTHER_RULES, RuleFinding
from fastbench.loaders.registry import title

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fastbench.loaders.base import Setting

__all__ = ["Request", "try_rules"]

START_SECONDS: Final = 120.0
MOST_THREADS: Final = 4
END_SECONDS: Final = 15.0
MOST_PROCESSES: Final = 4
"""A loader that hangs in one rule is likely to hang in the next."""
POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be tried, on which images."""

    name: str
    device: str
    batch_size: int
    num_threads: int | None
    options: dict[str, Setting]
    folder: str


def try_rules(request: Request, patience: float = 1.0) -> Iterator[RuleFinding]:
    """Every rule's finding; time limits are multiplied by `patience`.

    Raises what keeps the loader from being tried at all: `LoaderMissingError`, `DeviceError`,
    `UsageError`, or `LoaderError` where it hangs or crashes as it is imported.
    """
    after: str | None = None
    for _ in range(MOST_PROCESSES):
        lost = yield from _try_rules(request, after, patience)
        if lost is None:
            return
        if lost["vital"]:
            text = f'nothing can be told while "{lost["begin"]}" fails'
            yield RuleFinding(rule=OTHER_RULES, outcome="skipped", text=text)
            return
        after = lost["begin"]
    text = f"{MOST_PROCESSES} processes were lost to this loader"
    yield RuleFinding(rule=OTHER_RULES, outcome="skipped", text=text)


def _try_rules(
    request: Request, after: str | None, patience: float
) -> Generator[RuleFinding, None, dict[str, Any] | None]:
    """Try rules in one process; returns the rule that the process was lost to, None at the end."""
    begun: dict[str, Any] | None = None
    with _Trial(request, after) as trial:
        while True:
            seconds = patience * begun["seconds"] if begun else START_SECONDS
            try:
                message = trial.next_message(seconds)
            except TimeoutError:
                lost = f"not done after {seconds:g} s; its process was ended"
            else:
                lost = "" if message is not None else f"the process {trial.last_words()}"
            if lost:
                if begun is None:
                    raise LoaderError(
                        f"{title(request.name)} cannot be tried: {lost}, before the first rule. "
                        f"See whether its package imports: fastbench loaders"
                    )
                if begun["begin"] is not None:
                    yield RuleFinding(rule=begun["begin"], outcome="FAIL", text=lost)
                    return begun
                return None
            assert message is not None
            if "error" in message:
                kind: type[FastbenchError] = getattr(errors, message["error"])
                raise kind(message["text"])
            if "begin" in message:
                begun = message
            elif "rule" in message:
                yield RuleFinding(**message)
            else:
                trial.let_end()
                return None


class _Trial:
    """A process that tries rules, as a context manager: leaving it ends all that it started."""

    def __init__(self, request: Request, after: str | None) -> None:
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._folder = tempfile.TemporaryDirectory(prefix="fastbench-", ignore_cleanup_errors=True)
        # It lives as long as the process, which writes to it.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fastbench.loaders.contract.process", str(writing)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            start_new_session=True,  # its group is ended with it
            env={
                "OMP_WAIT_POLICY": "PASSIVE",
                **os.environ,
                "TMPDIR": self._folder.name,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        )
        os.close(writing)
        threading.Thread(target=self._pump, args=(reading,), daemon=True).start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(json.dumps({"after": after, **dataclasses.asdict(request)}).encode())

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        self._folder.cleanup()

    def let_end(self) -> None:
        """Give a process that is done some time to end by itself, and clean up behind it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)

    def next_message(self, seconds: float) -> dict[str, Any] | None:
        """The next message; None where the process has died.

        Raises `TimeoutError` where none comes in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            # Asked for before the queue is: what it wrote last is there by then, or a poll later.
            has_died = self._process.poll() is not None
            try:
                return self._messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if has_died:
                    return None
                if time.monotonic() > deadline:
                    raise TimeoutError from None

    def last_words(self) -> str:
        """How the process died, and the last line of what it printed."""
        code = self._process.wait()
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"{how}; the last that it printed: {said[-1]}" if said else how

    def _pump(self, reading: int) -> None:
        with os.fdopen(reading) as pipe:
            for line in pipe:
                self._messages.put(json.loads(line))


def _work(writing: int) -> None:
    """What the process does: try the rules that stdin asks for, and write what is found."""
    os.set_inheritable(writing, False)
    with os.fdopen(writing, "w") as pipe:

        def tell(**message: object) -> None:
            pipe.write(json.dumps(message) + "\n")
            pipe.flush()

        request = json.load(sys.stdin)
        after = request.pop("after")
        try:
            _try(Request(**request), after, tell)
        except FastbenchError as error:
            kinds = (kind.__name__ for kind in type(error).__mro__)  # a plug-in may have its own
            tell(error=next(kind for kind in kinds if kind in vars(errors)), text=str(error))
        else:
            tell(end=True)


def _try(request: Request, after: str | None, tell: Any) -> None:
    from fastbench.core.device import choose_device, num_cores
    from fastbench.data.dataset import scan
    from fastbench.loaders.base import LoaderSpec, Preprocess
    from fastbench.loaders.contract import rules
    from fastbench.loaders.contract.trial import Subject
    from fastbench.loaders.registry import resolve, why_not

    device = choose_device(request.device)
    factory = resolve(request.name)
    if (reason := why_not(request.name)) is not None:
        raise LoaderMissingError(
            f"{title(request.name)} cannot run here: {reason}. See what can: fastbench loaders"
        )
    manifest = scan(Path(request.folder))
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=request.batch_size,
        preprocess=Preprocess(
            resize=256,
            crop=224,
            interpolation="bilinear",
            antialias=True,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        device=str(device),
        dtype="float32",
        num_threads=request.num_threads or min(MOST_THREADS, max(2, num_cores())),
        largest=manifest.largest,
    )
    subject = Subject(
        factory,
        spec.with_settings(request.options),
        lambda its_spec: resolve("torchvision")(its_spec),  # its imports take a second
    )

    def begin(rule: rules.Rule) -> None:
        tell(begin=rule.name, seconds=rule.seconds, vital=rule.vital)

    for finding in rules.hold(subject, after=after, begin=begin):
        tell(**dataclasses.asdict(finding))
    # The rules about closing have been judged; that it is closed now must not hang either.
    tell(begin=None, seconds=END_SECONDS, vital=False)
    with contextlib.suppress(Exception):
        subject.close()


if __name__ == "__main__":
    _work(int(sys.argv[1]))
