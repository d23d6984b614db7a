"""ONNX Runtime: on the CPU, or by its CUDA or TensorRT provider.

Images and logits stay where they are: both are bound by their addresses, so nothing is copied
through the host on a GPU. There the session computes on torch's current stream.

ONNX has no channels_last images, so each batch is put in order first. That is a part of what the
engine takes, and is timed.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.engine_facts import ONNX
from fastbench.core.errors import EngineMissingError, ModelError, UsageError, errors_as
from fastbench.core.no_telemetry import send_nothing
from fastbench.engines.base import Steps, take_options
from fastbench.engines.export import OPSET, onnx_file

if TYPE_CHECKING:
    from pathlib import Path

    from fastbench.engines.base import EngineSpec

_PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_FATAL: Final = 4
_NUMPY: Final = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRuntime:
    """A session of ONNX Runtime over an exported module, or over an ONNX file.

    Raises `EngineMissingError` for a provider that this build lacks, or that does not take the
    model, `UsageError` for one of another device.
    """

    def __init__(self, spec: EngineSpec) -> None:
        send_nothing()
        import onnxruntime

        on_gpu = spec.device.type == "cuda"
        options = take_options(
            spec,
            "onnxruntime",
            provider=("auto", "cpu", "cuda", "tensorrt"),
            opset=(OPSET,),
        )
        if options["provider"] == "auto":
            options["provider"] = "cuda" if on_gpu else "cpu"
        provider = options["provider"]
        _check(spec, provider, onnxruntime.get_available_providers())
        self.setup_s = Steps()
        path = spec.model.file if spec.model.format == ONNX else None
        if path is None:
            with self.setup_s("export"):
                path = onnx_file(spec, options["opset"])
        if spec.quantize != "none":
            from fastbench.engines.quantize_onnx import quantize

            with self.setup_s("quantize"):
                path = quantize(spec, path, symmetric=provider != "cpu")
        self.weights_bytes = _num_bytes(path)
        with self.setup_s("load"):
            self._session = _session(spec, path, provider)
        self.settings = {
            "version": onnxruntime.__version__,
            "provider": self._session.get_providers()[0],
            "opset": "of the file" if spec.model.format else options["opset"],
        }
        self._input, self._output = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._device = spec.device
        self._dtypes = [_NUMPY.get(node.type, "float32") for node in (self._input, self._output)]
        self.number_format = self._dtypes[0]  # a file has its own
        self._num_classes = int(self._output.shape[1])
        self._how = onnxruntime.RunOptions()
        self._how.log_severity_level = _FATAL
        if on_gpu:  # what follows is on the same stream
            self._how.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits."""
        dtype, its_dtype = self._dtypes
        images_NCHW = images_NCHW.to(getattr(torch, dtype)).contiguous()
        logits_NK = torch.empty(
            (len(images_NCHW), self._num_classes),
            dtype=getattr(torch, its_dtype),
            device=self._device,
        )
        binding = self._session.io_binding()
        place = (self._device.type, self._device.index or 0)
        for bind, node, kind, tensor in (
            (binding.bind_input, self._input, dtype, images_NCHW),
            (binding.bind_output, self._output, its_dtype, logits_NK),
        ):
            bind(node.name, *place, kind, tuple(tensor.shape), tensor.data_ptr())
        self._session.run_with_iobinding(binding, self._how)
        return logits_NK

    def close(self) -> None:
        """Free the session."""
        del self._session


def _check(spec: EngineSpec, provider: str, available: list[str]) -> None:
    if _PROVIDERS[provider] not in available:
        raise EngineMissingError(
            f"ONNX Runtime here has no {_PROVIDERS[provider]} (it has {', '.join(available)}). "
            f"Install onnxruntime-gpu in place of onnxruntime, or use --device cpu."
        )
    on_gpu = spec.device.type == "cuda"
    if on_gpu == (provider == "cpu"):
        raise UsageError(
            f"--engine-option onnxruntime.provider={provider} does not run on {spec.device}. "
            f"Leave it out, or choose another --device."
        )


def _num_bytes(path: Path) -> int:
    """The size of a file, and of those beside it that hold its weights."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    weights = onnx.load(path, load_external_data=False).graph.initializer
    beside = {ExternalDataInfo(each).location for each in weights if uses_external_data(each)}
    files = [path, *(path.parent / name for name in beside)]
    return sum(file.stat().st_size for file in files)


def _session(spec: EngineSpec, path: Path, provider: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = spec.num_threads
    options.log_severity_level = _FATAL  # errors are raised
    # Threads that spin take the cores from the loader, as OpenMP's would.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if spec.device.type == "cuda":
        index = spec.device.index or 0
        on_stream = {
            "device_id": str(index),
            "user_compute_stream": str(torch.cuda.current_stream(spec.device).cuda_stream),
        }
        cuda = {**on_stream, "use_tf32": "1" if spec.tf32 else "0"}
        providers.insert(0, ("CUDAExecutionProvider", cuda))
        if provider == "tensorrt":
            formats = {
                "trt_fp16_enable": str(spec.dtype == "float16"),
                "trt_int8_enable": str(spec.quantize == "int8"),
            }
            providers.insert(0, ("TensorrtExecutionProvider", {**on_stream, **formats}))
    with errors_as(
        ModelError, f"ONNX Runtime cannot load the model {spec.model.name}", "Try another --engine."
    ):
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    if session.get_providers()[0] != _PROVIDERS[provider]:  # it goes on without a word
        raise EngineMissingError(
            f"ONNX Runtime could not start its {_PROVIDERS[provider]}. Check that its CUDA and "
            f"TensorRT libraries are those that onnxruntime-gpu asks for."
        )
    return session
