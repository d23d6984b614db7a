"""Broken sides on demand: a run notices as it uses them, and `loaders check` says which rule."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.broken_loaders import Right, RightOnDemand, asked
from builders.images import draw
from builders.plug_ins import PlugIn

from fastbench.core.errors import (
    CorruptImageError,
    LoaderError,
    LoaderFailedError,
    OutOfMemoryError,
)
from fastbench.loaders.base import IMAGENET, LoaderSpec
from fastbench.loaders.contract import rules
from fastbench.loaders.contract.trial import Subject
from fastbench.loaders.guard_on_demand import CheckedOnDemand

SPEC = LoaderSpec(
    paths=[f"{i}.jpg" for i in range(11)],
    batch_size=4,
    preprocess=dataclasses.replace(IMAGENET, resize=8, crop=6),
    device="cpu",
    dtype="float32",
    num_threads=2,
)


@pytest.fixture
def on_files(tmp_path: Path) -> LoaderSpec:
    paths = [str(draw(tmp_path / f"{i}.jpg", (20 + i, 20))) for i in range(11)]
    return dataclasses.replace(SPEC, paths=paths)


def under_inference_mode(self: Any, decoded: Any, size: int) -> torch.Tensor:
    with torch.inference_mode():
        return RightOnDemand.collate(self, decoded, size).clone()


def as_collated(change: Callable[[torch.Tensor], Any]) -> Any:
    return lambda self, decoded, size: change(RightOnDemand.collate(self, decoded, size))


class Lazy(torch.Tensor):
    """Could put its work off until it is looked at."""


WRONG: dict[str, tuple[Any, str]] = {
    "a list": (as_collated(list), "collate gives a list, not a plain torch.Tensor"),
    "subclass": (as_collated(lambda x: x.as_subclass(Lazy)), "a Lazy, not a plain torch.Tensor"),
    "size": (as_collated(lambda x: x[1:]), "the shape (0, 3, 6, 6), not (1, 3, H, W)"),
    "shape": (as_collated(lambda x: x.permute(0, 2, 3, 1)), "images are (1, 6, 6, 3), not (N, 3"),
    "layout": (as_collated(lambda x: x.clone(memory_format=torch.contiguous_format)), "channels_l"),
    "dtype": (as_collated(torch.Tensor.double), "images are torch.float64, not torch.float32"),
    "device": (as_collated(lambda x: x.to("meta")), "images are on meta, not on cpu"),
    "inference mode": (under_inference_mode, "torch.inference_mode"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_batch_is_noticed_at_once(name: str, on_files: LoaderSpec, plug_in: PlugIn) -> None:
    collate, said = WRONG[name]
    factory = asked(collate=collate)
    plug_in("mine", factory)
    side = CheckedOnDemand("mine", factory, on_files)
    with pytest.raises(LoaderError) as caught:
        side.collate([side.decode([0])], 1)
    text = str(caught.value)
    assert text.startswith("The plug-in loader 'mine' (tests:mine, of tests 1.0) breaks the contra")
    assert said in text
    assert "fastbench loaders check mine" in text
    outcome, seen = findings_of(factory, on_files)["on demand: batches"]
    assert (outcome, said in seen.replace("4, 3, H", "1, 3, H")) == ("FAIL", True)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"decode": None}, "it has no decode()"),
        ({"reads_images": None}, "it has no reads_images"),
        ({"num_callers": 0}, "its num_callers is 0, not a whole number of at least 1"),
        ({"most_at_once": True}, "its most_at_once is True, not"),
        ({"__init__": lambda self, spec: None}, "failed while it was opened on demand: TypeError"),
    ],
)
def test_what_cannot_take_requests(methods: Any, said: str, on_files: LoaderSpec) -> None:
    factory = asked(**methods)
    with pytest.raises(LoaderError, match="The loader 'mine'") as caught:
        CheckedOnDemand("mine", factory, on_files)
    assert said in str(caught.value)
    outcome, text = findings_of(factory, on_files)["on demand: opens, closes"]
    assert (outcome, said in text) == ("FAIL", True)


def test_errors_name_the_loader_and_those_of_ours_stay(on_files: LoaderSpec) -> None:
    def side(error: Exception, what: str = "decode") -> CheckedOnDemand:
        def fail(*_: Any) -> None:
            raise error

        return CheckedOnDemand("mine", asked(**{what: fail}), on_files)

    failed = (
        r"'mine' failed to decode: KeyError: 'what\?' \(test_on_demand_contract\.py:.*check mine"
    )
    with pytest.raises(LoaderFailedError, match=failed) as caught:
        side(KeyError("what?")).decode([0])
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(LoaderFailedError, match="failed to collate: ValueError"):
        side(ValueError("no"), "collate").collate([], 1)
    with pytest.raises(LoaderError, match="failed while it was closed: ValueError"):
        side(ValueError("no"), "close").close()
    with pytest.raises(CorruptImageError, match=r"a\.jpg is cut off"):
        side(CorruptImageError("a.jpg", "is cut off")).decode([0])
    with pytest.raises(OutOfMemoryError):
        side(MemoryError()).decode([0])


def findings_of(factory: Any, spec: LoaderSpec) -> dict[str, tuple[str, str]]:
    chosen = [rule for rule in rules.RULES if rule.vital]
    subject = Subject(factory, spec, Right)
    return {
        x.rule: (x.outcome, x.text) for x in rules.hold(subject, rules=[*chosen, *rules.ON_DEMAND])
    }


def test_who_keeps_the_rules_passes(on_files: LoaderSpec) -> None:
    found = findings_of(asked(), on_files)
    assert {outcome for outcome, _ in found.values()} == {"ok"}
    assert found["on demand: opens, closes"][1] == "2 callers, up to 3 at once"
    assert found["on demand: names a file"][1] == "cut-off.jpg is cut off"


def test_the_rules_are_for_those_who_take_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", rules.RULES[:1])
    for factory, more in ((Right, []), (asked(), [rule.name for rule in rules.ON_DEMAND])):
        found = [finding.rule for finding in rules.hold(Subject(factory, SPEC, Right))]
        assert found == ["opens", *more]


def closed_once(self: RightOnDemand) -> None:
    if self.num_closed:
        raise ValueError("closed twice")
    self.num_closed += 1


def in_one_place(self: Any, samples: Sequence[int]) -> Any:
    """The next call writes over what this one returns."""
    self.place = getattr(self, "place", [])
    self.place[:] = RightOnDemand.decode(self, samples)
    return self.place


def in_one_buffer(self: Any, decoded: Any, size: int) -> torch.Tensor:
    made = RightOnDemand.collate(self, decoded, size)
    if not hasattr(self, "buffer"):
        self.buffer = RightOnDemand.collate(self, [[0] * 4], 4)
    self.buffer[:size] = made
    return self.buffer[:size]


def with_nan_behind(self: Any, decoded: Any, size: int) -> torch.Tensor:
    made = RightOnDemand.collate(self, decoded, size)
    made[sum(map(len, decoded)) :] = torch.nan
    return made


def out_of_order(self: Any, samples: Sequence[int]) -> Any:
    return sorted(RightOnDemand.decode(self, samples))


def gives_up(self: Any, samples: Sequence[int]) -> Any:
    """After one error there is nothing but errors, which name the same file."""
    if not hasattr(self, "error"):
        try:
            return RightOnDemand.decode(self, samples)
        except CorruptImageError as error:
            self.error = error
    raise self.error


def never_looks(self: Any, samples: Sequence[int]) -> Any:
    try:
        return RightOnDemand.decode(self, samples)
    except CorruptImageError:
        return [0] * len(samples)


def names_none(self: Any, samples: Sequence[int]) -> Any:
    try:
        return RightOnDemand.decode(self, samples)
    except CorruptImageError:
        raise ValueError("something is wrong") from None


@pytest.mark.parametrize(
    ("methods", "rule", "said"),
    [
        ({"close": closed_once}, "opens, closes", "ValueError: closed twice"),
        ({"collate": with_nan_behind}, "batches", "a batch of 4 has rows that are not finite"),
        (
            {"level": lambda self, i: RightOnDemand.level(self, i) + 30 * (i == 0)},
            "batches",
            "sample 0 in float16 is up to 30 from float32",
        ),
        (
            {"level": lambda self, i: RightOnDemand.level(self, i) + (i == 10)},
            "same pixels",
            "sample 10 is another image on demand, from files",
        ),
        ({"decode": out_of_order}, "same pixels", "is another image on demand, from files, 3 a c"),
        (
            {"__init__": lambda self, spec, _: RightOnDemand.__init__(self, spec, None)},
            "same pixels",
            "is another image on demand, from memory",
        ),
        (
            {"decode": in_one_place, "num_callers": 1},
            "stays valid",
            "is another image on demand, when others were decoded before it was collated",
        ),
        ({"collate": in_one_buffer}, "stays valid", "a batch changed when the next was collated"),
        ({"decode": never_looks}, "names a file", "is delivered as an image, without a word"),
        ({"decode": names_none}, "names a file", "does not name the file: "),
        ({"decode": gives_up}, "names a file", "cut-off.jpg is cut off"),
    ],
)
def test_each_rule_can_fail(methods: Any, rule: str, said: str, on_files: LoaderSpec) -> None:
    outcome, text = findings_of(asked(**methods), on_files)[f"on demand: {rule}"]
    assert outcome == "FAIL"
    assert said in text
