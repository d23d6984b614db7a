"""What an AOTInductor package takes, by what its runtime says of blank images."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.models import said

from fastbench.core.errors import ModelError
from fastbench.models.aot_package import read_package
from fastbench.models.registry import load_model

Size = int | tuple[int, int | None]


class Package:
    """Checks its images as a compiled package does, in its words, and gives two logits.

    Each size is a number, or the least and the most.
    """

    def __init__(self, *shape: Size, is_channels_last: bool = False, dtype: str = "float32"):
        self.shape = shape
        self.order = torch.channels_last if is_channels_last else torch.contiguous_format
        self.dtype = getattr(torch, dtype)
        self.num_run = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert os.environ["AOTI_RUNTIME_CHECK_INPUTS"] == "1"
        at = "input_handles[0]: "
        if images.dtype != self.dtype:
            raise RuntimeError(f"{at}unmatched dtype, expected: 5(at::kHalf), but got: 6\n")
        for i, (wanted, size) in enumerate(zip(self.shape, images.shape, strict=True)):
            least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            if least == most != size:
                raise RuntimeError(
                    f"{at}unmatched dim value at {i}, expected: {least}, but got: {size}\n"
                )
            if size < least:
                raise RuntimeError(
                    f"{at}dim value is too small at {i}, expected it to be >= {least}, but got: "
                    f"{size}\n"
                )
            if most is not None and size > most:
                raise RuntimeError(
                    f"{at}dim value is too large at {i}, expected to be <= {most}, but got: {size}"
                )
        strides = torch.empty(images.shape, device="meta").contiguous(memory_format=self.order)
        for i, (wanted, stride) in enumerate(zip(strides.stride(), images.stride(), strict=True)):
            if wanted != stride:
                raise RuntimeError(
                    f"{at}unmatched stride value at {i}, expected: {wanted}, but got: {stride}\n"
                )
        self.num_run += 1
        return torch.zeros(len(images), 2)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def write(*shape: Size, metadata: dict[str, Any] | None = None, **options: Any) -> Path:
        path = tmp_path / "net.pt2"
        with zipfile.ZipFile(path, "w") as archive:
            name = "net/data/aotinductor/model/code.wrapper_metadata.json"
            archive.writestr(name, json.dumps({"AOTI_DEVICE_KEY": "cpu", **(metadata or {})}))
        fake = Package(*shape, **options)
        monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda _: fake)
        return path

    return write


@pytest.mark.parametrize("is_channels_last", [True, False])
@pytest.mark.parametrize(
    ("shape", "its_shape", "batches"),
    [
        ((4, 3, 48, 48), (4, 3, 48, 48), (4, 4)),
        ((1, 3, 224, 224), (1, 3, 224, 224), (1, 1)),
        ((5, 3, 229, 229), (5, 3, 229, 229), (5, 5)),
        (((2, 16), 3, 48, 48), (None, 3, 48, 48), (2, 16)),
        (((2, None), 3, 48, 48), (None, 3, 48, 48), None),
        (((1, 64), 3, (32, 512), (32, 512)), (None, 3, None, None), (1, 64)),
        ((4, 3, (256, 512), (256, 512)), (4, 3, None, None), (4, 4)),
        ((4, 1, 28, 28), (4, 1, 28, 28), (4, 4)),
    ],
)
def test_shapes_and_orders(
    shape: Any, its_shape: Any, batches: Any, is_channels_last: bool, package: Any
) -> None:
    found = read_package(package(*shape, is_channels_last=is_channels_last))
    assert (found.shape, found.batches) == (its_shape, batches)
    if shape[1] > 1:  # of one channel both orders are the same
        assert found.is_channels_last is is_channels_last
    assert found.logits[1] == 2
    assert "AOTI_RUNTIME_CHECK_INPUTS" not in os.environ


def test_it_is_a_model(package: Any) -> None:
    metadata = {"fastbench.classes": '["cat", "dog"]', "fastbench.preprocess": '{"mean": 0.5}'}
    model = load_model(str(package((2, 16), 3, 48, 48, metadata=metadata)))
    assert (model.format, model.batch_sizes, model.fixed_size) == ("AOTInductor", (2, 16), 48)
    assert (model.preprocess.crop, model.preprocess.mean) == (48, (0.5,) * 3)
    assert model.classes.names == ("cat", "dog")
    assert "takes images with 1 channels" in said(load_model, str(package(4, 1, 48, 48)))
    assert "images of 32 x 48 pixels" in said(load_model, str(package(4, 3, 48, 32)))


def test_what_it_cannot_be(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError) as caught:
        read_package(package(4, 3, 48, 48, dtype="float16"))
    assert str(caught.value) == (
        "The AOTInductor package net.pt2 takes images in another dtype than float32. "
        "Compile it for float32 images."
    )
    path = package(4, 3, 48, 48, metadata={"AOTI_DEVICE_KEY": "cuda"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "is made for cuda, and there is none" in said(read_package, path)

    def fail(_: str) -> None:
        raise RuntimeError("no such symbol\nin the code")

    monkeypatch.setattr(torch._inductor, "aoti_load_package", fail)
    path = package(4, 3, 48, 48)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", fail)
    assert said(load_model, str(path)) == (
        f"The AOTInductor file {path} cannot be read (RuntimeError: no such symbol). "
        f"Export it again."
    )
    assert "AOTI_RUNTIME_CHECK_INPUTS" not in os.environ
