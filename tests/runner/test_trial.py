"""A trial of `fastbench tune`, measured: what it tells the search."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
from builders.plug_ins import PlugIn

from fastbench.core.config import RunConfig
from fastbench.core.cores import num_cores
from fastbench.core.errors import LoaderError, OutOfMemoryError
from fastbench.loaders.base import LoaderSpec, Setting, take_options
from fastbench.loaders.builtin.torchvision_tensor import TensorLoader
from fastbench.measure.loader_settings import Found
from fastbench.records.speed import Ceiling, Trial
from fastbench.runner import search_loader, trial
from fastbench.runner.objective import LATENCY, THROUGHPUT
from fastbench.runner.trials_file import Measured, Space


class Silent:
    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


def config(images: Path, loader: str) -> RunConfig:
    return RunConfig(
        data=str(images), model=("sample",), loader=(loader,), device="cpu", batch_size=4,
        quick=True, min_seconds=0.05, num_threads=1, model_threads=1, reference="none",
    )  # fmt: skip


def measure(images: Path, folder: Path, loader: str, objective: str) -> Measured:
    (row,) = trial.trial(config(images, loader), folder, Silent(), objective=objective)
    assert isinstance(row, Measured), row.error
    return row


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_QUICK_S", 0.1)


def test_the_parts_are_measured_alone(images: Path, tmp_path: Path) -> None:
    found = measure(images, tmp_path, "torchvision-tensor", THROUGHPUT)
    assert found.loader is not None
    assert found.model is not None
    assert found.parts is not None
    assert found.parts.loader == found.loader.num_images / found.loader.wall_s
    assert found.parts.model == found.model.num_images / found.model.wall_s
    if found.parts.loader_cpu_s is not None:
        assert found.loader.cpu_s is not None
        assert found.parts.loader_cpu_s == found.loader.cpu_s / found.loader.num_images


def test_a_loader_that_reads_nothing_has_no_part(images: Path, tmp_path: Path) -> None:
    found = measure(images, tmp_path, "synthetic", THROUGHPUT)
    assert found.loader is None
    assert found.parts is None


@pytest.mark.parametrize("objective", ["cpu-seconds", LATENCY])
def test_other_objectives_have_no_parts(images: Path, tmp_path: Path, objective: str) -> None:
    found = measure(images, tmp_path, "memory", objective)
    assert found.parts is None
    assert bool(found.samples_s) == (objective == LATENCY)


def test_axes_matter_to_their_part(images: Path, tmp_path: Path) -> None:
    space = described(free(images), tmp_path)
    assert {x.name: (x.to_loader, x.to_model, x.memory) for x in space.axes} == {
        "batch_size": (True, True, 1.0),
        "num_threads": (True, False, 0.0),
        "model_threads": (False, True, 0.0),
        "prefetch": (True, False, 0.25),
    }
    (space,) = trial.describe(free(images), tmp_path, Silent(), objective=LATENCY)
    assert {axis.name for axis in space.axes} == {"num_threads", "model_threads"}


@pytest.fixture
def searched(images: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Settings whose loader searches for its own: one thread is best, and 4 batches ahead."""
    space = {"num_threads": (1, 2, 3), "prefetch": (2, 3, 4)}
    monkeypatch.setattr(TensorLoader, "search_space", staticmethod(lambda _: space), raising=False)

    def sample_loader(loader: Any, *_: object) -> float:
        settings = loader.settings
        return 100.0 * settings["prefetch"] / settings["num_threads"]

    monkeypatch.setattr(search_loader, "sample_loader", sample_loader)
    return free(images)


def free(images: Path) -> RunConfig:
    """Nothing is given that could be searched for."""
    return RunConfig(
        data=str(images), model=("sample",), loader=("torchvision-tensor",), device="cpu",
        reference="none",
    )  # fmt: skip


def described(config: RunConfig, folder: Path, tell: Any = None) -> Space:
    (space,) = trial.describe(config, folder, tell or Silent(), objective=THROUGHPUT)
    assert isinstance(space, Space)
    return space


def does_not_fit(*_: object) -> None:
    raise OutOfMemoryError("It does not fit. Use less.")


def test_the_default_is_what_a_run_searches_for(
    searched: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = described(searched, tmp_path)
    default = {x.name: x.values[x.default] for x in space.axes}
    assert (default["num_threads"], default["prefetch"]) == (1, 4)
    assert space.loader_search is not None
    rates = {
        (x.settings["num_threads"], x.settings["prefetch"]) for x in space.loader_search.trials
    }
    assert rates == {*itertools.product((1, 2, 3), (2, 3, 4))}
    # A search that goes on has the same default, at once.
    monkeypatch.setattr(search_loader, "sample_loader", None)
    assert described(searched, tmp_path) == space


@pytest.mark.parametrize(
    ("change", "default"),
    [
        ({"quick": True}, (num_cores(), 2)),
        ({"loader_option": ("torchvision-tensor.prefetch=3",), "num_threads": 2}, (None, None)),
    ],
)
def test_what_is_not_searched_for_by_a_run(
    change: dict[str, Any],
    default: tuple[int | None, int | None],
    searched: RunConfig,
    tmp_path: Path,
) -> None:
    space = described(dataclasses.replace(searched, **change), tmp_path)
    assert space.loader_search is None
    found = {x.name: x.values[x.default] for x in space.axes}
    assert (found.get("num_threads"), found.get("prefetch")) == default


def test_a_default_batch_that_does_not_fit_is_not_the_end(
    searched: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_loader, "sample_loader", does_not_fit)
    told: list[str] = []
    tell = Silent()
    tell.note = told.append
    space = described(searched, tmp_path, tell)
    assert space.loader_search is None
    assert told == [
        "torchvision-tensor's own search for its settings failed: It does not fit. Use less."
    ]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"mode": ()}, "its search_space has () for 'mode', not a tuple of one or more values."),
        ({"mode": "ab"}, "its search_space has 'ab' for 'mode', not a tuple"),
        ([("mode", (1, 2))], "its search_space gives a list, not a dict."),
        ({"mode": ("2",)}, "has the value '2' for 'mode', which no --loader-option can give."),
        ({"mode": (1, None)}, "has the value None for 'mode', which no --loader-option can give."),
        ({"mode": (object,)}, "which no --loader-option can give."),
        ({"num_threads": (0, 2)}, "has the value 0 for 'num_threads', which no"),
        ({"prefetch": (None,)}, "has the value None for 'prefetch', which no"),
    ],
)
def test_what_is_no_search_space_is_named(
    space: object, said: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing is searched before the first trial."""
    monkeypatch.setattr(TensorLoader, "search_space", staticmethod(lambda _: space), raising=False)
    for is_quick in (False, True):
        with pytest.raises(LoaderError, match="'torchvision-tensor' breaks the contract") as raised:
            described(dataclasses.replace(free(images), quick=is_quick), tmp_path)
        assert said in str(raised.value)


def test_a_search_space_that_fails_is_named(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorLoader, "search_space", {"prefetch": (1, 2)}, raising=False)
    with pytest.raises(LoaderError, match="failed when it was asked for its search_space: TypeErr"):
        described(free(images), tmp_path)


class QuietLoader(TensorLoader):
    """Has an option of its own, of which it does not tell."""

    def __init__(self, spec: LoaderSpec) -> None:
        self.depth = take_options(spec, "quiet", depth=1)["depth"]
        super().__init__(dataclasses.replace(spec, options={}))

    @staticmethod
    def search_space(spec: LoaderSpec) -> dict[str, tuple[int, ...]]:
        return {"depth": (1, 2, 3)}


@pytest.fixture
def quiet(images: Path, plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Settings whose loader is best with a depth of 2."""
    plug_in("quiet", QuietLoader)
    rates = {1: 50.0, 2: 90.0, 3: 40.0}
    monkeypatch.setattr(
        search_loader, "sample_loader", lambda loader, *_: rates[loader._loader.depth]
    )
    return dataclasses.replace(free(images), loader=("quiet",))


def test_a_setting_that_the_loader_does_not_tell_of(quiet: RunConfig, tmp_path: Path) -> None:
    """What was found was replaced by None: the default of trials was another than that of a run."""
    depth = described(quiet, tmp_path).axes[-1]
    assert (depth.name, depth.values[depth.default]) == ("depth", 2)


def test_a_default_batch_with_which_the_loader_does_not_open(
    quiet: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QuietLoader, "__init__", does_not_fit)
    for is_quick in (False, True):
        space = described(dataclasses.replace(quiet, quick=is_quick), tmp_path)
        assert space.loader_search is None
        assert space.axes[-1].values == (None, 1, 2, 3)


def test_a_search_that_goes_on_takes_its_own_trials(
    searched: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that finds another default ended it, where what a folder has kept was gone."""
    space = described(searched, tmp_path / "a")

    def go_on(folder: str, earlier: Found | None) -> Space:
        (tmp_path / folder).mkdir()
        (found,) = trial.describe(
            searched, tmp_path / folder, Silent(), objective=THROUGHPUT, loader_search=earlier
        )
        return found

    monkeypatch.setattr(search_loader, "sample_loader", lambda *_: 7.0)
    assert go_on("b", space.loader_search) == space
    assert described(searched, tmp_path / "b") == space  # it is kept
    settings: dict[str, Setting] = {"num_threads": 64, "prefetch": 2}
    other = Found(settings, [Trial(settings=settings, images_per_s=9.0)], 1.0)
    anew = go_on("c", other).loader_search
    assert anew is not None
    assert {x.images_per_s for x in anew.trials} == {7.0}


def test_the_model_has_the_cpu_time_that_the_loader_leaves() -> None:
    loader = Ceiling(num_images=100, wall_s=1.0, cpu_s=2.0)
    model = Ceiling(num_images=50, wall_s=1.0)
    found = Measured(num_images=10, wall_s=1.0, cpu_s=0.5, loader=loader, model=model)
    assert found.parts is not None
    assert (found.parts.loader, found.parts.model) == (100, 50)
    assert found.parts.loader_cpu_s == pytest.approx(0.02)
    assert found.parts.model_cpu_s == pytest.approx(0.03)
    less = Measured(num_images=10, wall_s=1.0, cpu_s=0.1, loader=loader, model=model)
    assert less.parts is not None
    assert less.parts.model_cpu_s is None
