"""Mixes of engine, file, device and number formats that cannot be, each with one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from builders.classifiers import make_classifier
from builders.models import Net
from builders.not_installed import hide
from builders.plug_ins import ENGINES, PlugIn

from fastbench.core.config import RunConfig
from fastbench.core.engine_facts import BUILT_IN
from fastbench.core.errors import (
    EngineMissingError,
    FastbenchError,
    ModelError,
    UnknownNameError,
    UsageError,
)
from fastbench.engines.mixes import Mix, check, engine_of_model, mix_of


@pytest.fixture(autouse=True)
def _all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch)


def mix(engine: str, device: str = "cpu", dtype: str = "float32", **more: Any) -> Mix:
    return Mix(engine=engine, device=device, dtype=dtype, **more)


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        (mix("onnxruntime", dtype="bfloat16"), UsageError, "The engine onnxruntime does not compute"
         " in bfloat16 on cpu. Use --dtype float32, or another --engine."),
        (mix("onnxruntime", "cuda:0", "bfloat16"), UsageError, "in bfloat16 on cuda:0. Use --dtype "
         "float32 or float16, or another --engine."),
        (mix("openvino", "cuda"), EngineMissingError, "The engine openvino does not run on a GPU of"
         " NVIDIA's. Use --device cpu, or another --engine."),
        (mix("tensorrt"), EngineMissingError, "The engine tensorrt does not run on the CPU: it is f"
         "or a GPU. Use --device cuda, or another --engine."),
        (mix("aot", quantize="int8"), UsageError, "The engine aot does not quantise to int8. Use --"
         "engine compile or onnxruntime or openvino, or --quantize none."),
        (mix("openvino", quantize="fp8"), UsageError, "The engine openvino does not quantise to fp8"
         ". Use --engine compile, or --quantize none."),
        (mix("compile", "cuda", quantize="int8"), UsageError, "The engine compile does not quantise"
         " to int8 on cuda. Use --engine onnxruntime, or another --device."),
        (mix("compile", quantize="fp8"), UsageError, "The engine compile does not quantise to fp8 o"
         "n cpu. Use --quantize int8, or another --device."),
        (mix("compile", dtype="bfloat16", quantize="int8"), UsageError, "The engine compile quantis"
         "es float32 models to int8, and this one is bfloat16. Use --dtype float32."),
        (mix("onnxruntime", "cuda", "float16", quantize="int8"), UsageError, "The engine onnxruntim"
         "e quantises float32 models to int8, and this one is float16. Use --dtype float32."),
        (mix("eager", options={"backend": 1}), UsageError, "The engine 'eager' has no option 'backe"
         "nd'. It has: none."),
        (mix("egaer"), UnknownNameError, "There is no engine 'egaer'. Did you mean 'eager'?"),
    ],
)  # fmt: skip
def test_what_is_refused(asked: Mix, kind: type[FastbenchError], said: str) -> None:
    with pytest.raises(kind) as caught:
        check(asked)
    assert said in str(caught.value)


def test_what_is_not(plug_in: PlugIn) -> None:
    plug_in("mine", ImportError("a plug-in was imported"), ENGINES)
    for engine, entry in BUILT_IN.items():
        for device, dtypes, formats in (
            ("cpu", entry.cpu_dtypes, entry.cpu_quantizes),
            ("cuda:1", entry.gpu_dtypes, entry.gpu_quantizes),
        ):
            for dtype in dtypes:
                check(mix(engine, device, dtype))
            if dtypes:
                for quantize in formats:
                    check(mix(engine, device, "float32", quantize=quantize))
    check(mix("openvino", dtype="bfloat16", quantize="int8", options={"hint": "latency"}))
    check(mix("mine", "cuda", "bfloat16", quantize="fp8", options={"any": 1}))


@pytest.mark.parametrize(
    ("lacking", "asked", "said"),
    [
        ("openvino", mix("openvino"), "The engine 'openvino' cannot run here: openvino is not insta"
         'lled; pip install "fastbench[openvino]".'),
        ("nncf", mix("openvino"), None),
        ("nncf", mix("openvino", quantize="int8"), "The engine 'openvino' cannot quantise here: nnc"
         'f is not installed; pip install "fastbench[openvino]".'),
        ("torchao", mix("compile"), None),
        ("torchao", mix("compile", quantize="int8"), "The engine 'compile' cannot quantise here: to"
         'rchao is not installed; pip install "fastbench[torchao]".'),
        ("onnxscript", mix("onnxruntime"), "The engine 'onnxruntime' cannot take a model of torch h"
         'ere: onnxscript is not installed; pip install "fastbench[onnxruntime]".'),
        ("onnxscript", mix("onnxruntime", format="ONNX"), None),
        ("onnx", mix("onnxruntime", format="ONNX"), None),
        ("onnx", mix("onnxruntime", format="ONNX", quantize="int8"), "cannot quantise here: onnx is"
         " not installed;"),
        ("torch_tensorrt", mix("tensorrt", "cuda"), "The engine 'tensorrt' cannot run here: torch_t"
         "ensorrt is not installed; pip install torch-tensorrt, in the version"),
    ],
)  # fmt: skip
def test_a_package_is_asked_for_where_it_is_needed(
    lacking: str, asked: Mix, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, lacking)
    if said is None:
        check(asked)
        return
    with pytest.raises(EngineMissingError) as caught:
        check(asked)
    assert said in str(caught.value)


def test_the_engine_of_a_file(tmp_path: Path) -> None:
    onnx, xml = str(tmp_path / "a.onnx"), str(tmp_path / "a.xml")
    assert engine_of_model("auto", "resnet18") == "eager"
    assert engine_of_model("auto", onnx) == "onnxruntime"
    assert engine_of_model("openvino", onnx) == "openvino"
    assert engine_of_model("auto", xml) == "openvino"
    with pytest.raises(
        ModelError,
        match=r"The model a\.onnx is a file of ONNX, which the engine eager does not run\. "
        r"Use --engine onnxruntime or openvino\.",
    ):
        engine_of_model("eager", onnx)
    asked = RunConfig(model=(onnx,), quantize="int8", engine_option=("onnxruntime.opset=17",))
    assert mix_of(asked, onnx, device="cpu", dtype="float32") == mix(
        "onnxruntime", format="ONNX", quantize="int8", options={"opset": 17}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("mnie.x=1", "no engine 'mnie'"), ("openvino.x=1", "'openvino' has no option 'x'")],
)
def test_options_of_engines_that_do_not_run_are_checked_too(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mix_of(RunConfig(engine_option=(text,)), "resnet18", device="cpu", dtype="float32")


def test_a_classifier_is_not_made_of_what_is_refused() -> None:
    module: torch.nn.Module = Net()
    with pytest.raises(UsageError, match="onnxruntime does not compute in bfloat16 on cpu"):
        make_classifier(module, engine="onnxruntime", dtype="bfloat16", batch_size=2, crop=48)
    with pytest.raises(UsageError, match="aot does not quantise to int8"):
        make_classifier(module, engine="aot", quantize="int8", batch_size=2, crop=48)
