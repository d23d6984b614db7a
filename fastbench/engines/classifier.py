"""A model behind an engine, made ready to be measured: padding, warm-up, what torch has set.

Shape suffixes: N batch, C channels, H height, W width, K classes kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import torch

from fastbench.core.device import is_of_device
from fastbench.core.engine_facts import COMPILE, EAGER
from fastbench.core.errors import (
    CompileError,
    EngineMissingError,
    FastbenchError,
    ModelError,
    first_line,
    kind_and_line,
)
from fastbench.engines import mixes
from fastbench.engines.base import EngineTraits
from fastbench.engines.registry import images_dtype, resolve, title
from fastbench.models.logits import check_logits

if TYPE_CHECKING:
    from fastbench.engines.base import EngineSpec, Factory, Run

_NO_PRIMITIVE: Final = "could not create a primitive"
"""oneDNN's words where the system gives it no memory for the code that it makes."""


class Classifier:
    """A model that turns (N, 3, H, W) images into (N, classes) logits, N always the batch size.

    `engine` executes it; `spec` is what that is told. Images come in `images_dtype`. float32 means
    float32: TensorFloat-32 is off without `tf32`. Of the model's outputs those are kept that its
    classes name; `num_outputs` is how many it gives, once it has run. Raises what `mixes.check`
    raises, and what the engine raises as it is made: `ModelError`, `CompileError`,
    `EngineMissingError`, `UsageError`.
    """

    def __init__(self, spec: EngineSpec, engine: str = EAGER) -> None:
        self._name = spec.model.name
        self.engine = engine
        self.spec = spec
        self.device = spec.device
        self.dtype = spec.dtype
        self.batch_size = spec.batch_size
        mixes.check(
            mixes.Mix(
                engine=engine,
                device=str(spec.device),
                dtype=spec.dtype,
                quantize=spec.quantize,
                format=spec.model.format,
                options=spec.options,
            )
        )
        factory = resolve(engine)
        self.images_dtype: torch.dtype = getattr(torch, images_dtype(factory, spec.dtype))
        self._tf32 = spec.tf32
        self._num_threads = spec.num_threads
        self.set_up_torch()
        # Shapes are static, so the search for the fastest convolutions is made once.
        torch.backends.cudnn.benchmark = True
        self._run: Run = self._made(factory)
        self.traits = EngineTraits.of(self._run)
        kept = spec.model.classes.outputs
        self._kept_K = None if kept is None else torch.tensor(kept, device=spec.device)
        self.num_outputs: int | None = None

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
            logits_NK = self._run(images_NCHW)
            if self.num_outputs is None:
                by = None if self.engine in (EAGER, COMPILE) else self.engine
                logits_NK = check_logits(logits_NK, self._name, self.batch_size, by=by)
                self.num_outputs = logits_NK.shape[1]
            return logits_NK if self._kept_K is None else logits_NK.index_select(1, self._kept_K)

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
        return self.traits.num_graphs()

    def close(self) -> None:
        """Free what the engine holds."""
        self.traits.close()

    def warm_up(self) -> float:
        """Run twice on blank images of the measured shape; return how many seconds longer the first
        run takes, which go into compilation and the choice of kernels.

        Raises `CompileError` where torch.compile fails, `ModelError` where the model does, or gives
        something else than logits.
        """
        crop = self.spec.crop
        images_NCHW = torch.zeros(
            (self.batch_size, 3, crop, crop), device=self.device, dtype=self.images_dtype
        ).contiguous(memory_format=torch.channels_last)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            try:
                self(images_NCHW).sum().item()  # waits for the device
            except FastbenchError:
                raise
            except Exception as error:
                raise self._mapped(error) from error
            seconds.append(time.perf_counter() - start)
        return max(0.0, seconds[0] - seconds[1])

    def _made(self, factory: Factory) -> Run:
        """What the engine makes of the model."""
        try:
            return factory(self.spec)
        except FastbenchError:
            raise
        except Exception as error:
            if is_of_device(error):
                raise
            kind = EngineMissingError if isinstance(error, ImportError) else ModelError
            raise kind(
                f"{title(self.engine)} could not make the model {self._name} ready "
                f"({kind_and_line(error)}). Try --engine {EAGER}, or mend what the error names."
            ) from error

    def _mapped(self, error: Exception) -> Exception:
        """The error to raise for one of the model, the engine or the device; itself for the last.

        The caller turns an error of the device into ours.
        """
        is_compiled = self.engine == COMPILE
        if is_of_device(error) and (not is_compiled or isinstance(error, torch.OutOfMemoryError)):
            return error
        if is_compiled:
            # The first line names the backend, the second what went wrong in it.
            reason = " ".join(" ".join(str(error).splitlines()[:2]).split())
            return CompileError(
                f"torch.compile could not compile the model ({type(error).__name__}: {reason}). "
                f"Run with --no-compile, or install a C++ compiler such as g++."
            )
        what = (
            f"The model {self._name} failed on a batch of {self.batch_size} channels_last images "
            f"in {self.dtype} on {self.device} ({kind_and_line(error)})"
        )
        if self.engine != EAGER:
            advice = "Export it again." if self.spec.model.format else f"Try --engine {EAGER}."
            return ModelError(f"{what}, in the engine {self.engine}. {advice}")
        if first_line(error) == _NO_PRIMITIVE:
            advice = (
                "oneDNN says this where memory is short: allow the process more (ulimit -v, or the "
                "container's limit), or try a smaller --batch-size"
            )
        elif self.dtype != "float32":
            advice = "Try --dtype float32, or let it follow its input's dtype and device"
        else:
            advice = (
                "Let it follow its input's device and memory format: reshape() in place of view()"
            )
        return ModelError(f"{what}. {advice}.")


def forget_compiled() -> None:
    """Drop all compiled models, to make room for the next one.

    A class's code has room for eight compiled versions, shared by all models of that class in this
    process; beyond them torch runs it eagerly, and says nothing.
    """
    torch.compiler.reset()
