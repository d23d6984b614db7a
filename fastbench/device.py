"""Which device is meant, and what its failures are called."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from fastbench.errors import DeviceError, FastbenchError, OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["choose_device", "is_of_device", "mapped_errors"]


def choose_device(asked: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`, always with its index.

    Raises `DeviceError` where torch does not see it.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise DeviceError(
            f"There is no CUDA device for --device {asked}: torch {torch.__version__} sees no GPU. "
            f"Check the driver with nvidia-smi, or use --device cpu."
        )
    index = torch.device("cuda" if asked == "auto" else asked).index or 0
    if index >= count:
        raise DeviceError(
            f"There is no CUDA device {index} for --device {asked}: torch sees {count}, "
            f"numbered from 0. List them: fastbench env"
        )
    return torch.device("cuda", index)


@contextlib.contextmanager
def mapped_errors(what: str, batch_size: int) -> Iterator[None]:
    """Turn torch's errors of memory and device into ours; `what` names the work for the text."""
    try:
        yield
    except FastbenchError:
        raise
    except (MemoryError, RuntimeError) as error:
        if _is_of_memory(error):
            raise _out_of_memory(what, batch_size) from error
        if is_of_device(error):
            raise DeviceError(
                f"The GPU failed during {what}: {str(error).splitlines()[0].rstrip('.')}. "
                f"Check it with nvidia-smi and run again, or use --device cpu."
            ) from error
        raise


def is_of_device(error: Exception) -> bool:
    """Whether an error is one of memory or of the device, for which `mapped_errors` has words."""
    text = str(error)
    return _is_of_memory(error) or (
        isinstance(error, RuntimeError) and ("CUDA" in text or "cuDNN" in text)
    )


def _is_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("DefaultCPUAllocator" in text or "out of memory" in text)
    )


def _out_of_memory(what: str, batch_size: int) -> OutOfMemoryError:
    smaller = max(1, batch_size // 2)
    return OutOfMemoryError(
        f"Out of memory during {what} with batch size {batch_size}. "
        f"Try --batch-size {smaller}, or --dtype float16 on a GPU."
    )
