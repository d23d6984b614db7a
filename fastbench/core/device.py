"""Choosing the device, and turning errors of memory and device into ours."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING, Final

import torch

from fastbench.core.errors import (
    DeviceError,
    FastbenchError,
    OutOfMemoryError,
    UsageError,
    first_line,
)
from fastbench.core.nvidia import HIDE_ALL, driver_version, gpu_names
from fastbench.core.system_errors import is_of_memory, limit_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_OLDEST_DRIVERS: Final = {"11": 450, "12": 525, "13": 580}
"""The driver that a major version of CUDA needs at least, by NVIDIA's table of compatibility."""
_BLOCKING_SYNC: Final = 4
"""`CU_CTX_SCHED_BLOCKING_SYNC` of CUDA's driver."""


def choose_device(
    asked: str, *, stream: str = "default", wait: str = "spin", local_rank: int | None = None
) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`; a GPU is made CUDA's current one.

    Of several ranks on a machine each has the GPU of its number there, or the only one that it
    sees. `stream` and `wait` are `--cuda-stream` and `--cuda-wait`, for this process. Raises
    `UsageError` for one of them on a CPU, `DeviceError` if there is no such device, or none that
    torch can use: `auto` is the CPU only where there is no GPU, or all are hidden on purpose.
    """
    if asked == "cpu":
        return _cpu(stream, wait)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        unused = why_unused()
        if asked == "auto" and unused is None:
            return _cpu(stream, wait)
        raise DeviceError(
            f"There is no CUDA device for --device {asked}: "
            f"{unused or f'torch {torch.__version__} sees no GPU'}. "
            f"Check the driver with nvidia-smi, or use --device cpu."
        )
    # Not by torch, which reads cuda:300 as 44 and cuda:128 as -128, and refuses cuda:01.
    index = int(asked.partition(":")[2] or 0)
    if local_rank is not None and count > 1:
        index = local_rank
        if index >= count:
            raise DeviceError(
                f"Each rank needs a GPU of its own, and torch sees {count} on this machine. Lower "
                f"--ranks, or start fewer processes on it."
            )
    if index >= count:
        raise DeviceError(
            f"There is no CUDA device {index} for --device {asked}: torch sees {count}, "
            f"numbered from 0. List them: fastbench env --check"
        )
    device = torch.device("cuda", index)
    try:
        if wait == "block":
            _sleep_while_waiting(index)
        # Libraries take a stream without a device for one of the current device.
        torch.cuda.set_device(device)
        if stream == "side":
            torch.cuda.set_stream(torch.cuda.Stream(device))
    except RuntimeError as error:
        raise broken(device, error) from error
    return device


def _cpu(stream: str, wait: str) -> torch.device:
    if (stream, wait) != ("default", "spin"):
        raise UsageError(
            "--cuda-stream and --cuda-wait are for NVIDIA GPUs, and this run is on the CPU. Leave "
            "them out."
        )
    return torch.device("cpu")


def _sleep_while_waiting(index: int) -> None:
    """Set `CU_CTX_SCHED_BLOCKING_SYNC`, by CUDA's driver: torch has no function for it.

    Raises `RuntimeError` where the driver refuses.
    """
    driver = ctypes.CDLL("libcuda.so.1")
    device = ctypes.c_int()
    for name, *arguments in (
        ("cuInit", 0),
        ("cuDeviceGet", ctypes.byref(device), index),
        ("cuDevicePrimaryCtxSetFlags_v2", device, _BLOCKING_SYNC),
    ):
        if (status := getattr(driver, name)(*arguments)) != 0:
            raise RuntimeError(f"CUDA's driver refuses --cuda-wait block with status {status}")


def broken(device: torch.device, error: Exception) -> DeviceError:
    """The error for a GPU that torch sees, and that fails when it is first used."""
    return DeviceError(
        f"The GPU {device} cannot be used: {first_line(error)}. "
        f"Check it with nvidia-smi, or use --device cpu."
    )


def why_unused() -> str | None:
    """What keeps torch, which sees no GPU, from those that NVML sees.

    None if NVML sees none, or `CUDA_VISIBLE_DEVICES` hides all of them.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip().lower() in HIDE_ALL:
        return None
    names = gpu_names()
    if not names:
        return None
    seen = f"NVML sees {names[0]}, torch {torch.__version__} does not: "
    if torch.version.cuda is None:
        return f"{seen}it is built without CUDA"
    driver = driver_version() or ""
    needed = _OLDEST_DRIVERS.get(torch.version.cuda.partition(".")[0], 0)
    major = driver.partition(".")[0]
    if major.isdecimal() and int(major) < needed:
        return f"{seen}driver {driver}, needs {needed} or newer for CUDA {torch.version.cuda}"
    which = "" if visible is None else f", with CUDA_VISIBLE_DEVICES={visible}"
    return f"{seen}{_words_of_torch()}{which}"


def _words_of_torch() -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return "it does not say why"


def check_tf32(device: torch.device, dtype: str, asked: bool) -> None:
    """Raise `UsageError` where TensorFloat-32 would be used without being asked for, or in vain."""
    wrong = "0" if asked else "1"
    for name in ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"):
        if device.type == "cuda" and os.environ.get(name) == wrong:
            raise UsageError(
                f"{name}={wrong} overrides --{'' if asked else 'no-'}tf32, for the reference's "
                f"predictions too. Unset it: --tf32 is for the rows alone."
            )
    if not asked:
        return
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
        raise UsageError(
            f"--tf32 is for NVIDIA GPUs since Ampere, and the model runs on {where}. Leave it out."
        )
    if dtype != "float32":
        raise UsageError(
            f"--tf32 changes float32 models only, and this one is {dtype}. Use --dtype float32."
        )


@contextlib.contextmanager
def mapped_errors(what: str, batch_size: int) -> Iterator[None]:
    """Turn torch's errors of memory and device into ours; `what` is the work, for the text."""
    try:
        yield
    except FastbenchError:
        raise
    except Exception as error:
        mapped = as_ours(error, what, batch_size)
        if mapped is None:
            raise
        raise mapped from error


def as_ours(error: Exception, what: str, batch_size: int) -> FastbenchError | None:
    """Our error for one of memory, the device or another limit, or None for any other."""
    if isinstance(error, torch.OutOfMemoryError) or is_of_memory(error):
        return OutOfMemoryError(
            f"Out of memory during {what} with batch size {batch_size}. "
            f"Try --batch-size {max(1, batch_size // 2)}, or --dtype float16 on a GPU."
        )
    if is_of_device(error):
        return DeviceError(
            f"The GPU failed during {what}: {first_line(error)}. "
            f"Check it with nvidia-smi and run again, or use --device cpu."
        )
    return limit_of(error, f"during {what}")


def why_no_gpu() -> str | None:
    """Why a loader that needs a CUDA device cannot run; None if it can."""
    if torch.cuda.is_available() and torch.cuda.device_count():
        return None
    return f"it needs an NVIDIA GPU, and {why_unused() or f'torch {torch.__version__} sees none'}"


def is_of_device(error: Exception) -> bool:
    """Whether `mapped_errors` turns this error into one of ours."""
    text = str(error)
    return is_of_memory(error) or (
        isinstance(error, RuntimeError) and ("CUDA" in text or "cuDNN" in text)
    )
