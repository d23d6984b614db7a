"""Engines on a GPU give the eager model's logits, and leave images and logits on it."""

import pytest
import torch
from builders.classifiers import make_classifier

from fastbench.engines import registry
from fastbench.models.registry import load_model

pytestmark = pytest.mark.gpu
GPU = "cuda:0"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("engine", ["compile", "aot", "onnxruntime", "tensorrt"])
def test_logits_are_eagers(engine: str, dtype: str) -> None:
    listed = registry.describe(engine)
    if listed.why_not is not None or listed.lacks:
        pytest.skip(listed.why_not or listed.lacks[0])
    model = load_model("sample")
    how = {"device": GPU, "dtype": dtype, "batch_size": 4, "crop": model.preprocess.crop}
    images_NCHW = torch.randn(4, 3, model.preprocess.crop, model.preprocess.crop, device=GPU)
    images_NCHW = images_NCHW.to(getattr(torch, dtype)).contiguous(
        memory_format=torch.channels_last
    )
    eager = make_classifier(model, **how)
    other = make_classifier(model, engine=engine, **how)
    expected, found = eager(images_NCHW).clone(), other(images_NCHW).clone()
    assert (found.device, found.dtype) == (expected.device, expected.dtype)
    tolerance = 1e-3 if dtype == "float32" else 5e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    again = other(images_NCHW[:3])[:3]
    torch.testing.assert_close(again, expected[:3], rtol=tolerance, atol=tolerance)
    other.close()
