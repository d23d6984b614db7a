"""Facts of the machine, its software and its state; None if one is unknown."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.cores import read_text
from fastbench.core.nvidia import driver_version, gpus_seen, jpeg_engines
from fastbench.measure.conditions import conditions_without_torch, describe_conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_PACKAGES: Final = (
    "fastbench",
    "torch",
    "torchvision",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
    "numpy",
    "pillow",
)
_OPTIONAL: Final = (
    *("opencv-python-headless", "opencv-python", "simplejpeg", "spdl", "timm", "torchcodec"),
    "webdataset",
)
"""Packages of loaders and models, which no record has."""


def describe(gpus: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The machine, its software and the conditions of this process, for every record.

    `gpus` are `describe_gpus()` of the run's device, asked before anything was measured. No GPU is
    used here: one that fails after a row was measured would lose it.
    """
    return {**_describe_machine(), "gpus": list(gpus), **describe_conditions()}


def describe_gpus(device: torch.device) -> list[dict[str, Any]]:
    """The run's GPU, and no other; none for a CPU. Raises `DeviceError` if it fails."""
    return [_gpu(device)] if device.type == "cuda" else []


def glance() -> dict[str, Any]:
    """The machine and its software as far as they are known without importing torch.

    `gpus` are those that NVML sees. Nothing of it goes into a record.
    """
    return {
        **_without_torch(),
        **conditions_without_torch(),
        "cuda": _cuda_of_torch(),
        "gpus": gpus_seen(),
        "glibc": " ".join(platform.libc_ver()).strip() or None,
        "container": _container(),
        "packages": {
            name: version for name in (*_PACKAGES, *_OPTIONAL) if (version := _version(name))
        },
    }


@functools.cache
def _describe_machine() -> dict[str, Any]:
    import torch

    return {**_without_torch(), "cuda": torch.version.cuda, "cudnn": _cudnn_version()}


def _without_torch() -> dict[str, Any]:
    import psutil

    return {
        "cpu": _cpu_name(),
        "memory_bytes": psutil.virtual_memory().total,
        "driver": driver_version(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": _git_state(),
    }


def _gpu(device: torch.device) -> dict[str, Any]:
    import torch

    from fastbench.core.device import broken

    try:
        properties = torch.cuda.get_device_properties(device)
    except RuntimeError as error:
        raise broken(device, error) from error
    engines = jpeg_engines(device.index or 0)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "num_multiprocessors": properties.multi_processor_count,
        "jpeg_engines": dataclasses.asdict(engines) if engines else None,
    }


def _cuda_of_torch() -> str | None:
    """The CUDA that torch was built for, read from the file that says so; None for a CPU build."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    stated = read_text(Path(spec.origin).with_name("version.py"))
    found = re.search(r"^cuda\b.*= *['\"]([\d.]+)['\"]", stated, re.MULTILINE)
    return found and found[1]


def _container(root: Path = Path("/")) -> str | None:
    """What kind of container this is, as far as a container tells; None outside of one."""
    for file, kind in ((".dockerenv", "Docker"), ("run/.containerenv", "Podman")):
        if (root / file).exists():
            return kind
    groups = read_text(root / "proc/1/cgroup")
    named = re.search(r"docker|kubepods|containerd|lxc", groups)
    return os.environ.get("container") or (named and named[0])  # noqa: SIM112 - as systemd writes it


def _cudnn_version() -> int | None:
    import torch

    if not torch.cuda.is_available():
        return None
    # `torch.backends.cudnn.version()` asks every GPU, and raises if one of them is too old for it.
    cudnn: Any = getattr(torch._C, "_cudnn", None)
    return cudnn.getVersionInt() if cudnn else None


def _cpu_name() -> str | None:
    for line in read_text(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or None


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
