"""Tries every rule of the contract on a loader, in a process of its own.

A loader may hang, crash, or hold Python's lock for good. So a child process tries it, and says when
it begins a rule and when it has a finding. What the loader prints and its temporary files go to a
folder of that process. Where a rule takes too long (one or two minutes) or the process dies, that
is the finding: the process and all that it started are ended, and another one goes on with the next
rule.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.child_process import Channel, ChildProcess
from fastbench.core.errors import LoaderError, LoaderMissingError
from fastbench.core.loader_facts import REFERENCE_LOADER
from fastbench.loaders.contract.finding import RuleFinding
from fastbench.loaders.registry import title

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fastbench.loaders.base import Setting

START_SECONDS: Final = 120.0
MOST_THREADS: Final = 4
END_SECONDS: Final = 15.0
MOST_PROCESSES: Final = 4
"""A loader that hangs in one rule is likely to hang in the next."""


@dataclass(frozen=True)
class _Begun:
    """A rule that is being tried, the seconds that it may take, and whether others need it."""

    name: str
    seconds: float
    vital: bool


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

    Raises `LoaderMissingError`, `DeviceError` or `UsageError` where the loader cannot be tried at
    all, and `LoaderError` where it hangs or crashes while it is imported.
    """
    after: str | None = None
    for _ in range(MOST_PROCESSES):
        lost = yield from _try_rules(request, after, patience)
        if lost is None:
            return
        if lost.vital:
            yield RuleFinding.of_the_rest(f'nothing can be told while "{lost.name}" fails')
            return
        after = lost.name
    yield RuleFinding.of_the_rest(f"{MOST_PROCESSES} processes were lost to this loader")


def _try_rules(
    request: Request, after: str | None, patience: float
) -> Generator[RuleFinding, None, _Begun | None]:
    """Try rules in one process. Returns the rule at which it was lost, None where it was not."""
    begun: _Begun | None = None
    with (
        tempfile.TemporaryDirectory(prefix="fastbench-", ignore_cleanup_errors=True) as folder,
        ChildProcess(_work, (request, after, folder)) as child,
    ):
        while True:
            seconds = patience * begun.seconds if begun else START_SECONDS
            try:
                message = child.next_message(seconds)
            except TimeoutError:
                lost = f"not done after {seconds:g} s; its process was ended"
            else:
                lost = "" if message is not None else f"the process {_last_words(child)}"
            if lost and begun is None:
                raise LoaderError(
                    f"{title(request.name)} cannot be tried: {lost}, before the first rule. "
                    f"See whether its package imports: fastbench loaders"
                )
            if lost:
                assert begun is not None
                yield RuleFinding(rule=begun.name, outcome="FAIL", text=lost)
                return begun
            match message:
                case ("ends", error):
                    raise error
                case ("begin", begun):
                    pass
                case ("finding", finding):
                    yield finding
                case ("done",):
                    child.ends_within(END_SECONDS)  # and clean up behind it
                    return None


def _last_words(child: ChildProcess) -> str:
    child.end()
    _, lines = child.read_output()
    said = f"; the last that it printed: {lines[-1].strip()}" if lines else ""
    return f"{child.ending}{said}"


def _work(job: tuple[Request, str | None, str], channel: Channel) -> None:
    """The child's work: try the rules after `after`, and send each finding."""
    request, after, folder = job
    os.environ["TMPDIR"] = folder
    from fastbench.core.cores import num_cores
    from fastbench.core.device import choose_device
    from fastbench.data.dataset import scan
    from fastbench.loaders.base import IMAGENET, LoaderSpec
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
        preprocess=IMAGENET,
        device=str(device),
        dtype="float32",
        num_threads=request.num_threads or min(MOST_THREADS, max(2, num_cores())),
        largest=manifest.largest,
        sizes=manifest.sizes,
    )
    subject = Subject(
        factory,
        spec.with_settings(request.options),
        lambda its_spec: resolve(REFERENCE_LOADER)(its_spec),  # its imports take a second
    )

    def begin(rule: rules.Rule) -> None:
        channel.send("begin", _Begun(rule.name, rule.seconds, rule.vital))

    for finding in rules.hold(subject, after=after, begin=begin):
        channel.send("finding", finding)
    channel.send("done")
    with contextlib.suppress(Exception):
        subject.close()
