"""Parameters and multiply-accumulates, against what the models' publishers say."""

import pytest
import torch
import torchvision

from fastbench.models.base import LoadedModel, class_space, usual_preprocess
from fastbench.models.cost import Cost, count_cost
from fastbench.models.registry import load_model


def loaded(module: torch.nn.Module, crop: int = 8) -> LoadedModel:
    preprocess, source = usual_preprocess(crop)
    return LoadedModel(
        name="a",
        weights="its own",
        module=module,
        preprocess=preprocess,
        preprocess_source=source,
        classes=class_space(2, None),
    )


@pytest.mark.parametrize(
    ("name", "num_parameters", "gmacs"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("alexnet", 61_100_840, 0.714),
        ("vit_b_16", 86_567_656, 17.564),  # with its attention
    ],
)
def test_the_published_figures(name: str, num_parameters: int, gmacs: float) -> None:
    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    assert (meta["num_params"], meta["_ops"]) == (num_parameters, gmacs)
    cost = count_cost(load_model(name, "none"))
    assert cost.num_parameters == num_parameters
    assert cost.num_macs is not None
    assert round(cost.num_macs / 1e9, 3) == gmacs
    assert cost.notes == ()


def test_by_hand() -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
    )
    assert count_cost(loaded(module)) == Cost(
        num_parameters=3 * 4 * 9 + 4 * 36 * 2 + 2, num_macs=3 * 4 * 9 * 36 + 4 * 36 * 2
    )


def test_shared_parameters_are_counted_once() -> None:
    layer = torch.nn.Linear(8, 8)
    module = torch.nn.Sequential(layer, layer, torch.nn.Flatten(), torch.nn.Linear(3 * 64, 2))
    cost = count_cost(loaded(module))
    assert cost.num_parameters == 72 + 3 * 64 * 2 + 2
    assert cost.num_macs == 2 * 3 * 8 * 8 * 8 + 3 * 64 * 2


def test_what_cannot_be_counted_says_why() -> None:
    class Raises(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no\nmore")

    cost = count_cost(loaded(Raises()))
    assert cost.num_macs is None
    assert cost.notes[1:] == ("multiply-accumulates not counted (ValueError: no)",)
    cost = count_cost(loaded(torch.nn.Flatten()))
    assert (cost.num_parameters, cost.num_macs) == (None, None)
    assert cost.notes == (
        "parameters not counted: torch has none, and the model does not state them",
        "multiply-accumulates not counted: torch's counter saw none",
    )


def test_the_counter_leaves_nothing_switched_off() -> None:
    for before in (True, False):
        torch.backends.mha.set_fastpath_enabled(before)
        count_cost(loaded(torch.nn.Flatten()))
        assert torch.backends.mha.get_fastpath_enabled() is before
    torch.backends.mha.set_fastpath_enabled(True)
