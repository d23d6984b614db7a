"""What NVIDIA's driver and libraries know of GPUs, apart from torch.

nvJPEG tells the JPEG engines: some chips have a hardware JPEG decoder (A100, A30, H100 and later
data-centre ones). Others, some MIG slices, and containers without the `video` capability have none.
NVML tells the driver's version, sees GPUs that torch cannot use, and has the handle of the run's.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fastbench.core.cores import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HARDWARE, _DEFAULT = 3, 0
"""nvJPEG's backends: the hardware's own, which not every chip can open, and the default."""
_SUCCESS, _ARCH_MISMATCH = 0, 7
"""nvJPEG's statuses. A chip without a JPEG engine (T4, GeForce) answers the second."""
HIDE_ALL: Final = ("", "-1", "none", "void", "nodevfiles")
"""What `CUDA_VISIBLE_DEVICES` is set to where no GPU is meant to be used."""
_DRIVER_FILE: Final = Path("/proc/driver/nvidia/version")
_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class JpegEngines:
    """Hardware JPEG engines of one GPU, and the cores of each."""

    num_engines: int
    num_cores_per_engine: int


def jpeg_engines(device_index: int) -> JpegEngines | None:
    """What nvJPEG says of a GPU, torch's index of it given; None if it cannot be asked."""
    import torch

    if not torch.cuda.is_available():
        return None
    try:
        with torch.cuda.device(device_index):
            torch.zeros(1, device="cuda")  # nvJPEG wants a context
            for path in _nvjpeg_libraries():
                with contextlib.suppress(OSError, AttributeError):
                    if (found := _ask(ctypes.CDLL(path))) is not None:
                        return found
    except RuntimeError as error:  # torch's: a full memory, or a GPU that fails; a run will say so
        _LOG.debug("cuda:%d cannot be asked for its JPEG engines: %s", device_index, error)
    return None


def driver_version() -> str | None:
    """The version of NVIDIA's kernel driver, from its file in /proc or from NVML."""
    for word in read_text(_DRIVER_FILE).split("\n")[0].split():
        if word.replace(".", "").isdecimal() and "." in word:
            return word
    # Some containers do not show that file.
    return _ask_nvml(lambda nvml: _text(nvml.nvmlSystemGetDriverVersion()))


def gpu_names() -> list[str]:
    """The GPUs that NVML sees, which torch need not; none without the driver."""

    def names(nvml: Any) -> list[str]:
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        return [_text(nvml.nvmlDeviceGetName(handle)) for handle in handles]

    return _ask_nvml(names) or []


def num_usable() -> int:
    """How many GPUs NVML sees and `CUDA_VISIBLE_DEVICES` does not hide; torch may use fewer."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    num = len(gpu_names())
    if visible is None:
        return num
    return 0 if visible.strip().lower() in HIDE_ALL else min(num, len(visible.split(",")))


def gpus_seen() -> list[dict[str, Any]]:
    """Name, memory in bytes and compute capability of the GPUs that NVML sees."""

    def describe(nvml: Any) -> list[dict[str, Any]]:
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        return [
            {
                "name": _text(nvml.nvmlDeviceGetName(handle)),
                "memory_bytes": nvml.nvmlDeviceGetMemoryInfo(handle).total,
                "capability": "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(handle)),
            }
            for handle in handles
        ]

    return _ask_nvml(describe) or []


def nvml_handle(device_index: int) -> Any | None:
    """NVML's handle of torch's device, NVML initialised; None if there is none."""

    def named(kind: str) -> Any | None:
        return _ask_nvml(
            lambda nvml: nvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid(device_index)}")
        )

    return named("GPU") or named("MIG")  # a slice of a GPU has a UUID of its own


def near_cores(device_index: int) -> frozenset[int]:
    """The numbers of the cores of the GPU's NUMA node, as NVML has them; empty if not known."""
    handle = nvml_handle(device_index)
    if handle is None:
        return frozenset()
    num_words = -(-(os.cpu_count() or 1) // 64)
    words = _ask_nvml(lambda nvml: list(nvml.nvmlDeviceGetCpuAffinity(handle, num_words)))
    return frozenset(
        64 * number + bit
        for number, word in enumerate(words or ())
        for bit in range(64)
        if word >> bit & 1
    )


def uuid(device_index: int) -> str:
    """A name of torch's device that no other has.

    NVML counts all GPUs, torch those that it sees: only the UUID is the same for both.
    """
    import torch

    return str(torch.cuda.get_device_properties(device_index).uuid)


def _ask_nvml(question: Callable[[Any], _Answer]) -> _Answer | None:
    """What NVML answers; None without it, or where it, the chip or an old pynvml has no answer.

    It stays initialised: the handles that it gives are used as long as the process runs.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return question(pynvml)
    except (pynvml.NVMLError, AttributeError):
        return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _ask(library: Any) -> JpegEngines | None:
    for backend in (_HARDWARE, _DEFAULT):
        handle = ctypes.c_void_p()
        status = library.nvjpegCreateEx(backend, None, None, 0, ctypes.byref(handle))
        if backend == _HARDWARE and status == _ARCH_MISMATCH:
            return JpegEngines(0, 0)
        if status != _SUCCESS:
            continue
        try:
            engines, cores = ctypes.c_uint(0), ctypes.c_uint(0)
            status = library.nvjpegGetHardwareDecoderInfo(
                handle, ctypes.byref(engines), ctypes.byref(cores)
            )
        finally:
            library.nvjpegDestroy(handle)
        if status == _SUCCESS:
            return JpegEngines(engines.value, cores.value)
    return None


def _nvjpeg_libraries() -> Iterator[str]:
    """Those in NVIDIA's wheels (`nvidia/*/lib`), then names for the system's search path."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield from sorted(map(str, Path(folder).glob("*/lib/libnvjpeg.so.*")), reverse=True)
    yield from ("libnvjpeg.so.13", "libnvjpeg.so.12", "libnvjpeg.so")
