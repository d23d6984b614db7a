"""A model made ready to be measured: dtype, memory format, compile; and its hits counted on the
device, so that what is timed is what is scored.

Shape suffixes: N batch, C channels (of logits: classes), H height, W width, K classes kept,
M samples, V valid rows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.device import is_of_device
from fastbench.core.errors import CompileError, FastbenchError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.loaders.base import Batch

__all__ = [
    "Among",
    "Classifier",
    "Scores",
    "Tally",
    "check_logits",
    "forget_compiled",
    "is_torchscript",
]


NUM_BEST: Final = 5
"""Top-5 is the field's second figure."""


class Classifier:
    """A module that turns (N, 3, H, W) images into (N, classes) logits, N always the batch size.

    The module is moved to `device` and `dtype` with channels_last weights. float32 means float32:
    TensorFloat-32 is off. `compile_mode` is torch.compile's mode, None for eager. `name` is what
    errors call the model. Raises `CompileError` for a module that torch.compile cannot take.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        device: str,
        dtype: str,
        batch_size: int,
        compile_mode: str | None = None,
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
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        # Shapes are static, so one search for the fastest convolutions pays.
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
        if images_NCHW.shape[0] < self.batch_size:
            # Outside of inference mode: its tensors are another kind of input, for which
            # torch.compile would compile the model again.
            padded_NCHW = images_NCHW.new_zeros((self.batch_size, *images_NCHW.shape[1:]))
            padded_NCHW = padded_NCHW.contiguous(memory_format=torch.channels_last)
            padded_NCHW[: images_NCHW.shape[0]] = images_NCHW
            images_NCHW = padded_NCHW
        with torch.inference_mode():
            if self._uses_cuda_graphs:
                # The logits of the last step may be overwritten now: they were read on this stream.
                torch.compiler.cudagraph_mark_step_begin()
            logits: torch.Tensor = self._forward(images_NCHW)
            return logits

    def num_graphs(self) -> tuple[int, int]:
        """Graphs that torch.compile made since this classifier was, and graph breaks."""
        graphs, breaks = _compile_counters()
        return graphs - self._counters_before[0], breaks - self._counters_before[1]

    def warm_up(self, crop: int) -> float:
        """Run twice on blank images of the measured shape; return the seconds of the first run
        beyond the second: compilation, and the choice of kernels.

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
        text = " ".join(str(error).split("\n")[0].split()).rstrip(".")
        advice = "Let it follow its input's device and memory format: reshape() in place of view()"
        if self.dtype != torch.float32:
            advice = "Try --dtype float32, or let it follow its input's dtype and device"
        return ModelError(
            f"The model {self._name} failed on a batch of {self.batch_size} channels_last images "
            f"in {dtype} on {self.device} ({type(error).__name__}: {text}). {advice}."
        )


def check_logits(output: Any, name: str, num_images: int) -> torch.Tensor:
    """What a model gave for so many images, if that is (N, classes) logits.

    Raises `ModelError`, naming the model and what came out, for anything else.
    """
    if isinstance(output, torch.Tensor) and output.ndim == 2 and len(output) == num_images:
        return output
    raise ModelError(
        f"The model {name} gave {_described(output)} for {num_images} "
        f"image{'' if num_images == 1 else 's'}, where one tensor of shape ({num_images}, classes) "
        f"is wanted. Let its forward() return the logits alone."
    )


def is_torchscript(module: torch.nn.Module) -> bool:
    """Whether a module is TorchScript, or has some in it."""
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
    """Make room for the next model: no model compiled before is used again.

    A class's code has room for eight compiled versions, shared by all models of that class in this
    process; beyond them it runs eagerly, and says nothing.
    """
    torch.compiler.reset()


def _compile_counters() -> tuple[int, int]:
    """Graphs and graph breaks in this process, as torch's own tools for them count."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


class Among(torch.nn.Module):
    """A model of which some outputs are kept: (N, C, H, W) images -> (N, K) logits."""

    def __init__(self, module: torch.nn.Module, outputs: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("outputs_K", torch.tensor(outputs))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits of the kept outputs, in their order."""
        logits_NK: torch.Tensor = self.module(images_NCHW)
        return logits_NK.index_select(1, self.get_buffer("outputs_K"))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a `Tally` counted, on the host.

    `best[i]` has the at most five classes predicted for sample i, the likeliest first,
    `probabilities[i]` their softmax values, or is None where they were not asked for;
    `times_seen[i]` is how often the sample came, `places[i]` at which place of the epoch; `hits`
    has (top-1, top-5) for each epoch, or is None without labels. What is kept by sample is of the
    last epoch.
    """

    best: list[list[int]]
    probabilities: list[list[float]] | None
    times_seen: list[int]
    places: list[int]
    hits: list[tuple[int, int]] | None

    @property
    def predictions(self) -> list[int]:
        """The class predicted for each sample."""
        return [classes[0] for classes in self.best]


class Tally:
    """Counts hits and keeps predictions by sample id, all on the device, without a sync.

    Rows behind a batch's `num_valid` are padding and are cut off before anything is counted.
    With `probabilities` the softmax values of the five best classes are kept.
    """

    def __init__(
        self,
        num_samples: int,
        labels: tuple[int, ...] | None,
        device: str,
        *,
        probabilities: bool = False,
    ) -> None:
        self._has_labels = labels is not None
        # Without labels every sample has the label -1, which no model predicts.
        self._labels_M = torch.tensor(labels or [-1] * num_samples, device=device)
        self._num_best = NUM_BEST
        self._best_MK = torch.full((num_samples, NUM_BEST), -1, device=device)
        self._probabilities_MK = (
            torch.zeros((num_samples, NUM_BEST), device=device) if probabilities else None
        )
        self._seen_M = torch.zeros(num_samples, dtype=torch.int64, device=device)
        self._places_M = torch.full((num_samples,), -1, device=device)
        self._place = 0
        self._hits: list[torch.Tensor] = []

    def begin_epoch(self) -> None:
        """Count the following batches as a new epoch."""
        self._hits.append(torch.zeros(2, dtype=torch.int64, device=self._labels_M.device))
        self._place = 0

    def add(self, logits: torch.Tensor, batch: Batch) -> None:
        """Score (N, classes) logits of a batch, of which `num_valid` rows count."""
        with torch.inference_mode():
            num_valid = batch.num_valid
            ids_V = batch.ids_N[:num_valid]
            self._num_best = num_best = min(NUM_BEST, logits.shape[1])
            best_VK = logits[:num_valid].topk(num_best).indices
            matches_VK = best_VK == self._labels_M[ids_V, None]
            self._hits[-1][0] += matches_VK[:, 0].sum()
            self._hits[-1][1] += matches_VK.sum()
            self._best_MK[ids_V, :num_best] = best_VK
            if self._probabilities_MK is not None:
                probabilities_VC = logits[:num_valid].float().softmax(1)
                self._probabilities_MK[ids_V, :num_best] = probabilities_VC.gather(1, best_VK)
            self._seen_M.index_add_(0, ids_V, torch.ones_like(ids_V))
            place, self._place = self._place, self._place + num_valid
            self._places_M[ids_V] = torch.arange(place, self._place, device=ids_V.device)

    def read(self) -> Scores:
        """Bring the counts to the host: the one read of a pass."""
        hits = [(int(top1), int(top5)) for top1, top5 in torch.stack(self._hits).tolist()]
        kept = self._probabilities_MK
        return Scores(
            best=self._best_MK[:, : self._num_best].tolist(),
            probabilities=None if kept is None else kept[:, : self._num_best].tolist(),
            times_seen=self._seen_M.tolist(),
            places=self._places_M.tolist(),
            hits=hits if self._has_labels else None,
        )
