"""The sizes of batch that a model is made ready for."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders.classifiers import make_classifier

from fastbench.core.load_options import LoadConfig
from fastbench.engines.classifier import Classifier
from fastbench.scenarios.sized_models import (
    SizedModels,
    largest_batch,
    sized,
    sizes_up_to,
    with_sizes,
)


class Sums(torch.nn.Module):
    """Two classes, of which the first is the sum of the image; it notes its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images_NCHW))
        sums_N = images_NCHW.sum((1, 2, 3))
        return torch.stack([sums_N, torch.zeros_like(sums_N)], 1)


def config_of(**changes: Any) -> LoadConfig:
    return LoadConfig(**{"model": ("sample",), "loader": ("dali",), "device": "cpu", **changes})


def classifier(batch_size: int, engine: str = "eager") -> Classifier:
    found = make_classifier(Sums(), batch_size=batch_size, crop=4)
    found.engine = engine  # what it executes does not matter here
    return found


def sized_of(*sizes: int, engine: str = "eager", device: str = "cpu") -> SizedModels:
    """A row's models, the largest first."""
    largest, *others = (classifier(size, engine) for size in sorted(sizes, reverse=True))
    workbench: Any = SimpleNamespace(batch_size=max(sizes), device=torch.device(device))
    bench: Any = SimpleNamespace(classifier=largest, others=others)
    return sized(workbench, bench)


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [
        (1, [1]),
        (2, [1, 2]),
        (3, [1, 2, 3]),
        (8, [1, 2, 4, 8]),
        (32, [1, 2, 4, 8, 16, 32]),
        (100, [1, 2, 4, 8, 16, 32, 64, 100]),
        (256, [1, 4, 8, 16, 32, 64, 128, 256]),
        (1000, [1, 16, 32, 64, 128, 256, 512, 1000]),
    ],
)
def test_the_sizes_are_powers_of_two_and_the_largest(largest: int, sizes: list[int]) -> None:
    assert sizes_up_to(largest) == sizes


@pytest.mark.parametrize("largest", range(1, 3000, 37))
def test_there_are_at_most_eight(largest: int) -> None:
    sizes = sizes_up_to(largest)
    assert sizes == sorted({*sizes})
    assert len(sizes) <= 8
    assert (sizes[0], sizes[-1]) == (1, largest)


def test_a_batch_is_padded_to_the_next_size() -> None:
    models = sized_of(1, 2, 4, 8, engine="compile")
    assert models.sizes == [1, 2, 4, 8]
    assert [models.size_for(num) for num in range(1, 9)] == [1, 2, 4, 4, 8, 8, 8, 8]
    for num in range(1, 9):
        size = models.size_for(num)
        assert models._by_size[size].batch_size == size


def test_eager_on_a_cpu_takes_every_size_as_it_is() -> None:
    models = sized_of(1, 8)
    assert models.sizes == [*range(1, 9)]
    assert [models.size_for(num) for num in range(1, 9)] == [*range(1, 9)]
    (only,) = {id(each): each for each in models._by_size.values()}.values()
    models.warm_up(torch.float32, torch.device("cpu"), 4)
    module = only.spec.model.module
    assert isinstance(module, Sums)
    assert module.seen == [*range(1, 9)]  # unpadded
    images_NCHW = torch.rand(5, 3, 4, 4)
    assert torch.allclose(models(images_NCHW)[:, 0], images_NCHW.sum((1, 2, 3)))


def test_eager_on_a_gpu_has_a_few_sizes() -> None:
    """For each shape the fastest kernels are searched."""
    assert sized_of(1, 24, device="cuda").sizes == [1, 2, 4, 8, 16, 24]


def test_a_model_of_one_size_pads_all_to_that() -> None:
    """One that was exported for its batch size."""
    models = sized_of(4, engine="compile")
    assert [models.size_for(num) for num in (1, 2, 3, 4)] == [4] * 4


@pytest.mark.parametrize(
    ("scenario", "largest"),
    [("server", 32), ("offline", 32), ("single-stream", 1), ("multi-stream", 8)],
)
def test_the_largest_batch_that_a_scenario_can_form(scenario: str, largest: int) -> None:
    config = config_of(scenario=scenario)
    assert largest_batch(config, 32) == largest
    assert largest_batch(config, 1) == 1
    inner = with_sizes(config, 32)
    assert inner.batch_size == largest


def test_what_a_bench_has_models_for() -> None:
    assert with_sizes(config_of(), 32).latency_batch_size == (1,)
    compiled = with_sizes(config_of(engine="compile"), 32)
    assert compiled.latency_batch_size == (1, 2, 4, 8, 16)
    alone = with_sizes(config_of(engine="compile", scenario="single-stream"), 32)
    assert (alone.batch_size, alone.latency_batch_size) == (1, ())
