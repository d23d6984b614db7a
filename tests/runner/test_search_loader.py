"""The loader's own search: what a trial of it measures, and what ranks make of one."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastbench.core.config import RunConfig
from fastbench.core.errors import LoaderError
from fastbench.core.progress import Silent
from fastbench.loaders.builtin.torchvision_tensor import TensorLoader
from fastbench.measure.passes import sample_loader
from fastbench.measure.ranks import Ranks
from fastbench.runner import search_loader
from fastbench.runner.prepare import Workbench
from fastbench.runner.search_loader import Found

STEP_S = 2.0**-12  # sums of it are exact


class FakeClock:
    """A clock that a loader moves."""

    now = began = 0.0

    def start(self) -> None:
        self.began = self.now

    def mark(self) -> None:
        pass

    def elapsed(self) -> float:
        return self.now - self.began

    def stop(self) -> float:
        return self.elapsed()


@pytest.mark.parametrize(("seconds", "num_batches"), [(0.0, 8), (40 * STEP_S, 40)])
def test_the_throughput_is_that_of_its_window(seconds: float, num_batches: int) -> None:
    """At least eight batches, for as long as is asked for. Those of the warm-up do not count."""
    clock, taken = FakeClock(), []

    class Loader:
        def __iter__(self) -> Iterator[object]:
            is_cold = len(taken) < 6
            clock.now += 64.0 if is_cold else STEP_S
            taken.append(clock.began)
            yield SimpleNamespace(num_valid=4)

    assert sample_loader(Loader(), clock, seconds) == 4 / STEP_S  # type: ignore[arg-type]
    assert len(taken) - taken.count(0.0) == num_batches


class Two(Ranks):
    """This rank, and another that is as fast, or fails with one thread."""

    fails = False

    def __init__(self) -> None:
        super().__init__()
        self.places = self.places * 2
        self.num_told = itertools.count()

    def gather(self, value: Any) -> list[Any]:
        if not isinstance(value, float | None) or next(self.num_told) == 0:
            return [value, value]  # what was kept, which is the first that is told
        return [value, None if self.fails and value == 100 else value]


@pytest.fixture
def workbench(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """Of two ranks, with a loader that searches for its threads."""
    space = {"num_threads": (1, 2, 3)}
    monkeypatch.setattr(TensorLoader, "search_space", staticmethod(lambda _: space), raising=False)
    config = RunConfig(
        data=str(images), model=("sample",), loader=("torchvision-tensor",), device="cpu",
        batch_size=4, reference="none",
    )  # fmt: skip
    made = Workbench(config, tmp_path, Silent())
    made.ranks = Two()
    return made


def searched(workbench: Workbench) -> Found:
    model, _ = workbench.load("sample")
    spec = workbench.spec(model, "torchvision-tensor")
    _, found = search_loader.search_loader(workbench, "torchvision-tensor", spec)
    assert found is not None
    return found


def sample(loader: Any, *_: object) -> float:
    return 100.0 / loader.settings["num_threads"]


def test_what_counts_is_the_sum_of_the_ranks(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_loader, "sample_loader", sample)
    found = searched(workbench)
    assert [x.images_per_s for x in found.trials] == pytest.approx([200, 100, 200 / 3])
    assert found.settings == {"num_threads": 1}


def test_settings_that_fail_on_another_rank_have_failed(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_loader, "sample_loader", sample)
    monkeypatch.setattr(Two, "fails", True)
    found = searched(workbench)
    assert [x.images_per_s for x in found.trials] == [None, 100.0, pytest.approx(200 / 3)]
    assert found.settings == {"num_threads": 2}


def test_where_all_fail_on_another_rank_that_is_said(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_loader, "sample_loader", lambda *_: 100.0)
    monkeypatch.setattr(Two, "fails", True)
    with pytest.raises(LoaderError, match="failed on another rank"):
        searched(workbench)


def test_this_ranks_own_error_is_said(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise LoaderError("It has no engine. Use another.")

    monkeypatch.setattr(search_loader, "sample_loader", fail)
    with pytest.raises(LoaderError, match="It has no engine"):
        searched(workbench)
