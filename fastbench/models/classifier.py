"""A model made ready to be measured: its dtype, its memory format, torch.compile.

Shape suffixes: N batch, C channels, H height, W width, K classes kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from fastbench.core.device import is_of_device
from fastbench.core.errors import CompileError, FastbenchError, ModelError, kind_and_line
from fastbench.core.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence


class Classifier:
    """A module that turns (N, 3, H, W) images into (N, classes) logits, N always the batch size.

    The module is moved to `device` and `dtype` with channels_last weights. float32 means float32:
    TensorFloat-32 is off without `tf32`. `num_threads` are torch's for the model on a CPU, None for
    as many as it has. `compile_mode` is torch.compile's mode, None for eager. `name` is what errors
    call the model. Raises `CompileError` for a module that torch.compile cannot take.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        device: str,
        dtype: str,
        batch_size: int,
        compile_mode: str | None = None,
        tf32: bool = False,
        num_threads: int | None = None,
        name: str = "model",
    ) -> None:
        if compile_mode is not None and is_torchscript(module):
            raise CompileError(
                f"The model {name} is TorchScript, which torch.compile cannot compile. "
                f"Run with --no-compile, or save it with torch.export.save."
            )
        self._name = name
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.batch_size = batch_size
        self.compiled = compile_mode is not None
        self._uses_cuda_graphs = self.device.type == "cuda" and compile_mode in (
            "reduce-overhead",
            "max-autotune",
        )
        self._counters_before = _compile_counters()
        self._tf32 = tf32
        self._num_threads = num_threads or torch.get_num_threads()
        self.set_up_torch()
        # Shapes are static, so the search for the fastest convolutions is made once.
        torch.backends.cudnn.benchmark = True
        module = module.eval().to(self.device, self.dtype)
        self._module = module.to(memory_format=torch.channels_last)
        self._forward = (
            torch.compile(self._module, mode=compile_mode, dynamic=False)
            if compile_mode is not None
            else self._module
        )

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits of a batch; a partial one is padded with zeros first, so shapes never change."""
        self.set_up_torch()
        if images_NCHW.shape[0] < self.batch_size:
            # Not in inference mode: torch.compile would compile the model again for its tensors.
            padded_NCHW = images_NCHW.new_zeros((self.batch_size, *images_NCHW.shape[1:]))
            padded_NCHW = padded_NCHW.contiguous(memory_format=torch.channels_last)
            padded_NCHW[: images_NCHW.shape[0]] = images_NCHW
            images_NCHW = padded_NCHW
        with torch.inference_mode():
            if self._uses_cuda_graphs:
                # The last step's logits were read on this stream and may be overwritten.
                torch.compiler.cudagraph_mark_step_begin()
            logits: torch.Tensor = self._forward(images_NCHW)
            return logits

    def set_up_torch(self) -> None:
        """Set what torch has once a process, which another classifier or a loader may have changed.

        It takes a microsecond. What torch.compile made holds for these values only.
        """
        if torch.get_num_threads() != self._num_threads:
            torch.set_num_threads(self._num_threads)
        torch.set_float32_matmul_precision("high" if self._tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self._tf32

    def num_graphs(self) -> tuple[int, int]:
        """Graphs that torch.compile made, and graph breaks, since this classifier was made."""
        graphs, breaks = _compile_counters()
        return graphs - self._counters_before[0], breaks - self._counters_before[1]

    def warm_up(self, crop: int) -> float:
        """Run twice on blank images of the measured shape; return how many seconds longer the first
        run takes, which go into compilation and the choice of kernels.

        Raises `CompileError` where torch.compile fails, `ModelError` where the model does, or gives
        something else than logits.
        """
        images_NCHW = torch.zeros(
            (self.batch_size, 3, crop, crop), device=self.device, dtype=self.dtype
        ).contiguous(memory_format=torch.channels_last)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            try:
                logits = check_logits(self(images_NCHW), self._name, self.batch_size)
                logits.sum().item()  # waits for the device
            except FastbenchError:
                raise
            except Exception as error:
                if is_of_device(error) and (
                    not self.compiled or isinstance(error, torch.OutOfMemoryError)
                ):
                    raise
                if not self.compiled:
                    raise self._failed(error) from error
                # The first line names the backend, the second what went wrong in it.
                reason = " ".join(" ".join(str(error).splitlines()[:2]).split())
                raise CompileError(
                    f"torch.compile could not compile the model "
                    f"({type(error).__name__}: {reason}). "
                    f"Run with --no-compile, or install a C++ compiler such as g++."
                ) from error
            seconds.append(time.perf_counter() - start)
        return max(0.0, seconds[0] - seconds[1])

    def _failed(self, error: Exception) -> ModelError:
        dtype = str(self.dtype).removeprefix("torch.")
        advice = "Let it follow its input's device and memory format: reshape() in place of view()"
        if self.dtype != torch.float32:
            advice = "Try --dtype float32, or let it follow its input's dtype and device"
        return ModelError(
            f"The model {self._name} failed on a batch of {self.batch_size} channels_last images "
            f"in {dtype} on {self.device} ({kind_and_line(error)}). {advice}."
        )


def check_logits(output: Any, name: str, num_images: int) -> torch.Tensor:
    """Return a model's output for so many images; raise `ModelError` unless it is (N, classes)."""
    if isinstance(output, torch.Tensor) and output.ndim == 2 and len(output) == num_images:
        return output
    raise ModelError(
        f"The model {name} gave {_described(output)} for {counted(num_images, 'image')}, "
        f"where one tensor of shape ({num_images}, classes) is wanted. Let its forward() return "
        f"the logits alone."
    )


def is_torchscript(module: torch.nn.Module) -> bool:
    """Whether a module is TorchScript, or has TorchScript in it."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())


def _described(output: Any) -> str:
    if isinstance(output, torch.Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, dict):
        return f"a dict of {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a value of type {type(output).__name__}"


def forget_compiled() -> None:
    """Drop all compiled models, to make room for the next one.

    A class's code has room for eight compiled versions, shared by all models of that class in this
    process; beyond them torch runs it eagerly, and says nothing.
    """
    torch.compiler.reset()


def _compile_counters() -> tuple[int, int]:
    """Graphs and graph breaks in this process, as torch's own tools for them count."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


class Among(torch.nn.Module):
    """A model with only some outputs: (N, C, H, W) images -> (N, K) logits."""

    def __init__(self, module: torch.nn.Module, outputs: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("outputs_K", torch.tensor(outputs))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits of the kept outputs, in their order."""
        logits_NK: torch.Tensor = self.module(images_NCHW)
        return logits_NK.index_select(1, self.get_buffer("outputs_K"))
