"""Facts of the machine, its software and its state; None if one is unknown."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Final

from fastbench.core.cores import read_text
from fastbench.core.nvidia import jpeg_engines
from fastbench.measure.conditions import describe_conditions

_PACKAGES: Final = (
    "fastbench",
    "torch",
    "torchvision",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
    "numpy",
    "pillow",
)


def describe() -> dict[str, Any]:
    """The machine, its software and the conditions of this process, for every record."""
    return {**_describe_machine(), **describe_conditions()}


@functools.cache
def _describe_machine() -> dict[str, Any]:
    import psutil
    import torch

    return {
        "cpu": _cpu_name(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [_gpu(i) for i in range(torch.cuda.device_count())],
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "os": platform.platform(),
        "python": platform.python_version(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": _git_state(),
    }


def _gpu(index: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    engines = jpeg_engines(index)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "num_multiprocessors": properties.multi_processor_count,
        "jpeg_engines": dataclasses.asdict(engines) if engines else None,
    }


def _cpu_name() -> str | None:
    for line in read_text(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or None


def _driver() -> str | None:
    """The version of NVIDIA's kernel driver, from its file in /proc or from NVML."""
    for word in read_text(Path("/proc/driver/nvidia/version")).split("\n")[0].split():
        if word.replace(".", "").isdecimal() and "." in word:
            return word
    try:  # some containers do not show that file
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError:
        return None
    return version.decode() if isinstance(version, bytes) else str(version)


def _version(package: str) -> str | None:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return None if version == "0.0.0" else version  # the empty wheel behind the extra cuda130


def _git_state() -> str | None:
    """The commit of the checkout that fastbench runs from, `+changes` if it was edited."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    commit = _output("git", "-C", str(checkout), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(checkout), "status", "--porcelain")
    return f"{commit}+changes" if commit and changes else commit


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
