"""A model's input as options ask for it: sizes, what follows from them, and what is refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.models import STATED, Net, said, write_export, write_script

from fastbench.core.config import RunConfig
from fastbench.core.errors import UsageError
from fastbench.loaders.base import IMAGENET, Preprocess
from fastbench.models import held
from fastbench.models import torchvision as torchvisions
from fastbench.models.base import LoadedModel, Model, num_outputs, with_input
from fastbench.models.cost import count_cost
from fastbench.models.input_size import AS_STATED, AskedInput
from fastbench.models.registry import load_model

V2 = dataclasses.replace(IMAGENET, resize=232)
"""As torchvision's newer weights."""


def at(size: int) -> AskedInput:
    return AskedInput(image_size=size)


@pytest.mark.parametrize(
    ("own", "asked", "resize", "crop"),
    [
        (IMAGENET, {}, 256, 224),
        (IMAGENET, {"image_size": 224}, 256, 224),
        (IMAGENET, {"image_size": 160}, 182, 160),  # 182.86
        (IMAGENET, {"image_size": 288}, 329, 288),  # 329.14
        (V2, {"image_size": 160}, 165, 160),  # 165.71
        (IMAGENET, {"crop_pct": 0.875}, 256, 224),
        (IMAGENET, {"crop_pct": 0.95}, 235, 224),  # 235.79, and 235 in timm
        (IMAGENET, {"crop_pct": 1.0}, 224, 224),
        (IMAGENET, {"image_size": 160, "crop_pct": 0.8}, 200, 160),
        (IMAGENET, {"fields": {"crop": 200}}, 256, 200),
        (IMAGENET, {"fields": {"resize": 300}}, 300, 224),
        (IMAGENET, {"image_size": 160, "fields": {"resize": 160}}, 160, 160),
        (IMAGENET, {"crop_pct": 0.5, "fields": {"crop": 100}}, 200, 100),
    ],
)
def test_resize_and_crop(own: Preprocess, asked: dict[str, Any], resize: int, crop: int) -> None:
    new = AskedInput(**asked).change(own)
    assert new == dataclasses.replace(own, resize=resize, crop=crop)


def test_a_ratio_of_two_decimals_is_exact_where_it_can_be() -> None:
    """No floating-point error takes a pixel away."""
    for hundredths in range(1, 101):
        for size in range(hundredths, 400, hundredths):
            new = AskedInput(image_size=size, crop_pct=hundredths / 100).change(IMAGENET)
            assert new.resize == size // hundredths * 100


def test_what_options_ask_for() -> None:
    config = RunConfig(image_size=160, crop_pct=0.9, preprocess=("mean=0.5", "antialias=false"))
    assert AskedInput.of(config) == AskedInput(
        image_size=160, crop_pct=0.9, fields={"mean": (0.5,) * 3, "antialias": False}
    )
    assert AskedInput.of(RunConfig()) == AS_STATED


def test_a_crop_that_is_larger_than_the_images_resized() -> None:
    with pytest.raises(UsageError) as caught:
        AskedInput(fields={"crop": 300}).change(IMAGENET)
    assert str(caught.value) == (
        "--preprocess gives a crop of 300 pixels from images resized to 256. Give both crop and "
        "resize, or --image-size, which keeps their ratio."
    )


def test_the_record_says_what_was_changed_by_which_option() -> None:
    model = load_model("resnet18", "none")
    asked = AskedInput(image_size=160, crop_pct=0.8, fields={"std": (0.5,) * 3})
    changed = load_model("resnet18", "none", asked=asked)
    assert changed.preprocess_source == (
        f"{model.preprocess_source}; crop 160 by --image-size 160; resize 200 by --crop-pct 0.8; "
        f"std 0.5, 0.5, 0.5 by --preprocess"
    )
    assert load_model("resnet18", "none", asked=at(160)).preprocess_source == (
        f"{model.preprocess_source}; crop 160 and resize 182 by --image-size 160"
    )
    # Its own size changes nothing.
    assert load_model("resnet18", "none", asked=at(224)).preprocess_source == (
        model.preprocess_source
    )


def test_what_is_published_holds_for_the_publishers_preprocessing() -> None:
    model = dataclasses.replace(load_model("sample"), published=(0.7, 0.9))
    assert with_input(model, AS_STATED).published == (0.7, 0.9)
    assert with_input(model, at(model.preprocess.crop)).published == (0.7, 0.9)
    assert with_input(model, at(160)).published is None
    assert with_input(model, AskedInput(crop_pct=1.0)).published is None


def test_the_trial_leaves_the_weights_as_they_are() -> None:
    """torchvision's models come in training mode, in which a batch norm counts what it sees."""
    before, after = (
        load_model("sample", asked=asked).module.state_dict() for asked in (AS_STATED, at(96))
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_work_is_counted_at_the_size() -> None:
    small, own = (count_cost(load_model("resnet18", "none", asked=at(x))) for x in (96, 192))
    assert own.num_macs is not None
    assert small.num_macs is not None
    assert 3.9 < own.num_macs / small.num_macs < 4.0  # the last matrix is the same
    assert small.num_parameters == own.num_parameters


# Refused by name


def test_a_vision_transformer_of_torchvision() -> None:
    assert said(load_model, "vit_b_16", "none", asked=at(160)) == (
        "The model vit_b_16 is made for images of 224 x 224 pixels, and fails on 160 x 160 "
        "(AssertionError: Wrong image height! Expected 224 but got 160!). Leave out --image-size."
    )


def test_a_size_that_the_strides_do_not_take() -> None:
    text = said(load_model, "inception_v3", "none", asked=at(32))
    assert text.startswith(
        "The model inception_v3 is made for images of 299 x 299 pixels, and fails on 32 x 32 ("
    )
    assert text.endswith("). Leave out --image-size.")


def test_a_size_by_preprocess_is_named_so() -> None:
    asked = AskedInput(fields={"crop": 32})
    text = said(load_model, "inception_v3", "none", asked=asked)
    assert text.endswith("). Leave out --preprocess crop.")


# Files


def test_an_export_of_one_size(tmp_path: Path) -> None:
    path = write_export(tmp_path / "net.pt2", batch=4)
    assert load_model(str(path)).fixed_size == 48
    assert load_model(str(path), asked=at(48)).preprocess.resize == 54
    assert said(load_model, str(path), asked=at(96)) == (
        "The model net.pt2 was exported for images of 48 x 48 pixels, and not for 96 x 96. "
        "Leave out --image-size, or export it with a dynamic height and width (torch.export.Dim)."
    )
    # What it states nothing of can be said.
    asked = AskedInput(crop_pct=1.0, fields={"mean": (0.5,) * 3, "interpolation": "bicubic"})
    model = load_model(str(path), asked=asked)
    assert model.preprocess == dataclasses.replace(
        IMAGENET, resize=48, crop=48, mean=(0.5,) * 3, interpolation="bicubic"
    )
    assert model.preprocess_source == (
        "none stated: the usual for ImageNet (resize 54, crop 48); resize 48 by --crop-pct 1; "
        "interpolation bicubic and mean 0.5, 0.5, 0.5 by --preprocess"
    )


def test_an_export_of_any_size(tmp_path: Path) -> None:
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    sides = {2: torch.export.Dim("height", min=8), 3: torch.export.Dim("width", min=8)}
    program = torch.export.export(Mean(), (torch.randn(2, 3, 48, 48),), dynamic_shapes=(sides,))
    torch.export.save(program, tmp_path / "any.pt2")
    model = load_model(str(tmp_path / "any.pt2"), asked=at(96))
    assert (model.fixed_size, model.preprocess.resize, model.preprocess.crop) == (None, 109, 96)


class Patches(torch.nn.Module):
    """As a vision transformer: it has an embedding for each patch of one size of image."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 16, stride=16)
        self.head = torch.nn.Linear(4 * (size // 16) ** 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).flatten(1))


def test_a_file_without_a_size_is_tried_at_the_one_that_is_asked_for(tmp_path: Path) -> None:
    """By itself it is taken for one of 224 pixels, which this one is not."""
    path = write_script(tmp_path / "net.pt", Patches(160))
    assert "failed on 1 blank image of 224 x 224 pixels" in said(load_model, str(path))
    model = load_model(str(path), asked=at(160))
    assert (model.preprocess.resize, model.preprocess.crop) == (182, 160)
    assert model.classes.num_classes == 3
    assert load_model(str(path), asked=AskedInput(fields={"crop": 160})).preprocess.crop == 160
    assert "is made for images of 224 x 224 pixels, and fails on 96 x 96 (" in said(
        load_model, str(path), asked=at(96)
    )


def test_an_object_of_the_caller_is_tried_at_the_size_too() -> None:
    own = Preprocess(**{**STATED, "mean": (0.4,) * 3, "std": (0.3,) * 3})  # type: ignore[arg-type]
    with held.named([{"mine": Model(module=Patches(160), preprocess=own)}]) as (name,):
        assert "of 80 x 80 pixels" in said(load_model, name)
        model = load_model(name, asked=at(160))
    assert (model.preprocess.resize, model.preprocess.crop) == (192, 160)
    assert model.preprocess.mean == own.mean


def test_weights_that_state_their_size(tmp_path: Path, checkpoint: Callable[..., Path]) -> None:
    path = checkpoint(tmp_path / "net.safetensors")
    model = torchvisions.load_model("resnet18", str(path))
    changed = with_input(model, at(160))
    assert (model.preprocess.crop, changed.preprocess.crop) == (80, 160)
    assert changed.preprocess_source.startswith("net.safetensors; crop 160 and resize 192 by ")


@pytest.fixture
def checkpoint() -> Callable[..., Path]:
    def write(path: Path) -> Path:
        import json

        import torchvision
        from safetensors.torch import save_file

        module = torchvision.models.resnet18(num_classes=3)
        save_file(module.state_dict(), path, metadata={"preprocess": json.dumps(STATED)})
        return path

    return write


# timm


def test_timm_makes_a_model_of_one_size_one_for_another() -> None:
    pytest.importorskip("timm")
    own = load_model("timm:test_vit", "none")
    model = load_model("timm:test_vit", "none", asked=at(96))
    assert (own.preprocess.crop, model.preprocess.crop) == (160, 96)
    assert model.notes == (
        "it is made for images of 160 x 160 pixels, and timm's set_input_size has made it one for "
        "96 x 96",
    )
    assert num_outputs(model.module, model.name, 96) == 1000
    assert own.module.pos_embed.shape[1] == 101  # 10 x 10 patches, and one for the class
    assert model.module.pos_embed.shape[1] == 37
    assert own.notes == load_model("timm:test_vit", "none", asked=at(160)).notes == ()


def test_timms_models_of_any_size_and_of_one() -> None:
    pytest.importorskip("timm")
    model = load_model("timm:test_resnet", "none", asked=at(96))
    assert (model.preprocess.crop, model.notes) == (96, ())
    text = said(load_model, "timm:mixer_s32_224", "none", asked=at(160))
    assert text.startswith(
        "The model timm:mixer_s32_224 is made for images of 224 x 224 pixels, and fails on 160 x"
    )


def test_every_part_of_a_model_stays(tmp_path: Path) -> None:
    path = write_script(tmp_path / "net.pt", Net())
    own, changed = load_model(str(path)), load_model(str(path), asked=at(96))
    same = {field.name for field in dataclasses.fields(LoadedModel)} - {
        "module", "preprocess", "preprocess_source", "published",
    }  # fmt: skip
    assert all(getattr(own, name) == getattr(changed, name) for name in same)
