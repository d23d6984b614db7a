"""Models that are only objects: their names, what tells them apart, and that they stay as given."""

import pytest
import torch
from builders.models import Net, noise

from fastbench.core.errors import ModelError, UnknownNameError, UsageError
from fastbench.loaders.base import Preprocess
from fastbench.models import held
from fastbench.models.base import Model
from fastbench.models.registry import files_of, load_model

PREPROCESS = Preprocess(
    resize=64, crop=48, interpolation="bicubic", antialias=True, mean=(0.5,) * 3, std=(0.2,) * 3
)


def test_objects_are_called_after_their_class_or_as_they_are_named() -> None:
    with held.named([Net(), "resnet50", Net(), {"mine": Net()}]) as names:
        assert names == ["Net", "resnet50", "Net-2", "mine"]
        assert held.find("resnet50") is None
        assert held.find("mine") is not None
    assert held.find("mine") is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([7], r"of type int. Give a name, a torch.nn.Module, or a fastbench.models.base.Model"),
        ([Net], "of type type.* Call it, and give what it returns"),
        ([{"a": "resnet50"}], "of type str"),
        ([{"a": Net()}, {"a": Net()}], "The name 'a' of a model is no text, or is there twice"),
        ([{"resnet50": Net()}, "resnet50"], "The name 'resnet50' of a model"),
        ([{7: Net()}], "The name 7 of a model is no text"),
    ],
)
def test_what_is_no_model_is_refused(given: list[object], said: str) -> None:
    with pytest.raises(UsageError, match=said), held.named(given):
        pass


def test_a_compiled_module_would_be_recorded_as_eager() -> None:
    with pytest.raises(UsageError, match="and compile=True"), held.named([torch.compile(Net())]):
        pass


def test_a_copy_is_loaded_and_the_object_stays_as_it_was() -> None:
    module = Net().half().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with held.named(
        [Model(module=module, preprocess=PREPROCESS, classes=["a", "b", "c"])]
    ) as names:
        loaded = load_model(*names)
    assert loaded.module.conv.weight.dtype == torch.float32  # type: ignore[union-attr]
    assert not loaded.module.training
    assert loaded.preprocess == PREPROCESS
    assert loaded.classes.names == ("a", "b", "c")
    assert module.training
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert loaded.module(noise(2)).shape == (2, 3)


def test_a_digest_tells_weights_apart_and_a_token_each_time() -> None:
    first, second = Net(), Net()
    digests, tokens = [], []
    for module in (first, first, second):
        with held.named([module]) as names:
            digests.append(files_of(names[0], "DEFAULT")["model"])
            tokens.append(load_model(names[0]).token)
    assert digests[0] == digests[1] != digests[2]
    assert len({*tokens}) == 3
    assert load_model("sample").token == ""


def test_weights_of_any_kind_have_a_digest() -> None:
    module = torch.nn.Sequential(Net().bfloat16())
    module.register_buffer("scale", torch.tensor(2.0))
    module.register_buffer("sparse", torch.eye(2).to_sparse())
    with held.named([module]) as names:
        assert len(files_of(names[0], "DEFAULT")["model"]) == 64


def test_what_cannot_be_copied_or_has_no_other_weights() -> None:
    module = Net()
    module.weight = module.conv.weight * 2  # no leaf, which torch does not copy
    with held.named([module]) as names:
        with pytest.raises(ModelError, match=r"Net cannot be copied .* let copy\.deepcopy copy it"):
            load_model(*names)
        with pytest.raises(UnknownNameError, match="so there is no --weights none"):
            load_model(names[0], "none")
