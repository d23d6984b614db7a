"""PyTorch's own engines: eager, and torch.compile.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

import torch

from fastbench.core.errors import CompileError
from fastbench.engines.base import Steps, take_options
from fastbench.engines.quantize_torch import quantize
from fastbench.engines.ready_module import ready_module
from fastbench.models.logits import is_torchscript

if TYPE_CHECKING:
    from fastbench.engines.base import EngineSpec

_BACKEND: Final = "inductor"
_WITH_CUDA_GRAPHS: Final = ("reduce-overhead", "max-autotune")


def bytes_of(module: torch.nn.Module) -> int:
    """The size of a module's parameters and buffers."""
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Eager:
    """The module itself, one operation after the other."""

    def __init__(self, spec: EngineSpec) -> None:
        take_options(spec, "eager")
        self._module = ready_module(spec)
        self.weights_bytes = bytes_of(self._module)

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits."""
        logits: torch.Tensor = self._module(images_NCHW)
        return logits


class Compile:
    """torch.compile, for static shapes; the first batch compiles it.

    Raises `CompileError` for a module that torch.compile cannot take.
    """

    def __init__(self, spec: EngineSpec) -> None:
        options = take_options(spec, "compile", backend=(_BACKEND,))
        if is_torchscript(spec.model.module):
            raise CompileError(
                f"The model {spec.model.name} is TorchScript, which torch.compile cannot compile. "
                f"Run with --no-compile, or save it with torch.export.save."
            )
        self.setup_s = Steps()
        module: Any = ready_module(spec)
        if spec.quantize != "none":
            with self.setup_s("quantize"):
                module = quantize(spec, module)
        # Quantised weights are folded in as it is compiled; else they are computed in float32. Only
        # torch's own setting does that, not an option of this one call.
        self._freezes = spec.quantize == "int8"
        self.weights_bytes = bytes_of(module)
        self.settings = {"mode": spec.compile_mode, **options}
        self._uses_cuda_graphs = (
            spec.device.type == "cuda" and spec.compile_mode in _WITH_CUDA_GRAPHS
        )
        self._before = _compile_counters()
        backend = {} if options["backend"] == _BACKEND else {"backend": options["backend"]}
        self._run: Any = torch.compile(module, mode=spec.compile_mode, dynamic=False, **backend)

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits."""
        if self._uses_cuda_graphs:
            # The last step's logits were read on this stream and may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()
        with self._first_call():
            logits: torch.Tensor = self._run(images_NCHW)
        return logits

    def _first_call(self) -> contextlib.AbstractContextManager[object]:
        freezes, self._freezes = self._freezes, False
        if not freezes:
            return contextlib.nullcontext()
        from torch._inductor import config

        patch: Any = config.patch
        return cast("contextlib.AbstractContextManager[object]", patch(freezing=True))

    def num_graphs(self) -> tuple[int, int]:
        """Graphs that torch.compile made, and graph breaks, since this engine was made."""
        graphs, breaks = _compile_counters()
        return graphs - self._before[0], breaks - self._before[1]


def _compile_counters() -> tuple[int, int]:
    """Graphs and graph breaks in this process, as torch's own tools for them count."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
