"""timm's models: its names, its preprocessing, its weights."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders.classifiers import make_classifier
from builders.models import STATED
from safetensors.torch import save_file

from fastbench.core.errors import ModelError, UnknownNameError, WeightsError
from fastbench.models import timm as ours
from fastbench.models.cost import count_cost
from fastbench.models.registry import check_name, load_model

NAME = "timm:test_resnet.r160_in1k"


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError) as caught:
        check_name("timm:resnet50")
    assert str(caught.value) == (
        "The model timm:resnet50 needs timm, which is not installed. "
        'Install it: pip install "fastbench[timm]"'
    )


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm")


def test_names(timm: Any) -> None:
    for name in ("resnet50", "resnet50.a1_in1k", "test_vit"):
        check_name(f"timm:{name}")
    for name, text in (
        (
            "resnet50.a1_in1",
            "no weights 'a1_in1' of resnet50. Did you mean 'timm:resnet50.a1_in1k'",
        ),
        ("resnet_50", "has no model 'resnet_50'. Did you mean 'timm:resnet50'"),
        ("", "has no model ''."),
    ):
        with pytest.raises(UnknownNameError) as caught:
            check_name(f"timm:{name}")
        assert text in str(caught.value)


def test_random_weights_and_timms_preprocessing(timm: Any) -> None:
    model = load_model(NAME, "none")
    assert (model.name, model.weights, model.published) == (NAME, "none", None)
    assert model.preprocess_source == f"timm {timm.__version__}, test_resnet.r160_in1k"
    assert (model.preprocess.resize, model.preprocess.crop) == (168, 160)
    assert model.classes.is_imagenet
    again = load_model(NAME, "none", seed=0).module.state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in model.module.state_dict().items())
    classifier = make_classifier(model, device="cpu", dtype="float32", batch_size=2, crop=160)
    classifier.warm_up()
    assert classifier(torch.zeros(2, 3, 160, 160)).shape == (2, 1000)
    cost = count_cost(model)
    assert cost.num_parameters == sum(p.numel() for p in model.module.parameters())
    assert cost.num_macs


def test_the_preprocessing_of_resnet50(timm: Any) -> None:
    preprocess = load_model("timm:resnet50.a1_in1k", "none").preprocess
    assert (preprocess.resize, preprocess.crop) == (math.floor(224 / 0.95), 224)
    assert preprocess.interpolation == "bicubic"
    assert preprocess.mean == (0.485, 0.456, 0.406)


def test_the_preprocessing_is_that_of_timms_transform(timm: Any) -> None:
    """Of all weights that timm has: its transform's own numbers, or a refusal."""
    refused = []
    names = timm.list_pretrained()
    for name in names:
        model = SimpleNamespace(pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
        config = timm.data.resolve_model_data_config(model)
        transform = timm.data.create_transform(**config, is_training=False)
        kinds = [type(step).__name__ for step in transform.transforms]
        try:
            preprocess = ours.preprocess_of(model, name)
        except ModelError:
            refused.append(name)
            continue
        assert kinds == ["Resize", "CenterCrop", "MaybeToTensor", "Normalize"], name
        resize, crop, _, normalize = transform.transforms
        assert (preprocess.resize, (preprocess.crop,) * 2) == (resize.size, tuple(crop.size)), name
        assert preprocess.interpolation == resize.interpolation.value, name
        assert preprocess.mean == pytest.approx(normalize.mean.tolist()), name
        assert preprocess.std == pytest.approx(normalize.std.tolist()), name
    assert len(names) > 1000
    assert 0 < len(refused) < len(names) / 5


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"input_size": (1, 224, 224)}, "images of 1 channel, which"),
        ({"input_size": (3, 192, 224)}, "images of 224 x 192 pixels, not a square, which"),
        ({"crop_mode": "squash"}, "the crop mode 'squash', which"),
        ({"crop_mode": "border"}, "the crop mode 'border', which"),
        ({"interpolation": "lanczos"}, "the interpolation 'lanczos', which"),
        ({"crop_pct": 1.15}, "a crop of 224 pixels from images resized to 194, which"),
    ],
)
def test_what_cannot_be_expressed_is_refused(timm: Any, change: Any, text: str) -> None:
    config = timm.models.get_pretrained_cfg("resnet50.a1_in1k").to_dict()
    with pytest.raises(ModelError) as caught:
        ours.preprocess_of(SimpleNamespace(pretrained_cfg={**config, **change}), "timm:resnet50")
    assert f"The model timm:resnet50 is evaluated with {text} fastbench's" in str(caught.value)


@pytest.mark.parametrize("num_classes", [1000, 7])
def test_a_local_file(timm: Any, tmp_path: Path, num_classes: int) -> None:
    torch.manual_seed(4)
    state = timm.create_model("test_resnet", num_classes=num_classes).state_dict()
    torch.save({"state_dict": state}, tmp_path / "mine.pth")
    model = load_model(NAME, str(tmp_path / "mine.pth"))
    assert model.classes.num_classes == num_classes
    assert model.classes.is_imagenet == (num_classes == 1000)
    assert model.weights == "mine.pth"
    loaded = model.module.state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in state.items())
    with pytest.raises(WeightsError, match=r"do not fit the model timm:test_vit"):
        load_model("timm:test_vit", str(tmp_path / "mine.pth"))


def test_a_local_file_that_states_its_preprocessing(timm: Any, tmp_path: Path) -> None:
    metadata = {"classes": '["x", "y"]', "preprocess": json.dumps(STATED)}
    state = timm.create_model("test_resnet", num_classes=2).state_dict()
    save_file(state, tmp_path / "mine.safetensors", metadata)
    model = load_model(NAME, str(tmp_path / "mine.safetensors"))
    assert (model.preprocess.crop, model.preprocess_source) == (80, "mine.safetensors")
    assert model.classes.names == ("x", "y")


def test_without_a_network(timm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        load_model(NAME)
    text = str(caught.value)
    assert text.startswith(f"The weights of {NAME} cannot be had (")
    assert "name it with --weights FILE, or use --weights none." in text
    assert "\n" not in text


def test_weights_that_are_no_file(timm: Any) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_model("timm:resnet50", "a1_in1k")
    assert "such as --model timm:resnet50.a1_in1k." in str(caught.value)


def test_models_without_classes_or_weights(timm: Any) -> None:
    with pytest.raises(ModelError, match="has no classes: it makes features"):
        load_model("timm:vit_small_patch14_dinov2.lvd142m", "none")
    is_pretrained = timm.models.is_model_pretrained
    untrained = next(name for name in timm.list_models("*vit*") if not is_pretrained(name))
    with pytest.raises(WeightsError, match=f"has no weights for timm:{untrained}. Use --weights n"):
        load_model(f"timm:{untrained}")
