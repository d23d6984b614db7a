"""--preprocess, --image-size and --crop-pct: how they are read, and what contradicts."""

from typing import Any

import pytest

from fastbench.core.config import OPTIONS, RunConfig
from fastbench.core.errors import UsageError
from fastbench.core.other_side import other_side
from fastbench.core.preprocess_option import parse_preprocess


def test_each_field_has_its_type() -> None:
    texts = [
        "mean=0.5", "std=0.1,0.2,0.3", "interpolation=bicubic", "resize=96", "crop=80",
        "antialias=false",
    ]  # fmt: skip
    assert parse_preprocess(texts) == {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.1, 0.2, 0.3),
        "interpolation": "bicubic",
        "resize": 96,
        "crop": 80,
        "antialias": False,
    }
    assert parse_preprocess([]) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("menn=0.5", r"is 'menn=0.5'\. Did you mean 'mean'\? Write KEY=VALUE, where KEY is mean,"),
        ("0.5", "Write KEY=VALUE"),
        ("mean", "Write KEY=VALUE"),
        ("mean=", "Give mean one number, or three with commas"),
        ("mean=0.5,0.5", "Give mean one number, or three with commas"),
        ("mean=nan", "Give mean one number"),
        ("std=0", "Give std one number above 0"),
        ("std=0.2,-1,0.2", "Give std one number above 0"),
        ("interpolation=lanczos", "Give interpolation bilinear or bicubic"),
        ("resize=0", "Give resize a whole number of at least 1"),
        ("crop=1.5", "Give crop a whole number of at least 1"),
        ("antialias=yes", "Give antialias true or false"),
    ],
)
def test_what_a_field_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        RunConfig(preprocess=(text,))
    assert str(caught.value).startswith(f"--preprocess is {text!r}.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"image_size": 160, "preprocess": ("crop=160",)},
            "--image-size 160 and --preprocess crop=160 both set the crop. Leave out one of them.",
        ),
        (
            {"crop_pct": 0.9, "preprocess": ("resize=200",)},
            "--crop-pct 0.9 and --preprocess resize=200 both set the resize. Leave out one",
        ),
        (
            {"image_size": 300, "preprocess": ("resize=256",)},
            "--image-size 300 cannot be cut out of images resized to 256. Give --preprocess resize",
        ),
        ({"preprocess": ("crop=300", "resize=256")}, "cuts 300 pixels out of images resized to"),
        ({"preprocess": ("mean=0.5", "mean=0.4")}, "--preprocess sets mean twice. Give it one"),
        ({"crop_pct": 1.2}, "--crop-pct is 1.2. Give a number above 0 and at most 1"),
        ({"crop_pct": 0.0}, "--crop-pct is 0.0. Give a number above 0"),
        ({"image_size": 0}, "--image-size is 0. Give a whole number of at least 1"),
    ],
)  # fmt: skip
def test_what_contradicts(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        RunConfig(**options)
    assert said in str(caught.value)


def test_what_goes_together() -> None:
    RunConfig(image_size=160, crop_pct=1.0, preprocess=("mean=0.5", "std=0.5"))
    RunConfig(image_size=160, preprocess=("resize=160",))
    RunConfig(crop_pct=0.5, preprocess=("crop=160",))


def test_all_of_them_change_the_pipeline() -> None:
    """So that --ab, tune and the digest of a row have them."""
    for name in ("image_size", "crop_pct", "preprocess"):
        assert OPTIONS[name].changes == "pipeline"


def test_the_second_side_keeps_the_fields_that_it_does_not_set() -> None:
    config = RunConfig(
        preprocess=("mean=0.5", "std=0.5"), ab=("preprocess=std=0.25", "image-size=160")
    )
    other = other_side(config)
    assert other.preprocess == ("mean=0.5", "std=0.25")
    assert other.image_size == 160
    assert (config.image_size, config.preprocess) == (None, ("mean=0.5", "std=0.5"))
    with pytest.raises(UsageError, match="--ab, the second side: --image-size 160 and --preproc"):
        other_side(RunConfig(preprocess=("crop=96",), ab=("image-size=160",)))
