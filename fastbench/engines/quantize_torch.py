"""INT8 and FP8 of a torch module, by torchao, for torch.compile."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from fastbench.core.errors import ModelError, UsageError, errors_as
from fastbench.engines.export import export, quiet

if TYPE_CHECKING:
    from fastbench.engines.base import EngineSpec


def quantize(spec: EngineSpec, module: torch.nn.Module) -> Any:
    """The quantised module.

    Raises `UsageError` where the GPU does not have the format, `ModelError` where it fails.
    """
    what = f"torchao cannot quantise the model {spec.model.name}"
    with errors_as(ModelError, what, "Try another --engine."), quiet():
        return _int8(spec) if spec.quantize == "int8" else _fp8(spec, module)


def _int8(spec: EngineSpec) -> Any:
    """PT2E quantisation: all convolutions and matrix products, by torch.export's program."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_pt2e(export(spec).module(), quantizer)
        with torch.no_grad():
            for images_NCHW in spec.calibration:
                prepared(images_NCHW.contiguous(memory_format=torch.channels_last))
        return convert_pt2e(prepared)


def _fp8(spec: EngineSpec, module: torch.nn.Module) -> Any:
    """FP8 of linear layers, the only ones that torchao has it for."""
    if torch.cuda.get_device_capability(spec.device) < (8, 9):
        raise UsageError(
            f"--quantize fp8 is for NVIDIA GPUs since Ada and Hopper, and the model runs on "
            f"{torch.cuda.get_device_name(spec.device)}. Use --quantize none."
        )
    if not any(isinstance(part, torch.nn.Linear) for part in module.modules()):
        raise UsageError(
            f"torchao has fp8 for linear layers alone, and the model {spec.model.name} has none. "
            f"Use --quantize none."
        )
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, quantize_

    quantize_(module, Float8DynamicActivationFloat8WeightConfig())
    return module
