"""Choosing the device, and turning errors of memory and device into ours."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import torch

from fastbench.core.errors import (
    DeviceError,
    FastbenchError,
    OutOfMemoryError,
    UsageError,
    first_line,
)
from fastbench.core.system_errors import is_of_memory, limit_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def choose_device(asked: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`. Raises `DeviceError` if there is none."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise DeviceError(
            f"There is no CUDA device for --device {asked}: torch {torch.__version__} sees no GPU. "
            f"Check the driver with nvidia-smi, or use --device cpu."
        )
    # Not by torch, which reads cuda:300 as 44 and cuda:128 as -128, and refuses cuda:01.
    index = int(asked.partition(":")[2] or 0)
    if index >= count:
        raise DeviceError(
            f"There is no CUDA device {index} for --device {asked}: torch sees {count}, "
            f"numbered from 0. List them: fastbench env"
        )
    return torch.device("cuda", index)


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
    return f"it needs an NVIDIA GPU, and torch {torch.__version__} sees none"


def is_of_device(error: Exception) -> bool:
    """Whether `mapped_errors` turns this error into one of ours."""
    text = str(error)
    return is_of_memory(error) or (
        isinstance(error, RuntimeError) and ("CUDA" in text or "cuDNN" in text)
    )
