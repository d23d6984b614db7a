"""The rules of the contract of `loaders/base.py`; each is tried on a loader, and gives one finding.

A loader that takes requests is tried by those of `on_demand.py` too.

The loader is opened as a run would open it, on real files. Then it is used as a run seldom does:
epochs are left early, it is closed in mid-epoch, opened on the reversed list, on files that are
exchanged meanwhile and on a file that is cut off, and opened and closed repeatedly while threads,
processes and memory are counted.

How far the images are from the reference's is told and not judged: another filter may be meant.

A call that hangs cannot be stopped within its own process: each rule says how long it may take, and
`process.py` runs them in a process that it can end.

Not found are races, faults that need other images or more load and, on a GPU, a batch that is not
ready on the model's stream.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from fastbench.core.errors import FastbenchError, LoaderMissingError, UsageError
from fastbench.core.units import and_more, format_bytes, format_seconds
from fastbench.loaders.contract import on_demand, reopened
from fastbench.loaders.contract.finding import RuleFinding
from fastbench.loaders.contract.trial import NUM_ROUNDS, SkippedError
from fastbench.loaders.guard import BrokenContractError, in_words
from fastbench.records.accuracy import EXACT_LEVELS
from fastbench.records.gates import IMAGE_LEVELS, MEAN_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.loaders.base import Batch
    from fastbench.loaders.contract.trial import Subject

CLOSE_SECONDS: Final = 10.0
MEMORY_BYTES: Final = 64_000_000
"""How much the process may grow in all rounds; an epoch of the check's images has 32 MB."""


@dataclass(frozen=True)
class Rule:
    """One rule: `check` returns what it saw, or raises `BrokenContractError` or `SkippedError`.

    It may take `seconds`. Where a `vital` rule is broken, no other is tried. `reads`: for loaders
    that read the images alone. What is not `judged` is told.
    """

    name: str
    check: Callable[[Subject], str]
    seconds: float = 60.0
    vital: bool = False
    reads: bool = False
    judged: bool = True


def hold(
    subject: Subject,
    *,
    after: str | None = None,
    rules: Sequence[Rule] | None = None,
    begin: Callable[[Rule], None] = lambda _: None,
) -> Iterator[RuleFinding]:
    """Try every rule, or those after one; `begin` is called before each. Close the subject after.

    Raises `LoaderMissingError` or `UsageError` where the loader says that it cannot be opened here
    or with these options, which breaks no rule.
    """
    if rules is None:
        rules = RULES + (ON_DEMAND if hasattr(subject.factory, "on_demand") else ())
    if after is not None:
        rules = rules[[rule.name for rule in rules].index(after) + 1 :]
    for rule in rules:
        begin(rule)
        finding = _try(rule, subject)
        yield finding
        if rule.vital and finding.outcome == "FAIL":
            yield RuleFinding.of_the_rest(f'nothing can be told while "{rule.name}" fails')
            return


def _try(rule: Rule, subject: Subject) -> RuleFinding:
    try:
        if rule.reads and not subject.reads_images:
            raise SkippedError("its images do not come from the files")
        text = rule.check(subject)
    except SkippedError as error:
        return RuleFinding(rule=rule.name, outcome="skipped", text=str(error))
    except (BrokenContractError, FastbenchError) as error:
        if rule.check is _opens and isinstance(error, LoaderMissingError | UsageError):
            raise
        return RuleFinding(rule=rule.name, outcome="FAIL", text=str(error))
    except Exception as error:  # noqa: BLE001 - odd batches break this code in odd ways
        text = f"what it delivered cannot be handled: {in_words(error)}"
        return RuleFinding(rule=rule.name, outcome="FAIL", text=text)
    return RuleFinding(rule=rule.name, outcome="ok" if rule.judged else "told", text=text)


def _opens(subject: Subject) -> str:
    start = time.perf_counter()
    loader = subject.loader
    seconds = format_seconds(time.perf_counter() - start)
    return f"in {seconds}; {'reads' if loader.reads_images else 'does not read'} the images"


def _batches(subject: Subject) -> str:
    for epoch in subject.epochs:
        epoch.raise_faults("batch")
        if epoch.num_batches == 0:
            raise BrokenContractError("an epoch has no batches")
    return f"{subject.spec.num_batches} an epoch, two epochs read"


def _samples(subject: Subject) -> str:
    wanted = range(len(subject.spec.paths))
    for number, epoch in enumerate(subject.epochs, start=1):
        for what, ids in (
            ("does not have", sorted(set(wanted) - set(epoch.ids))),
            ("has more than once", sorted({i for i in epoch.ids if epoch.ids.count(i) > 1})),
            ("has samples that are not in the list:", sorted(set(epoch.ids) - set(wanted))),
        ):
            if ids:
                raise BrokenContractError(
                    f"epoch {number} {what} {_some(ids)} of {len(wanted)} samples"
                )
        if epoch.ids != list(wanted):
            place = next(i for i in wanted if epoch.ids[i] != i)
            raise BrokenContractError(
                f"epoch {number} has sample {epoch.ids[place]} at place {place}"
            )
    return f"{len(wanted)} samples, two epochs"


def _by_faults(rule: str, seen: Callable[[Subject], str]) -> Callable[[Subject], str]:
    """A check that no batch has a fault of one rule of `guard.py`."""

    def check(subject: Subject) -> str:
        for epoch in subject.epochs:
            epoch.raise_faults(rule)
        return seen(subject)

    return check


def _seen_sizes(subject: Subject) -> str:
    spec = subject.spec
    left = len(spec.ids(spec.num_batches - 1))
    padding = " and padding" if subject.epochs[0].last_num_rows > left else ""
    return f"{spec.batch_size} rows, the last batch {left}{padding}"


def _finite(subject: Subject) -> str:
    for epoch in subject.epochs:
        bad = [i for i, image in epoch.images.items() if not bool(torch.isfinite(image).all())]
        if bad:
            raise BrokenContractError(
                f"the images of samples {_some(bad)} have values that are not finite"
            )
    images = subject.epochs[0].images.values()
    low = min(float(image.min()) for image in images)
    high = max(float(image.max()) for image in images)
    return f"from {low:.2f} to {high:.2f}"


def _second(subject: Subject) -> str:
    first, second = subject.epochs
    return subject.alike(second.images, first.images, "in the second epoch")


def _left_early(subject: Subject) -> str:
    loader, wanted = subject.loader, subject.epochs[0]
    with subject.watched("as an epoch was left early"):
        left = iter(loader)
        for _ in range(min(2, subject.spec.num_batches)):
            next(left)
    epoch = subject.read(loader)
    del left
    if epoch.ids != wanted.ids:
        raise BrokenContractError(
            f"after two batches were taken the next epoch has {len(epoch.ids)} samples, the first "
            f"is {epoch.ids[0] if epoch.ids else 'none'}"
        )
    return subject.alike(epoch.images, wanted.images, "in the epoch after it")


def _stays_valid(subject: Subject) -> str:
    """Hold a batch while the next is asked for, and look at it again."""
    num_checked = 0
    held: tuple[Batch, torch.Tensor, torch.Tensor] | None = None
    with subject.watched("in mid-epoch"):
        for position, batch in enumerate(
            itertools.islice(subject.loader, subject.spec.num_batches)
        ):
            if held is not None:
                time.sleep(0.01)  # a loader that works ahead may write now
                before, images_NCHW, ids_N = held
                if not torch.equal(before.images_NCHW, images_NCHW) or not torch.equal(
                    before.ids_N, ids_N
                ):
                    raise BrokenContractError(
                        f"batch {position - 1} changed when batch {position} was asked for; it "
                        f"has to stay until batch {position + 1} is"
                    )
                num_checked += 1
            held = batch, batch.images_NCHW.clone(), batch.ids_N.clone()
    if not num_checked:
        raise SkippedError("an epoch has one batch")
    return f"{num_checked} batches looked at twice"


def _closes(subject: Subject) -> str:
    loader = subject.loader
    with subject.watched("in mid-epoch"):
        under_way = iter(loader)
        next(under_way)
    start = time.perf_counter()
    subject.close()
    seconds = time.perf_counter() - start
    if seconds > CLOSE_SECONDS:
        raise BrokenContractError(f"took {format_seconds(seconds)}, more than {CLOSE_SECONDS:g} s")
    with subject.watched("when it was closed a second time"):
        loader.close()
    return f"in mid-epoch in {format_seconds(seconds)}, and again"


def _closed(subject: Subject) -> str:
    """Of a closed loader an epoch under way and a new one raise, and do not just end."""
    loader = subject.loader
    with subject.watched("in mid-epoch"):
        under_way = iter(loader)
        next(under_way)
    subject.close()
    said = ""
    for what in ("an epoch that was under way", "a new epoch"):
        try:
            next(under_way)
        except StopIteration:
            raise BrokenContractError(
                f"{what} just ends, as if there were no more samples"
            ) from None
        except Exception as error:  # noqa: BLE001 - any will do
            said = f"{type(error).__name__}: {error}"
        else:
            raise BrokenContractError(f"{what} still has batches")
        with contextlib.suppress(Exception):  # a loader may raise here, or at the first batch
            under_way = iter(loader)
    return said


def _no_more(what: str) -> Callable[[Subject], str]:
    """A check that the rounds leave no more of `what` behind: threads or processes."""

    def check(subject: Subject) -> str:
        first, *_, last = subject.rounds
        before, after = getattr(first, f"num_{what}"), getattr(last, f"num_{what}")
        if after <= before:
            return f"{after} before and after {NUM_ROUNDS} rounds"
        names = sorted(last.python_threads - first.python_threads) if what == "threads" else []
        raise BrokenContractError(
            f"{after - before} more after {NUM_ROUNDS} rounds of opening and closing"
            + (f", such as {names[0]!r}" if names else "")
        )

    return check


def _memory(subject: Subject) -> str:
    """The least after the last two rounds, less the most after the first two.

    Two, since the allocator keeps tens of megabytes more or less after the same round.
    """
    first, last = subject.rounds[:2], subject.rounds[-2:]
    grown = min(x.num_bytes for x in last) - max(x.num_bytes for x in first)
    on_device = min(x.num_device_bytes for x in last) - max(x.num_device_bytes for x in first)
    for where, growth in (("the process", grown), ("torch's memory on the device", on_device)):
        if growth > MEMORY_BYTES:
            raise BrokenContractError(
                f"{where} grew by {format_bytes(growth)} in {NUM_ROUNDS} rounds of opening and "
                f"closing (bound: {format_bytes(MEMORY_BYTES)})"
            )
    return f"{format_bytes(max(0, grown))} more after {NUM_ROUNDS} rounds"


def _parity(subject: Subject) -> str:
    """How far the images are from the reference's, in levels, and the gates' word for it."""
    theirs = subject.read_reference()
    images = subject.epochs[0].images
    if not images.keys() <= theirs.keys():
        raise SkippedError("it has other samples than the reference")
    differences = [subject.levels(image, theirs[i]) for i, image in images.items()]
    most = max(float(difference.max()) for difference in differences)
    means = [float(difference.double().mean()) for difference in differences]
    mean, worst = sum(means) / len(means), max(means)
    if mean >= MEAN_LEVELS or worst >= IMAGE_LEVELS:
        verdict = "different"
    else:
        verdict = "exact" if most < EXACT_LEVELS else "equivalent"
    return f"{verdict}: max {most:.2f}, mean {mean:.4f} levels"


RULES: Final = (
    Rule("opens", _opens, vital=True, seconds=120.0),
    Rule("yields Batch objects", _batches, vital=True, seconds=120.0),
    Rule("plain tensors", _by_faults("plain", lambda _: "images and ids are torch.Tensor")),
    Rule("every sample once, in order", _samples),
    Rule("static sizes, num_valid", _by_faults("sizes", _seen_sizes)),
    Rule("ids", _by_faults("ids", lambda s: f"int64, on {s.spec.device}")),
    Rule("shape", _by_faults("shape", lambda s: f"(N, 3, {s.spec.preprocess.crop}, ...)")),
    Rule("memory layout", _by_faults("layout", lambda _: "channels_last strides")),
    Rule("dtype", _by_faults("dtype", lambda s: s.spec.dtype)),
    Rule("device", _by_faults("device", lambda s: s.spec.device)),
    Rule("finite values", _finite),
    Rule("second epoch as the first", _second),
    Rule("epoch left early", _left_early),
    Rule("a batch stays valid", _stays_valid),
    Rule("close()", _closes, seconds=30.0),
    Rule("closed is closed", _closed, seconds=30.0),
    Rule("prefetch=0", reopened.alike_with(prefetch=0)),
    Rule("prefetch=0 reads none ahead", reopened.reads_no_batch_ahead, reads=True),
    Rule("every epoch reads the files", reopened.reads_anew, reads=True),
    Rule("repeatable=False", reopened.as_timed),
    Rule("num_threads=1", reopened.alike_with(num_threads=1)),
    Rule("float16 and bfloat16", reopened.dtypes),
    Rule("ids belong to their images", reopened.belong, reads=True),
    Rule("a broken file is named", reopened.broken_file, reads=True),
    Rule("threads end", _no_more("threads"), seconds=120.0),
    Rule("processes end", _no_more("processes"), seconds=120.0),
    Rule("memory is freed", _memory, seconds=120.0),
    Rule("parity", _parity, reads=True, judged=False),
)
ON_DEMAND: Final = (
    Rule("on demand: opens, closes", on_demand.opens),
    Rule("on demand: batches", on_demand.batches),
    Rule("on demand: same pixels", on_demand.pixels, reads=True, seconds=120.0),
    Rule("on demand: stays valid", on_demand.stays_valid, reads=True),
    Rule("on demand: names a file", on_demand.broken_file, reads=True),
)
"""For the loaders that take requests."""


def _some(ids: Sequence[int]) -> str:
    return and_more([str(i) for i in ids], 5)
