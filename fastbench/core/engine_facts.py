"""What is known of the built-in engines without importing one.

It stands in the lowest package because options and records need it. What an engine says of itself
is in `engines/base.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNNAMED: Final = "auto"
"""`--engine` where the model decides: a file's own engine, else eager."""
EAGER: Final = "eager"
COMPILE: Final = "compile"

ONNX: Final = "ONNX"
OPENVINO_IR: Final = "OpenVINO IR"
AOTINDUCTOR: Final = "AOTInductor"


@dataclass(frozen=True, kw_only=True)
class BuiltInEngine:
    """Where an engine is, what it does, and what it takes.

    `formats` are the files of models that it runs, besides a torch module; the first engine of a
    format is what a file of it is run by. `quantizes` are the values of `--quantize` that it has,
    `dtypes` those of `--dtype` on a CPU, `options` its own. One of `packages` must be installed,
    which the extra of that name does; `install` is the sentence where it is no extra.
    """

    target: str
    summary: str
    formats: tuple[str, ...] = ()
    quantizes: tuple[str, ...] = ()
    cpu_dtypes: tuple[str, ...] = ("float32", "float16", "bfloat16")
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    extra: str | None = None
    install: str | None = None
    needs_gpu: bool = False


BUILT_IN: Final = {
    EAGER: BuiltInEngine(
        target="fastbench.engines.torch_engines:Eager",
        summary="PyTorch, operation by operation: the reference of every other engine",
    ),
    COMPILE: BuiltInEngine(
        target="fastbench.engines.torch_engines:Compile",
        summary="torch.compile, with --compile-mode",
        quantizes=("int8", "fp8"),
        options=("backend",),
    ),
    "aot": BuiltInEngine(
        target="fastbench.engines.aot:Aot",
        summary="AOTInductor: compiled ahead of time into a package, run without Python",
        formats=(AOTINDUCTOR,),
    ),
    "onnxruntime": BuiltInEngine(
        target="fastbench.engines.onnxruntime:OnnxRuntime",
        summary="ONNX Runtime, on the CPU or by its CUDA or TensorRT provider",
        formats=(ONNX,),
        quantizes=("int8",),
        cpu_dtypes=("float32",),
        options=("provider", "opset"),
        packages=("onnxruntime", "onnxruntime-gpu"),
        modules=("onnxruntime", "onnx", "onnxscript"),
        extra="onnxruntime",
    ),
    "openvino": BuiltInEngine(
        target="fastbench.engines.openvino:OpenVino",
        summary="Intel's OpenVINO, on the CPU",
        formats=(OPENVINO_IR, ONNX),
        quantizes=("int8",),
        options=("hint",),
        packages=("openvino",),
        modules=("openvino", "nncf"),
        extra="openvino",
    ),
    "tensorrt": BuiltInEngine(
        target="fastbench.engines.tensorrt:TensorRt",
        summary="NVIDIA TensorRT, through Torch-TensorRT",
        packages=("torch-tensorrt",),
        modules=("torch_tensorrt",),
        install="pip install torch-tensorrt, in the version that is made for this torch",
        needs_gpu=True,
    ),
}

QUANTIZED_BY: Final = {
    number_format: tuple(name for name, it in BUILT_IN.items() if number_format in it.quantizes)
    for number_format in ("int8", "fp8")
}
"""The engines that have a value of `--quantize`."""


def engine_of_format(format: str) -> str:  # noqa: A002 - it is the field's word
    """The engine that a file of this format is run by where none is named."""
    return min(
        (it.formats.index(format), name) for name, it in BUILT_IN.items() if format in it.formats
    )[1]
