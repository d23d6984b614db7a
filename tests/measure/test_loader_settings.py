"""The search finds what is fastest, and survives settings that fail."""

import itertools
from collections.abc import Callable, Sequence

import pytest
from builders.loaders import IMAGENET

from fastbench.core.errors import LoaderError
from fastbench.loaders.base import LoaderSpec, Setting
from fastbench.measure import loader_settings

SPEC = LoaderSpec(
    paths=["a"], batch_size=4, preprocess=IMAGENET, device="cpu", dtype="float32", num_threads=2
)
Rates = Callable[[dict[str, Setting]], float | None]


def search(space: dict[str, Sequence[Setting]], rate_of: Rates) -> loader_settings.Found:
    """Search a space in which each setting has this throughput, or fails."""

    def measure(settings: dict[str, Setting]) -> float:
        rate = rate_of(settings)
        if rate is None:
            raise LoaderError("no such engine")
        return rate

    return loader_settings.search(space, measure)


LOADS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
THREADS = (4, 8, 16, 24)


@pytest.mark.parametrize(("load", "threads"), [*itertools.product(LOADS, THREADS)])
def test_the_fastest_is_found_wherever_it_is(load: float, threads: int) -> None:
    def rate_of(settings: dict[str, Setting]) -> float:
        away = abs(LOADS.index(settings["load"]) - LOADS.index(load))  # type: ignore[arg-type]
        away += abs(THREADS.index(settings["num_threads"]) - THREADS.index(threads))  # type: ignore[arg-type]
        return 1000 - 50 * away + (10 if settings["prefetch"] == 3 else 0)

    space = {"load": LOADS, "num_threads": THREADS, "prefetch": (2, 3, 4)}
    found = search(space, rate_of)
    assert found.settings == {"load": load, "num_threads": threads, "prefetch": 3}
    tried = [tuple(trial.settings.values()) for trial in found.trials]
    assert len(tried) == len(set(tried)) <= 24  # of 96
    assert max(trial.images_per_s or 0 for trial in found.trials) == pytest.approx(1010)


def test_the_best_of_one_may_depend_on_the_other() -> None:
    """With few threads the engines help, with many they are in the way."""
    table = {(0.0, 4): 100, (1.0, 4): 300, (0.0, 8): 500, (1.0, 8): 200}

    def rate_of(settings: dict[str, Setting]) -> float:
        return table[settings["load"], settings["num_threads"]]  # type: ignore[index]

    found = search({"load": (1.0, 0.0), "num_threads": (4, 8)}, rate_of)
    assert found.settings == {"load": 0.0, "num_threads": 8}


def test_what_fails_is_a_trial_without_a_figure() -> None:
    found = search({"load": (1.0, 0.0)}, lambda settings: None if settings["load"] == 1.0 else 20.0)
    assert found.settings == {"load": 0.0}
    assert [(t.settings, t.images_per_s) for t in found.trials] == [
        ({"load": 1.0}, None),
        ({"load": 0.0}, pytest.approx(20)),
    ]


def test_where_all_fails_the_reason_is_told() -> None:
    with pytest.raises(LoaderError, match="no such engine"):
        search({"load": (1.0, 0.0), "num_threads": (2, 4)}, lambda _: None)


def test_general_settings_go_into_the_spec() -> None:
    spec = SPEC.with_settings({"prefetch": 5, "num_threads": 7, "load": 1.0})
    assert (spec.prefetch, spec.num_threads, dict(spec.options)) == (5, 7, {"load": 1.0})
