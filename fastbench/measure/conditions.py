"""The conditions that a process measures under, as they are in force in it; None if one is unknown.

Each moves a figure, and none is seen in a result. `root` is the folder that has `proc` and `sys`.
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core import allocator
from fastbench.core.cores import cpu_quota, num_cores, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARIABLES: Final = re.compile(
    r"(OMP|KMP|GOMP|MKL|OPENBLAS|ONEDNN|DNNL|MALLOC|TCMALLOC|MIMALLOC|PYTORCH|TORCH|TORCHINDUCTOR"
    r"|ATEN|CUDA|CUBLAS|CUDNN|NVIDIA_TF32|NVJPEG|NVIMGCODEC|DALI)_|LD_PRELOAD|GLIBC_TUNABLES"
    r"|PYTHONMALLOC"
)
"""How the names of variables begin that change how fast torch, DALI or the allocator are."""
_LEFT_OUT: Final = re.compile(r".*_(HOME|PATH|DIR|ROOT|VERSION)|OMP_WAIT_POLICY")
"""Variables that say where something is, and the one that fastbench sets and records apart."""


def conditions_without_torch(root: Path = Path("/")) -> dict[str, Any]:
    """The conditions that are known before torch is imported, in JSON's types."""
    cores = sorted(os.sched_getaffinity(0))
    return {
        "num_cores": num_cores(root),
        "affinity": _ranges(cores),
        "cpu_quota": cpu_quota(root),
        "governor": _governor(root, cores),
        "allocator": allocator.library(root),
        "freed_memory": allocator.in_force(),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if _VARIABLES.match(name) and not _LEFT_OUT.fullmatch(name)
        },
    }


def describe_conditions(root: Path = Path("/")) -> dict[str, Any]:
    """The conditions in JSON's types, for a record."""
    import torch

    on_gpu = torch.cuda.is_available()
    return {
        **conditions_without_torch(root),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32 if on_gpu else None,
        "cudnn_benchmark": torch.backends.cudnn.benchmark if on_gpu else None,
        "cudnn_deterministic": torch.backends.cudnn.deterministic if on_gpu else None,
    }


def _ranges(cores: Iterable[int]) -> str:
    """Numbers as the kernel writes them: `0-3,8`."""
    numbered = itertools.groupby(enumerate(cores), lambda pair: pair[1] - pair[0])
    ranges = [[core for _, core in group] for _, group in numbered]
    return ",".join(f"{x[0]}-{x[-1]}" if len(x) > 1 else f"{x[0]}" for x in ranges)


def _governor(root: Path, cores: Iterable[int]) -> str | None:
    """What decides on the cores' clocks; several if the cores differ."""
    folder = root / "sys/devices/system/cpu"
    found = {read_text(folder / f"cpu{x}/cpufreq/scaling_governor").strip() for x in cores}
    return ", ".join(sorted(found - {""})) or None
