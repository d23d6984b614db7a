"""INT8: near the float32 model, a quarter of its size, by each engine that has it."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.classifiers import make_classifier
from builders.models import said

from fastbench.core.engine_facts import BUILT_IN
from fastbench.engines.classifier import Classifier

NUM_CLASSES = 8
SIZE = 32
BATCH = 8


class Wide(torch.nn.Sequential):
    """Convolutions and a matrix of 8-bit size: what is not weights is small beside them."""

    def __init__(self) -> None:
        super().__init__(
            torch.nn.Conv2d(3, 32, 3, stride=2),
            torch.nn.BatchNorm2d(32),
            torch.nn.ReLU(),
            torch.nn.Conv2d(32, 64, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(1024, 256),
            torch.nn.ReLU(),
            torch.nn.Linear(256, NUM_CLASSES),
        )


def patches(num: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of eight kinds, by colour and direction of their stripes, and their labels."""
    make = torch.Generator().manual_seed(seed)
    labels = torch.randint(NUM_CLASSES, (num,), generator=make)
    wave = torch.sin(torch.arange(SIZE) * 0.7 + 6 * torch.rand(num, 1, generator=make))
    rows, columns = wave[:, :, None].expand(-1, -1, SIZE), wave[:, None, :].expand(-1, SIZE, -1)
    stripes = torch.where((labels % 2 == 0)[:, None, None], rows, columns)
    tint = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])[labels // 2]
    images = stripes[:, None] * tint[:, :, None, None]
    images = images + torch.randn(images.shape, generator=make) * 0.3
    return images.contiguous(memory_format=torch.channels_last), labels


@functools.cache
def trained() -> Wide:
    """A net that knows them: its last matrix is fitted to what random ones make of them."""
    torch.manual_seed(1)
    net = Wide().eval().requires_grad_(False)
    images_NCHW, labels = patches(512, 0)
    features = torch.nn.Sequential(*[*net][:-1])(images_NCHW)
    features = torch.cat([features, torch.ones(len(features), 1)], 1)
    wanted = 10 * torch.nn.functional.one_hot(labels, NUM_CLASSES).float()
    square = features.T @ features + 0.01 * torch.eye(features.shape[1])
    fitted = torch.linalg.solve(square, features.T @ wanted).T
    net[-1].weight.copy_(fitted[:, :-1])
    net[-1].bias.copy_(fitted[:, -1])
    return net


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def quantized(engine: str, cache: Path, **more: Any) -> Classifier:
    for module in BUILT_IN[engine].modules:
        pytest.importorskip(module)
    batches = tuple(patches(BATCH, 100 + i)[0] for i in range(4))
    return make_classifier(
        trained(), engine=engine, batch_size=BATCH, crop=SIZE, cache=cache, num_threads=1,
        **{"quantize": "int8", "calibration": batches, **more},
    )  # fmt: skip


def num_bytes() -> int:
    return 4 * sum(parameter.numel() for parameter in trained().parameters())


def test_the_net_knows_its_images() -> None:
    images_NCHW, labels = patches(200, 999)
    assert (trained()(images_NCHW).argmax(1) == labels).float().mean() > 0.95


def check(classifier: Classifier) -> None:
    images_NCHW, _ = patches(200, 999)
    logits_NC = torch.cat([classifier(x)[: len(x)].clone() for x in images_NCHW.split(BATCH)])
    expected_NC = trained()(images_NCHW)
    assert (logits_NC.argmax(1) == expected_NC.argmax(1)).float().mean() > 0.97
    error = (logits_NC - expected_NC).abs().mean() / expected_NC.std()
    assert 1e-4 < error < 0.05  # it is quantised, and not much off


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_int8_is_near_and_a_quarter_as_large(engine: str, cache: Path, tmp_path: Path) -> None:
    classifier = quantized(engine, cache)
    check(classifier)
    size = classifier.traits.weights_bytes
    assert size is not None
    assert num_bytes() / 4 <= size < num_bytes() / 3
    assert list(classifier.traits.setup_s)[:2] == ["export", "quantize"]
    classifier.close()


def test_the_float32_file_is_not_changed(cache: Path) -> None:
    plain = quantized("onnxruntime", cache, quantize="none", calibration=())
    (path,) = [x for x in cache.iterdir() if x.stat().st_size == plain.traits.weights_bytes]
    before = path.read_bytes()
    quantized("onnxruntime", cache)
    assert path.read_bytes() == before


def test_nothing_is_printed(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for engine in ("onnxruntime", "openvino"):
        quantized(engine, cache)
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_without_images_it_says_so(engine: str, cache: Path) -> None:
    text = said(quantized, engine, cache, calibration=())
    assert "cannot quantise the model model" in text


def test_int8_of_torch_compile(cache: Path) -> None:
    """The one compilation of C++ here; takes 10 s and more."""
    pytest.importorskip("torchao")
    check(quantized("compile", cache))


def test_compile_refuses_other_formats(cache: Path) -> None:
    pytest.importorskip("torchao")
    assert said(quantized, "compile", cache, dtype="bfloat16") == (
        "The engine compile quantises float32 models to int8, and this one is bfloat16. "
        "Use --dtype float32."
    )
    assert said(quantized, "compile", cache, quantize="fp8") == (
        "The engine compile does not quantise to fp8 on cpu. "
        "Use --quantize int8, or another --device."
    )
