"""Does the embedded model know its classes, and does it notice wrong preprocessing?

The model is built from torchvision and the file alone, and the preprocessing is spelt out here,
so that no mistake in another module can hide one in the file.
"""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision import models
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms
from torchvision.transforms._presets import ImageClassification

import fastbench.models
from fastbench.data.sample.drawing import CLASS_NAMES, SAMPLE_VERSION, draw_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = Path(fastbench.models.__path__[0]) / "sample.safetensors"
NUM_IMAGES = 192
NUM_COMPARED = 96
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess(
    image: Image.Image, *, antialias: bool = True, shift: int = 0, swap: bool = False
) -> torch.Tensor:
    """The reference with one thing wrong -> (3, 224, 224) float32."""
    # Pillow always antialiases, so both kinds go through torchvision's tensor resize.
    pixels = transforms.resize(
        transforms.pil_to_tensor(image), [256], InterpolationMode.BILINEAR, antialias=antialias
    )
    top, left = (round((side - 224) / 2) + shift for side in pixels.shape[1:])
    pixels = pixels[:, top : top + 224, left : left + 224]
    if swap:
        pixels = pixels.flip(0)
    return transforms.normalize(pixels.float() / 255, MEAN, STD)


class Bench:
    """The model, the images and the reference predictions, made once."""

    def __init__(self) -> None:
        drawn = [draw_image("val", index) for index in range(NUM_IMAGES)]
        self.images = [Image.open(io.BytesIO(data)).convert("RGB") for data, _ in drawn]
        self.labels = torch.tensor([label for _, label in drawn])
        self.model = models.get_model(metadata()["architecture"], num_classes=len(CLASS_NAMES))
        self.model.load_state_dict(load_file(FILE))
        self.model.eval()
        preset = ImageClassification(
            crop_size=224,
            resize_size=256,
            interpolation=InterpolationMode.BILINEAR,
            antialias=True,
        )
        self.reference = self.predict(preset)

    @torch.inference_mode()
    def predict(
        self, prepare: Callable[[Image.Image], torch.Tensor], count: int = NUM_IMAGES
    ) -> torch.Tensor:
        inputs = torch.stack([prepare(image) for image in self.images[:count]])
        return torch.cat([self.model(part).argmax(1) for part in inputs.split(32)])

    def agreement(self, prepare: Callable[[Image.Image], torch.Tensor]) -> float:
        predicted = self.predict(prepare, NUM_COMPARED)
        return float((predicted == self.reference[:NUM_COMPARED]).float().mean())


def metadata() -> dict[str, str]:
    with safe_open(FILE, "pt") as file:
        return dict(file.metadata())


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    # Threads that wait for each other on a busy machine take ten times as long as one alone.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Bench()
    torch.set_num_threads(threads)


def test_the_file_is_small_and_says_what_it_is() -> None:
    assert FILE.stat().st_size <= 3 * 2**20
    said = metadata()
    assert json.loads(said["classes"]) == list(CLASS_NAMES)
    assert said["num_classes"] == "24"
    assert said["sample_version"] == str(SAMPLE_VERSION), "the drawing changed: train again"
    assert said["made_by"].startswith("python tools/train_sample_model.py")
    assert json.loads(said["preprocess"]) == {
        "resize": 256,
        "crop": 224,
        "interpolation": "bilinear",
        "antialias": True,
        "mean": list(MEAN),
        "std": list(STD),
    }
    accuracy = json.loads(said["accuracy"])
    assert set(accuracy) == {"top1_correct", "top5_correct", "num_samples"}
    assert accuracy["num_samples"] == 1000
    assert 850 <= accuracy["top1_correct"] <= 970 <= accuracy["top5_correct"]


def test_weights_are_float32() -> None:
    tensors = load_file(FILE)
    kinds = {tensor.dtype for name, tensor in tensors.items() if "num_batches" not in name}
    assert kinds == {torch.float32}


def test_it_knows_most_but_not_all(bench: Bench) -> None:
    accuracy = float((bench.reference == bench.labels).float().mean())
    assert 0.80 <= accuracy <= 0.99, f"top-1 {accuracy:.1%} of {NUM_IMAGES}"


def test_wrong_preprocessing_is_noticed(bench: Bench) -> None:
    right = bench.agreement(preprocess)
    figures = {
        "right": right,
        "channels swapped": bench.agreement(partial(preprocess, swap=True)),
        "not antialiased": bench.agreement(partial(preprocess, antialias=False)),
        "crop shifted by 4": bench.agreement(partial(preprocess, shift=4)),
    }
    text = ", ".join(f"{name} {share:.1%}" for name, share in figures.items())
    assert right >= 0.97, text
    assert figures["channels swapped"] < 0.90, text
    assert figures["not antialiased"] < min(0.98, right), text
    assert figures["crop shifted by 4"] < min(0.99, right), text
