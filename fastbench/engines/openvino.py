"""Intel's OpenVINO, on the CPU or on a GPU of Intel's (which has not been run yet).

By itself it computes in bfloat16 on a CPU that has it, half a logit off; so its precision follows
`--dtype`, and is read back. Images come in float32, whatever it computes in, and with their
channels last as they are: their order is a part of its model.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core import signal_stack
from fastbench.core.errors import EngineMissingError, ModelError, UsageError, errors_as
from fastbench.core.no_telemetry import send_nothing
from fastbench.engines.base import Steps, take_options
from fastbench.engines.export import export, quiet

if TYPE_CHECKING:
    from fastbench.engines.base import EngineSpec

_PRECISIONS: Final = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


class OpenVino:
    """A model compiled by OpenVINO: an exported module, an ONNX file or an IR.

    Raises `UsageError` for a number format that the device does not compute in,
    `EngineMissingError` for a device that OpenVINO does not see.
    """

    @signal_stack.kept()
    def __init__(self, spec: EngineSpec) -> None:
        send_nothing()
        import openvino

        options = take_options(
            spec, "openvino", hint=("latency", "throughput"), device=("CPU", "GPU")
        )
        self.setup_s = Steps()
        core = openvino.Core()
        device = options["device"]
        if device not in {name.partition(".")[0] for name in core.available_devices}:
            raise EngineMissingError(
                f"OpenVINO sees no {device} here (it sees {', '.join(core.available_devices)}). "
                f"Leave out --engine-option openvino.device, or install Intel's driver."
            )
        model = self._read(spec, core)
        if spec.quantize != "none":
            with self.setup_s("quantize"):
                model = _quantized(spec, model)
        self.weights_bytes = _weights_bytes(model)
        how: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[spec.dtype],
            "PERFORMANCE_HINT": options["hint"].upper(),
        }
        if device == "CPU":
            how["INFERENCE_NUM_THREADS"] = spec.num_threads
            how["ENABLE_CPU_PINNING"] = False  # the loader has the same cores
        with (
            self.setup_s("load"),
            errors_as(
                ModelError, f"OpenVINO cannot load {spec.model.name}", "Try another --engine."
            ),
        ):
            compiled = core.compile_model(_with_channels_last(model), device, how)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if precision != _PRECISIONS[spec.dtype]:
            raise UsageError(
                f"OpenVINO computes in {precision} on this {device}, where {spec.dtype} is asked "
                f"for. "
                f"Use --dtype float32, or another --engine."
            )
        self.settings = {
            "version": openvino.__version__.partition("-")[0],
            "device": device,
            "precision": precision,
            "hint": options["hint"],
            "streams": int(compiled.get_property("NUM_STREAMS")),
        }
        self._request = compiled.create_infer_request()

    @staticmethod
    def images_dtype(dtype: str) -> str:  # noqa: ARG004 - whatever it computes in
        """float32."""
        return "float32"

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits."""
        import openvino

        images_NHWC = images_NCHW.permute(0, 2, 3, 1).contiguous()
        self._request.set_input_tensor(openvino.Tensor(images_NHWC.numpy(), shared_memory=True))
        self._request.infer()
        # A copy: the next batch is written over it.
        return torch.from_numpy(self._request.get_output_tensor().data.copy())

    def close(self) -> None:
        """Free the compiled model."""
        del self._request

    def _read(self, spec: EngineSpec, core: Any) -> Any:
        import openvino

        if spec.model.file is not None:
            with (
                self.setup_s("load"),
                errors_as(
                    ModelError,
                    f"OpenVINO cannot read the model {spec.model.name}",
                    "Try another --engine.",
                ),
            ):
                model = core.read_model(str(spec.model.file))
        else:
            with self.setup_s("export"):
                program = export(spec, dtype="float32")
            with (
                self.setup_s("export"),
                errors_as(
                    ModelError,
                    f"OpenVINO cannot take the model {spec.model.name}",
                    "Try another --engine.",
                ),
                quiet(),
            ):
                model = openvino.convert_model(program)
        shape = [spec.batch_size, 3, spec.crop, spec.crop]
        with errors_as(
            ModelError,
            f"OpenVINO cannot run the model {spec.model.name} on images of shape {shape}",
            "Use the --batch-size and --image-size that it was exported for.",
        ):
            model.reshape(shape)
        return model


def _with_channels_last(model: Any) -> Any:
    """The model for float32 images that come as (N, H, W, C), as they lie in memory."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_layout(Layout("NHWC")).set_element_type(Type.f32)
    steps.input().model().set_layout(Layout("NCHW"))
    steps.output().tensor().set_element_type(Type.f32)
    return steps.build()


def _weights_bytes(model: Any) -> int:
    constants = (node for node in model.get_ops() if node.get_type_name() == "Constant")
    return sum(node.get_byte_size() for node in constants)


def _quantized(spec: EngineSpec, model: Any) -> Any:
    """INT8 by NNCF's post-training quantisation."""
    import nncf

    batches = [images_NCHW.contiguous().numpy() for images_NCHW in spec.calibration]
    with (
        errors_as(
            ModelError, f"NNCF cannot quantise the model {spec.model.name}", "Try another --engine."
        ),
        quiet(),
    ):
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
        )
