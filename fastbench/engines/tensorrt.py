"""NVIDIA TensorRT, through Torch-TensorRT. It has not run on a GPU of ours yet.

Through ONNX Runtime TensorRT is `--engine onnxruntime --engine-option
onnxruntime.provider=tensorrt`, which fits any torch.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fastbench.core.errors import CompileError, errors_as
from fastbench.engines.base import Steps, take_options
from fastbench.engines.export import export

if TYPE_CHECKING:
    from fastbench.engines.base import EngineSpec


class TensorRt:
    """A module compiled by Torch-TensorRT, in the dtype of its weights.

    Raises `CompileError` where TensorRT cannot take it.
    """

    def __init__(self, spec: EngineSpec) -> None:
        import torch_tensorrt

        take_options(spec, "tensorrt")
        self.setup_s = Steps()
        with self.setup_s("export"):
            program = export(spec)
        images_NCHW = torch.zeros(
            (spec.batch_size, 3, spec.crop, spec.crop),
            device=spec.device,
            dtype=getattr(torch, spec.dtype),
        ).contiguous(memory_format=torch.channels_last)
        with (
            self.setup_s("compile"),
            errors_as(
                CompileError,
                f"TensorRT could not compile the model {spec.model.name}",
                "Try --engine compile.",
            ),
        ):
            self._run = torch_tensorrt.dynamo.compile(
                program,
                arg_inputs=[images_NCHW],
                device=spec.device,
                use_explicit_typing=True,
                disable_tf32=not spec.tf32,
            )
        self.settings = {"version": torch_tensorrt.__version__}

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits."""
        logits: torch.Tensor = self._run(images_NCHW)
        return logits
