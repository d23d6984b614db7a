"""Loaders that break the contract, each in one way: a run notices, and `loaders check` says which.

The loaders here read no files: image i has the value i everywhere, so a mix-up shows.
"""

import dataclasses
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.broken_loaders import Right, broken, swap
from builders.images import draw
from builders.plug_ins import PlugIn

from fastbench.core.errors import (
    CorruptImageError,
    LoaderError,
    LoaderMissingError,
    OutOfMemoryError,
    UsageError,
)
from fastbench.loaders.base import Batch, LoaderSpec, Preprocess
from fastbench.loaders.contract import rules, trial
from fastbench.loaders.contract.trial import Subject
from fastbench.loaders.guard import CheckedLoader, in_words

NUM_SAMPLES = 11
SPEC = LoaderSpec(
    paths=[f"{i}.jpg" for i in range(NUM_SAMPLES)],
    batch_size=4,
    preprocess=Preprocess(
        resize=8,
        crop=6,
        interpolation="bilinear",
        antialias=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    ),
    device="cpu",
    dtype="float32",
    num_threads=2,
)


def with_images(change: Callable[[torch.Tensor], Any]) -> type[Right]:
    return broken(
        batch=lambda self, ids: Batch(change(self.images(ids)), torch.tensor(ids), len(ids))
    )


def with_ids(change: Callable[[torch.Tensor], Any]) -> type[Right]:
    return broken(
        batch=lambda self, ids: Batch(self.images(ids), change(torch.tensor(ids)), len(ids))
    )


def with_order(change: Callable[[list[int]], list[int]]) -> type[Right]:
    return broken(order=lambda self: change(Right.order(self)))


def under_inference_mode(images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return images.clone(memory_format=torch.preserve_format)


class Lazy(torch.Tensor):
    """Could put its work off until it is looked at."""


# Name: (the factory, the rule that says so, what a run and the rule say).
IN_BATCHES: dict[str, tuple[Any, str, str]] = {
    "a tuple": (
        broken(batch=lambda self, ids: (self.images(ids), ids)),
        "yields Batch objects",
        "batch 0 is a tuple, not a fastbench.loaders.base.Batch",
    ),
    "an array": (
        with_images(lambda images: images.numpy()),
        "yields Batch objects",
        "images_NCHW is a ndarray, not a Tensor",
    ),
    "ids in a list": (
        with_ids(lambda ids: ids.tolist()),
        "yields Batch objects",
        "ids_N is a list, not a Tensor",
    ),
    "num_valid on the device": (
        broken(
            batch=lambda self, ids: Batch(
                self.images(ids), torch.tensor(ids), torch.tensor(len(ids))
            )
        ),
        "yields Batch objects",
        "num_valid is a Tensor, not an int",
    ),
    "inference mode": (
        with_images(under_inference_mode),
        "yields Batch objects",
        "torch.inference_mode",
    ),
    "images of a subclass": (
        with_images(lambda images: images.as_subclass(Lazy)),
        "plain tensors",
        "images_NCHW is a Lazy, a subclass, and not a plain torch.Tensor",
    ),
    "ids of a subclass": (
        with_ids(lambda ids: ids.as_subclass(Lazy)),
        "plain tensors",
        "ids_N is a Lazy, a subclass",
    ),
    "shape": (
        with_images(lambda images: images.permute(0, 2, 3, 1)),
        "shape",
        "images are (4, 6, 6, 3), not (N, 3, 6, 6)",
    ),
    "layout": (
        with_images(lambda images: images.contiguous(memory_format=torch.contiguous_format)),
        "memory layout",
        "which is not channels_last",
    ),
    "dtype": (with_images(torch.Tensor.double), "dtype", "torch.float64, not torch.float32"),
    "device": (
        with_images(lambda images: images.to("meta")),
        "device",
        "images are on meta, not on cpu",
    ),
    "ids of int32": (with_ids(torch.Tensor.int), "ids", "ids are torch.int32, not torch.int64"),
    "ids of another shape": (
        with_ids(lambda ids: ids[:, None]),
        "ids",
        "ids have the shape (4, 1), not (4,)",
    ),
    "num_valid": (
        broken(batch=lambda self, ids: Batch(self.images(ids), torch.tensor(ids), 4)),
        "static sizes, num_valid",
        "num_valid is 4 in batch 2, where 3 belong",
    ),
    "a short batch": (
        broken(batch=lambda self, ids: Right.batch(self, ids[:3])),
        "static sizes, num_valid",
        "num_valid is 3 in batch 0, where 4 belong",
    ),
}
IN_EPOCHS: dict[str, tuple[Any, str, str, str]] = {
    "loses": (
        with_order(lambda ids: ids[:8]),
        "every sample once, in order",
        "ended its epoch after 2 of 3 batches: samples are lost",
        "epoch 1 does not have 8, 9, 10 of 11 samples",
    ),
    "loses one and goes on": (
        with_order(lambda ids: [*ids[:4], *ids[5:], 0]),
        "every sample once, in order",
        "delivered sample 5 where sample 4 belongs (batch 1, row 0)",
        "epoch 1 does not have 4 of 11 samples",
    ),
    "repeats": (
        with_order(lambda ids: [*ids, *ids[:4]]),
        "every sample once, in order",
        "num_valid is 4 in batch 2, where 3 belong",
        "epoch 1 has more than once 0, 1, 2, 3 of 11 samples",
    ),
    "repeats a batch": (
        broken(__iter__=lambda self: iter([*Right.__iter__(self), Right.batch(self, [8, 9, 10])])),
        "every sample once, in order",
        "goes on after the 3 batches of its epoch: samples are repeated",
        "epoch 1 has more than once 8, 9, 10 of 11 samples",
    ),
    "reorders": (
        with_order(swap),
        "every sample once, in order",
        "delivered sample 3 where sample 2 belongs (batch 0, row 2)",
        "epoch 1 has sample 3 at place 2",
    ),
    "ids that are not in the list": (
        with_ids(lambda ids: ids + 1),
        "every sample once, in order",
        "delivered sample 1 where sample 0 belongs",
        "epoch 1 does not have 0 of 11 samples",
    ),
}


def findings_of(
    factory: Any, spec: LoaderSpec = SPEC, reference: Any = Right
) -> dict[str, tuple[str, str]]:
    """What every rule says."""
    subject = Subject(factory, spec, reference)
    return {x.rule: (x.outcome, x.text) for x in rules.hold(subject)}


def finding_of(
    rule: str, factory: Any, spec: LoaderSpec = SPEC, reference: Any = Right
) -> tuple[str, str]:
    """What one rule says; those on which the others depend are tried too."""
    chosen = [x for x in rules.RULES if x.vital or x.name == rule]
    subject = Subject(factory, spec, reference)
    return {x.rule: (x.outcome, x.text) for x in rules.hold(subject, rules=chosen)}[rule]


def fails(found: dict[str, tuple[str, str]]) -> list[str]:
    return [rule for rule, (outcome, _) in found.items() if outcome == "FAIL"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbench.loaders.contract.trial.SETTLE_SECONDS", 0.1)


@pytest.fixture(autouse=True, scope="module")
def little_to_collect() -> Iterator[None]:
    """Leave out of each collection what other tests have made, which takes most of its time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_who_keeps_the_contract_passes() -> None:
    found = findings_of(Right)
    assert list(found) == [rule.name for rule in rules.RULES]
    assert fails(found) == []
    skipped = [rule for rule, (outcome, _) in found.items() if outcome == "skipped"]
    assert skipped == [rule.name for rule in rules.RULES if rule.reads]
    assert found["static sizes, num_valid"][1] == "4 rows, the last batch 3"


def test_padding_is_allowed() -> None:
    def padded(self: Right, ids: list[int]) -> Batch:
        filled = [*ids, *[ids[-1]] * (4 - len(ids))]
        return Batch(self.images(filled), torch.tensor(filled), len(ids))

    found = findings_of(broken(batch=padded))
    assert fails(found) == []
    assert found["static sizes, num_valid"][1] == "4 rows, the last batch 3 and padding"


@pytest.mark.parametrize("name", IN_BATCHES)
def test_a_wrong_batch(name: str, plug_in: PlugIn) -> None:
    factory, rule, said = IN_BATCHES[name]
    plug_in("mine", factory)
    with pytest.raises(LoaderError) as caught:
        list(CheckedLoader("mine", factory, SPEC))
    text = str(caught.value)
    assert text.startswith("The plug-in loader 'mine' (tests:mine, of tests 1.0) breaks the contr")
    assert said in text
    assert "fastbench loaders check mine" in text
    outcome, seen = finding_of(rule, factory)
    assert outcome == "FAIL"
    assert said in seen


@pytest.mark.parametrize("name", IN_EPOCHS)
def test_a_wrong_epoch(name: str) -> None:
    factory, rule, said, seen = IN_EPOCHS[name]
    with pytest.raises(LoaderError) as caught:
        list(CheckedLoader("mine", factory, SPEC))
    assert said in str(caught.value)
    outcome, text = finding_of(rule, factory)
    assert outcome == "FAIL"
    assert text.startswith(seen)


def takes_too_much(paths: list[str], batch_size: int) -> None: ...


def takes_nothing() -> None: ...


def raises(spec: LoaderSpec) -> None:
    raise ValueError("no such thing\nmore of it")


def with_attributes(**attributes: object) -> Callable[[LoaderSpec], Any]:
    def factory(spec: LoaderSpec) -> Right:
        loader = Right(spec)
        for name, value in attributes.items():
            setattr(loader, name, value)
        return loader

    return factory


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            takes_too_much,
            "a factory takes one LoaderSpec, and this one takes (paths: list[str], batch_size: ",
        ),
        (takes_nothing, "a factory takes one LoaderSpec, and this one takes () -> None"),
        (17, "a factory is called with a LoaderSpec, and this is an int"),
        (raises, "failed while it was opened: ValueError: no such thing (test_contract.py:"),
        (lambda spec: None, "opens as None, which is no loader: it has no __iter__()"),
        (lambda spec: [1], "opens as a list, which is no loader: it has no close()"),
        (with_attributes(reads_images=None), "it has no reads_images"),
        (with_attributes(settings=None), "it has no settings"),
        (with_attributes(settings={"x": torch.ones(1)}), "'x' is a Tensor and not a str, int"),
    ],
)
def test_a_factory_that_makes_no_loader(factory: Any, said: str) -> None:
    with pytest.raises(LoaderError) as caught:
        CheckedLoader("mine", factory, SPEC)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    found = findings_of(factory)
    assert found["opens"][0] == "FAIL"
    assert said in found["opens"][1]
    assert list(found) == ["opens", "the other rules"]
    assert found["the other rules"] == ("skipped", 'nothing can be told while "opens" fails')


def test_an_error_in_mid_epoch_is_one_sentence_with_its_cause() -> None:
    def fail(self: Right, ids: list[int]) -> Batch:
        if 4 in ids:
            raise KeyError("what?")
        return Right.batch(self, ids)

    batches = iter(CheckedLoader("mine", broken(batch=fail), SPEC))
    next(batches)
    with pytest.raises(
        LoaderError, match=r"failed in mid-epoch: KeyError: 'what\?' \(broken_lo"
    ) as e:
        next(batches)
    assert isinstance(e.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (CorruptImageError("a.jpg", "cannot be decoded"), CorruptImageError),
        (UsageError("No."), UsageError),
        (torch.OutOfMemoryError("CUDA out of memory."), OutOfMemoryError),
        (MemoryError(), OutOfMemoryError),
    ],
)
def test_some_errors_are_what_they_are(raised: Exception, expected: type[Exception]) -> None:
    def fail(self: Right, ids: list[int]) -> Batch:
        raise raised

    with pytest.raises(expected):
        list(CheckedLoader("mine", broken(batch=fail), SPEC))


@pytest.mark.parametrize("error", [LoaderMissingError("It needs a GPU."), UsageError("No.")])
def test_what_cannot_be_opened_here_breaks_no_rule(error: Exception) -> None:
    def refuse(spec: LoaderSpec) -> Right:
        raise error

    with pytest.raises(type(error)):
        findings_of(refuse)


def test_whose_line_it_was() -> None:
    def fail() -> None:
        torch.ones(2).view(3)

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert in_words(caught.value).startswith("RuntimeError: shape '[3]' is invalid")
    assert "(test_contract.py:" in in_words(caught.value)


class Ring(Right):
    """Batches in one buffer: each overwrites the one before."""

    def batch(self, ids: list[int]) -> Batch:
        if not hasattr(self, "buffer"):
            self.buffer = Right.images(self, [0, 0, 0, 0])
        self.buffer[: len(ids)] = self.images(ids)
        return Batch(self.buffer, torch.tensor([*ids, 0, 0, 0, 0][:4]), len(ids))


class Drifting(Right):
    """The second epoch is a little brighter."""

    def images(self, ids: list[int]) -> torch.Tensor:
        return super().images(ids) + 0.01 * self.num_epochs


class Forgetful(Right):
    """An epoch left early is taken up where it was."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self.left: Iterator[Batch] = iter(())

    def __iter__(self) -> Iterator[Batch]:
        num_batches = 0
        for batch in self.left:
            num_batches += 1
            yield batch
        if not num_batches:
            self.left = Right.__iter__(self)
            yield from self.left


class Leaky(Right):
    """Leaves a thread behind."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        stop = threading.Event()
        STOPS.append(stop)
        threading.Thread(target=stop.wait, name="leaky", daemon=True).start()


class Hoarder(Right):
    """Keeps what it has made when it is closed."""

    def close(self) -> None:
        super().close()
        HOARD.append(torch.ones(32_000_000))


class Stubborn(Right):
    """Goes on when it is closed."""

    def close(self) -> None:
        pass


class Quitter(Right):
    """Just ends when it is closed."""

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            yield batch
            if self.is_closed:
                return


STOPS: list[threading.Event] = []
HOARD: list[torch.Tensor] = []


def closed_once(self: Right) -> None:
    if self.is_closed:
        raise ValueError("closed twice")
    self.is_closed = True


@pytest.mark.parametrize(
    ("factory", "rule", "said"),
    [
        (Ring, "a batch stays valid", "batch 0 changed when batch 1 was asked for"),
        (
            Drifting,
            "second epoch as the first",
            "sample 0 is another image in the second epoch: 0.64 levels off",
        ),
        (Forgetful, "epoch left early", "after two batches were taken the next epoch has 3"),
        (Leaky, "threads end", "more after 5 rounds of opening and closing, such as 'leaky'"),
        (Hoarder, "memory is freed", "the process grew by"),
        (Stubborn, "closed is closed", "an epoch that was under way still has batches"),
        (Quitter, "closed is closed", "an epoch that was under way just ends"),
        (broken(close=closed_once), "close()", "a second time: ValueError: closed twice"),
        (
            broken(images=lambda self, ids: Right.images(self, ids) / 0),
            "finite values",
            "samples 0, 1, 2, 3, 4 and 6 more have values that are not finite",
        ),
        (
            broken(images=lambda self, ids: Right.images(self, ids) + (self.spec.prefetch == 0)),
            "prefetch=0",
            "sample 0 is another image with prefetch=0: 63.75 levels off",
        ),
        (
            broken(
                order=lambda self: Right.order(self)[:: -1 if self.spec.num_threads == 1 else 1]
            ),
            "num_threads=1",
            "an epoch has other samples or another order",
        ),
        (
            broken(images=lambda self, ids: Right.images(self, ids).float()),
            "float16 and bfloat16",
            "images are torch.float32, not torch.float16",
        ),
    ],
)
def test_what_only_the_check_notices(factory: Any, rule: str, said: str) -> None:
    try:
        outcome, text = finding_of(rule, factory)
    finally:
        HOARD.clear()
        while STOPS:
            STOPS.pop().set()
    assert outcome == "FAIL"
    assert said in text


class Reading(Right):
    """Says that it reads the images, and has the first byte of each file for a level."""

    reads_images = True
    by_id = False

    def images(self, ids: list[int]) -> torch.Tensor:
        values = ids if self.by_id else [Path(self.spec.paths[i]).read_bytes()[-9] for i in ids]
        return Right.images(self, values)


@pytest.fixture
def on_files(tmp_path: Path) -> LoaderSpec:
    paths = [str(draw(tmp_path / f"{i}.jpg", (20 + i, 20))) for i in range(NUM_SAMPLES)]
    return dataclasses.replace(SPEC, paths=paths)


def test_ids_that_are_not_their_images(on_files: LoaderSpec) -> None:
    rule = "ids belong to their images"
    assert finding_of(rule, Reading, on_files) == ("ok", "the same pixels")
    outcome, text = finding_of(rule, type("ById", (Reading,), {"by_id": True}), on_files)
    assert outcome == "FAIL"
    assert text == "sample 0 is another image where the list is reversed: 637.50 levels off"


class Caching(Reading):
    """Reads each file once."""

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec)
        self.kept: dict[int, torch.Tensor] = {}

    def images(self, ids: list[int]) -> torch.Tensor:
        for i in ids:
            if i not in self.kept:
                self.kept[i] = super().images([i])
        return torch.cat([self.kept[i] for i in ids]).contiguous(memory_format=torch.channels_last)


class Ahead(Reading):
    """Reads the next batch whatever `prefetch` says."""

    def __iter__(self) -> Iterator[Batch]:
        held = None
        for batch in Reading.__iter__(self):
            if held is not None:
                yield held
            held = batch
        yield held  # type: ignore[misc]


class Pretending(Reading):
    """Reads where pixels must be repeatable, and not while it is timed."""

    def images(self, ids: list[int]) -> torch.Tensor:
        return super().images(ids) * self.spec.repeatable


@pytest.mark.parametrize(
    ("factory", "rule", "said"),
    [
        (
            Caching,
            "every epoch reads the files",
            "images of files that were exchanged an epoch before: they were read once, and kept",
        ),
        (
            Ahead,
            "prefetch=0 reads none ahead",
            "was read before its batch was asked for (batch 1)",
        ),
        (Pretending, "repeatable=False", "the images are others than with repeatable=True: sample"),
    ],
)
def test_what_is_timed_is_reading(factory: Any, rule: str, said: str, on_files: LoaderSpec) -> None:
    assert finding_of(rule, Reading, on_files)[0] == "ok"
    outcome, text = finding_of(rule, factory, on_files)
    assert outcome == "FAIL"
    assert said in text
    if rule != "repeatable=False":
        honest = with_attributes(packs=True, reads_images=True)
        assert finding_of(rule, honest, on_files) == (
            "skipped",
            "it reads a copy of the files, which it made when it was opened",
        )


def test_a_file_that_is_cut_off(on_files: LoaderSpec) -> None:
    rule = "a broken file is named"
    outcome, text = finding_of(rule, Reading, on_files)
    assert (outcome, "without a word" in text) == ("FAIL", True)

    def fail(self: Right, ids: list[int]) -> torch.Tensor:
        for i in ids:
            if "cut-off" in self.spec.paths[i]:
                raise ValueError(self.text(i))  # type: ignore[attr-defined]
        return Right.images(self, ids)

    shared = {"reads_images": True, "images": fail}
    mute = type("Mute", (Right,), {**shared, "text": lambda self, i: "something is wrong"})
    outcome, text = finding_of(rule, mute, on_files)
    assert outcome == "FAIL"
    assert "does not name the file: " in text
    clear = type("Clear", (Right,), {**shared, "text": lambda self, i: self.spec.paths[i]})
    assert finding_of(rule, clear, on_files)[0] == "ok"


def test_parity_is_told_and_not_judged(on_files: LoaderSpec) -> None:
    def parity(factory: Any) -> tuple[str, str]:
        return finding_of("parity", factory, on_files, Reading)

    def brighter(by: float) -> Any:
        images = lambda self, ids: Reading.images(self, ids) + by  # noqa: E731
        return type("Brighter", (Reading,), {"images": images})

    levels = 0.25 * 255
    assert parity(Reading) == ("told", "exact: max 0.00, mean 0.0000 levels")
    assert parity(brighter(0.4 / levels))[1].startswith("exact: max 0.40")
    assert parity(brighter(2 / levels)) == (
        "told",
        "different: max 2.00, mean 2.0000 levels",
    )


def test_closing_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "CLOSE_SECONDS", 0.01)
    slow = broken(close=lambda self: time.sleep(0.02) or Right.close(self))
    assert "more than 0.01 s" in finding_of("close()", slow)[1]


def test_an_endless_epoch_is_left() -> None:
    def endless(self: Right) -> Iterator[Batch]:
        while True:
            yield from Right.__iter__(self)

    rule = "every sample once, in order"
    assert "more than once" in finding_of(rule, broken(__iter__=endless))[1]


def test_memory_is_counted_on_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on torch's current one, which is the first, whatever --device says."""
    allocated = [0, 7]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(allocated))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device=0: allocated[device])
    assert trial._take_stock(None).num_device_bytes == 7


def test_an_error_of_a_built_in_loader_is_told_by_its_own_line(tmp_path: Path) -> None:
    """Not by that of the threads which it shares with others, nor by the harness's."""
    from fastbench.loaders.shared.threads import ThreadedLoader

    def fail(sample: int) -> torch.Tensor:
        raise KeyError("what?")

    made = CheckedLoader("mine", lambda spec: ThreadedLoader(spec, fail, {}), SPEC)
    try:
        with pytest.raises(LoaderError, match=r"KeyError: 'what\?' \(test_contract\.py:"):
            next(iter(made))
    finally:
        made.close()
