"""AOTInductor: the model compiled ahead of time into a package, which runs without Python.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fastbench.core.errors import CompileError, errors_as
from fastbench.engines.base import Steps, take_options
from fastbench.engines.export import cached, export, quiet, weights_bytes
from fastbench.models.aot_package import read_package

if TYPE_CHECKING:
    from pathlib import Path

    from fastbench.engines.base import EngineSpec


class Aot:
    """A package of AOTInductor: made of a module, or a file.

    Raises `CompileError` where it cannot be made or loaded.
    """

    def __init__(self, spec: EngineSpec) -> None:
        take_options(spec, "aot")
        self.setup_s = Steps()
        path = spec.model.file or self._compile(spec)
        # What it is given in another order, it reads in its own.
        file = spec.model.file
        self._is_channels_last = file is None or read_package(file).is_channels_last
        self.settings = {"torch": torch.__version__}
        with (
            self.setup_s("load"),
            errors_as(
                CompileError,
                f"The AOTInductor package {path} cannot be loaded by torch {torch.__version__}",
                "Make it again with this version of torch, on this kind of CPU or GPU.",
            ),
        ):
            index = spec.device.index if spec.device.type == "cuda" else -1
            self._run = torch._inductor.aoti_load_package(str(path), device_index=index)

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits."""
        order = torch.channels_last if self._is_channels_last else torch.contiguous_format
        logits: torch.Tensor = self._run(images_NCHW.contiguous(memory_format=order))
        return logits

    def close(self) -> None:
        """Free the package."""
        del self._run

    def _compile(self, spec: EngineSpec) -> Path:
        with self.setup_s("export"):
            program = export(spec)
        self.weights_bytes = weights_bytes(program)

        def write(path: Path) -> None:
            with (
                errors_as(
                    CompileError,
                    f"AOTInductor could not compile the model {spec.model.name}",
                    "Install a C++ compiler such as g++, or run with --engine eager.",
                ),
                quiet(),
            ):
                torch._inductor.aoti_compile_and_package(program, package_path=str(path))

        with self.setup_s("compile"):
            # The code is for this number of threads, and for this CPU.
            made_by = (
                "aot",
                torch.__version__,
                str(spec.device),
                spec.num_threads,
                spec.tf32,
                torch.backends.cpu.get_cpu_capability(),
                torch.cuda.get_device_name(spec.device) if spec.device.type == "cuda" else "",
            )
            return cached(spec, program, made_by, ".pt2", write)
