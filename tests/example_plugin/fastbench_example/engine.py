"""The engine `exported`: the model as torch.export writes it down, run one operation at a time.

An engine is what turns a batch of images into logits. It gets its own copy of the model, in float32
on the CPU, and an `EngineSpec` that says for which batch, dtype and device. `fastbench run` holds
what it gives against the model in float32 before it believes any number.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch

from fastbench.engines.base import EngineSpec, take_options

__all__ = ["Exported"]


class Exported:
    """The program of torch.export, an example of a plug-in"""

    # For `fastbench engines --check`; the docstring's first line is shown too.
    options = ("decompose",)

    def __init__(self, spec: EngineSpec) -> None:
        # Refuses options that this engine does not have, and values that are not among these.
        options = take_options(spec, "exported", decompose=(False, True))
        dtype = getattr(torch, spec.dtype)
        module = spec.model.copy_module().eval().to(spec.device, dtype)
        example_NCHW = torch.zeros(
            (spec.batch_size, 3, spec.crop, spec.crop), dtype=dtype, device=spec.device
        ).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            program = torch.export.export(module, (example_NCHW,))
        if options["decompose"]:  # into fewer kinds of operations
            program = program.run_decompositions()
        self._run = program.module()
        # For the record: what was really used.
        self.settings = {"torch": torch.__version__, **options}

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits, on the device of the images."""
        return self._run(images_NCHW)

    def close(self) -> None:
        """Free the program."""
        del self._run
