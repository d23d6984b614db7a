"""The search finds what is fastest, and survives settings that fail."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from builders.loaders import IMAGENET

from fastbench.core.errors import LoaderError
from fastbench.loaders.base import LoaderSpec
from fastbench.measure import loader_settings

SPEC = LoaderSpec(
    paths=["a"], batch_size=4, preprocess=IMAGENET, device="cpu", dtype="float32", num_threads=2
)


class FakeClock:
    """A clock that a loader moves."""

    def __init__(self) -> None:
        self.now = self.began = 0.0

    def start(self) -> None:
        self.began = self.now

    def mark(self) -> None:
        pass

    def elapsed(self) -> float:
        return self.now - self.began

    def stop(self) -> float:
        return self.elapsed()


def search(seconds_a_batch: dict[tuple[float, int], float | None]) -> tuple[object, list[object]]:
    """Search `load`, then `num_threads`, where each pair costs what the table says."""
    clock = FakeClock()

    @contextlib.contextmanager
    def open_loader(spec: LoaderSpec) -> Iterator[object]:
        cost = seconds_a_batch[float(spec.options["load"]), spec.num_threads]  # type: ignore[arg-type]
        if cost is None:
            raise LoaderError("no such engine")

        class Loader:
            def __iter__(self) -> Iterator[object]:
                clock.now += cost
                yield SimpleNamespace(num_valid=spec.batch_size)

        yield Loader()

    space = {"load": (1.0, 0.0, 0.5), "num_threads": (2, 4)}
    best, trials = loader_settings.search(open_loader, SPEC, space, lambda: clock, seconds=0.01)  # type: ignore[arg-type]
    return best, list(trials)


def test_the_fastest_is_kept_setting_by_setting() -> None:
    best, trials = search(
        {(1.0, 2): 0.4, (0.0, 2): 0.2, (0.5, 2): 0.3, (0.0, 4): 0.1, (1.0, 4): 0.01}
    )
    assert best == {"load": 0.0, "num_threads": 4}
    assert [(t.settings, t.images_per_s) for t in trials] == [  # type: ignore[attr-defined]
        ({"load": 1.0, "num_threads": 2}, pytest.approx(10)),
        ({"load": 0.0, "num_threads": 2}, pytest.approx(20)),
        ({"load": 0.5, "num_threads": 2}, pytest.approx(4 / 0.3)),
        ({"load": 0.0, "num_threads": 4}, pytest.approx(40)),
    ]


def test_what_fails_is_a_trial_without_a_figure() -> None:
    best, trials = search({(1.0, 2): None, (0.0, 2): 0.2, (0.5, 2): 0.3, (0.0, 4): None})
    assert best == {"load": 0.0, "num_threads": 2}
    assert [t.images_per_s is None for t in trials] == [True, False, False, True]  # type: ignore[attr-defined]


def test_where_all_fails_the_reason_is_told() -> None:
    with pytest.raises(LoaderError, match="no such engine"):
        search({(1.0, 2): None, (0.0, 2): None, (0.5, 2): None})


def test_general_settings_go_into_the_spec() -> None:
    spec = SPEC.with_settings({"prefetch": 5, "num_threads": 7, "load": 1.0})
    assert (spec.prefetch, spec.num_threads, dict(spec.options)) == (5, 7, {"load": 1.0})
