"""The JPEG engines of a GPU, from nvJPEG, and NVML's handle of it.

Some chips have a hardware JPEG decoder (A100, A30, H100 and later data-centre ones). Others, some
MIG slices, and containers without the `video` capability have none.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BACKENDS: Final = (3, 0)
"""nvJPEG's backends: the hardware's own, which not every chip can open, and the default."""


@dataclass(frozen=True)
class JpegEngines:
    """Hardware JPEG engines of one GPU, and the cores of each."""

    num_engines: int
    num_cores_per_engine: int


def jpeg_engines(device_index: int) -> JpegEngines | None:
    """What `nvjpegGetHardwareDecoderInfo` says of a GPU; None if it cannot be asked."""
    import torch

    if not torch.cuda.is_available():
        return None
    torch.cuda.init()
    with torch.cuda.device(device_index):
        torch.zeros(1, device="cuda")  # nvJPEG wants a context
        for path in _nvjpeg_libraries():
            with contextlib.suppress(OSError, AttributeError):
                if (found := _ask(ctypes.CDLL(path))) is not None:
                    return found
    return None


def nvml_handle(device_index: int) -> Any | None:
    """NVML's handle of torch's device, NVML initialised; None if there is none."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(_uuid(device_index))
    except (pynvml.NVMLError, AttributeError):
        return None


def _uuid(device_index: int) -> str:
    """NVML counts all GPUs, torch those that it sees: only the UUID is the same for both."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device_index).uuid}"


def _ask(library: Any) -> JpegEngines | None:
    for backend in _BACKENDS:
        handle = ctypes.c_void_p()
        if library.nvjpegCreateEx(backend, None, None, 0, ctypes.byref(handle)) != 0:
            continue
        try:
            engines, cores = ctypes.c_uint(0), ctypes.c_uint(0)
            status = library.nvjpegGetHardwareDecoderInfo(
                handle, ctypes.byref(engines), ctypes.byref(cores)
            )
        finally:
            library.nvjpegDestroy(handle)
        if status == 0:
            return JpegEngines(engines.value, cores.value)
    return None


def _nvjpeg_libraries() -> Iterator[str]:
    """Those in NVIDIA's wheels (`nvidia/*/lib`), then names for the system's search path."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(map(str, Path(folder).glob("*/lib/libnvjpeg.so.*")), reverse=True)
    yield from ("libnvjpeg.so.13", "libnvjpeg.so.12", "libnvjpeg.so")
