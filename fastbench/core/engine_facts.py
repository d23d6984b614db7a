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


_EVERY_DTYPE: Final = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class BuiltInEngine:
    """Where an engine is, what it does, and what it takes.

    `formats` are the files of models that it runs, besides a torch module; the first engine of a
    format is what a file of it is run by. `cpu_dtypes` and `gpu_dtypes` are the values of `--dtype`
    that it computes in there, none where it does not run; `cpu_quantizes` and `gpu_quantizes` those
    of `--quantize`, and `int8_dtypes` what a model's dtype is before it is quantised to int8.
    `options` are its own. Of Python's modules it needs `modules` to run, `to_export` to take a
    model of torch too, and `to_quantize`. The extra of that name installs them all; `install` is
    the sentence where it is no extra.
    """

    target: str
    summary: str
    formats: tuple[str, ...] = ()
    cpu_dtypes: tuple[str, ...] = _EVERY_DTYPE
    gpu_dtypes: tuple[str, ...] = _EVERY_DTYPE
    cpu_quantizes: tuple[str, ...] = ()
    gpu_quantizes: tuple[str, ...] = ()
    int8_dtypes: tuple[str, ...] = _EVERY_DTYPE
    options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    to_export: tuple[str, ...] = ()
    to_quantize: tuple[str, ...] = ()
    extra: str | None = None
    install: str | None = None

    @property
    def quantizes(self) -> tuple[str, ...]:
        """The values of `--quantize` that it has on some device."""
        return tuple(dict.fromkeys((*self.cpu_quantizes, *self.gpu_quantizes)))

    @property
    def needs_gpu(self) -> bool:
        """Whether it runs on an NVIDIA GPU alone."""
        return not self.cpu_dtypes


BUILT_IN: Final = {
    EAGER: BuiltInEngine(
        target="fastbench.engines.torch_engines:Eager",
        summary="PyTorch, operation by operation: the reference of every other engine",
    ),
    COMPILE: BuiltInEngine(
        target="fastbench.engines.torch_engines:Compile",
        summary="torch.compile, with --compile-mode",
        cpu_quantizes=("int8",),
        gpu_quantizes=("fp8",),
        int8_dtypes=("float32",),
        options=("backend",),
        to_quantize=("torchao",),
        extra="torchao",
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
        cpu_dtypes=("float32",),
        gpu_dtypes=("float32", "float16"),
        cpu_quantizes=("int8",),
        gpu_quantizes=("int8",),
        int8_dtypes=("float32",),
        options=("provider", "opset"),
        modules=("onnxruntime",),
        to_export=("onnx", "onnxscript"),
        to_quantize=("onnx",),
        extra="onnxruntime",
    ),
    "openvino": BuiltInEngine(
        target="fastbench.engines.openvino:OpenVino",
        summary="Intel's OpenVINO, on the CPU",
        formats=(OPENVINO_IR, ONNX),
        gpu_dtypes=(),
        cpu_quantizes=("int8",),
        options=("hint", "device"),
        modules=("openvino",),
        to_quantize=("nncf",),
        extra="openvino",
    ),
    "tensorrt": BuiltInEngine(
        target="fastbench.engines.tensorrt:TensorRt",
        summary="NVIDIA TensorRT, through Torch-TensorRT",
        cpu_dtypes=(),
        modules=("torch_tensorrt",),
        install="pip install torch-tensorrt, in the version that is made for this torch",
    ),
}

QUANTIZED_BY: Final = {
    number_format: tuple(name for name, it in BUILT_IN.items() if number_format in it.quantizes)
    for number_format in ("int8", "fp8")
}
"""The engines that have a value of `--quantize`, on some device."""


def engine_of_format(format: str) -> str:  # noqa: A002 - it is the field's word
    """The engine that a file of this format is run by where none is named."""
    return min(
        (it.formats.index(format), name) for name, it in BUILT_IN.items() if format in it.formats
    )[1]
