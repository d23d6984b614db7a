"""A trial of `fastbench tune`, measured: what it tells the search."""

from pathlib import Path
from typing import Any

import pytest

from fastbench.core.config import RunConfig
from fastbench.records.speed import Ceiling
from fastbench.runner import trial
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
    free = RunConfig(
        data=str(images), model=("sample",), loader=("torchvision-tensor",), device="cpu",
        reference="none",
    )  # fmt: skip
    (space,) = trial.describe(free, tmp_path, Silent(), objective=THROUGHPUT)
    assert isinstance(space, Space)
    assert {x.name: (x.to_loader, x.to_model, x.memory) for x in space.axes} == {
        "batch_size": (True, True, 1.0),
        "num_threads": (True, False, 0.0),
        "model_threads": (False, True, 0.0),
        "prefetch": (True, False, 0.25),
    }
    (space,) = trial.describe(free, tmp_path, Silent(), objective=LATENCY)
    assert {axis.name for axis in space.axes} == {"num_threads", "model_threads"}


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
