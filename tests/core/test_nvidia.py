"""What nvJPEG and NVML say of GPUs, made up here: by status, by UUID, with calls missing."""

import contextlib
import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fastbench.core import nvidia
from fastbench.core.nvidia import JpegEngines


class NvJpeg:
    """Creating a handle gives `created[backend]`, asking for engines `asked`."""

    def __init__(self, created: dict[int, int], asked: int = 0) -> None:
        self.created, self.asked = created, asked
        self.num_open = 0

    def nvjpegCreateEx(self, backend: int, *_: object) -> int:  # noqa: N802
        status = self.created[backend]
        self.num_open += status == 0
        return status

    def nvjpegGetHardwareDecoderInfo(self, _: object, engines: Any, cores: Any) -> int:  # noqa: N802
        engines._obj.value, cores._obj.value = 1, 5
        return self.asked

    def nvjpegDestroy(self, _: object) -> None:  # noqa: N802
        self.num_open -= 1


@pytest.fixture
def engines_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], JpegEngines | None]:
    """The engines by one made-up nvJPEG."""

    def ask(library: Any) -> JpegEngines | None:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
        return nvidia.jpeg_engines(1)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    monkeypatch.setattr(nvidia, "_nvjpeg_libraries", lambda: ["libnvjpeg.so"])
    return ask


@pytest.mark.parametrize(
    ("created", "asked", "expected"),
    [
        ({3: 0, 0: 0}, 0, JpegEngines(1, 5)),
        ({3: 7, 0: 0}, 0, JpegEngines(0, 0)),  # T4, GeForce: the default backend is of no account
        ({3: 7, 0: 7}, 9, JpegEngines(0, 0)),
        ({3: 9, 0: 0}, 0, JpegEngines(1, 5)),
        ({3: 9, 0: 9}, 0, None),
        ({3: 0, 0: 0}, 9, None),
    ],
)
def test_engines_by_nvjpegs_statuses(
    created: dict[int, int],
    asked: int,
    expected: JpegEngines | None,
    engines_by: Callable[[Any], JpegEngines | None],
) -> None:
    library = NvJpeg(created, asked)
    assert engines_by(library) == expected
    assert library.num_open == 0


def test_an_nvjpeg_without_the_call_is_passed_over(
    engines_by: Callable[[Any], JpegEngines | None],
) -> None:
    assert engines_by(SimpleNamespace(nvjpegCreateEx=lambda *_: 0)) is None
    assert engines_by(SimpleNamespace()) is None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_gpu_that_fails_has_unknown_engines(
    error: type[Exception],
    engines_by: Callable[[Any], JpegEngines | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("CUDA error: no")

    monkeypatch.setattr(torch, "zeros", fail)
    assert engines_by(NvJpeg({3: 0, 0: 0})) is None


class NvmlError(Exception):
    pass


def nvml(**calls: Callable[..., Any]) -> Any:
    return SimpleNamespace(NVMLError=NvmlError, nvmlInit=lambda: None, **calls)


def find(known: dict[str, str]) -> Callable[[str], str]:
    """`nvmlDeviceGetHandleByUUID` of a machine with these."""

    def by_uuid(uuid: str) -> str:
        if uuid not in known:
            raise NvmlError("not found")
        return known[uuid]

    return by_uuid


@pytest.mark.parametrize(
    ("uuid", "known", "expected"),
    [
        ("b", {"GPU-a": "first", "GPU-b": "second"}, "second"),
        ("c", {"GPU-a": "the GPU", "MIG-c": "a slice of it"}, "a slice of it"),
        ("d", {"GPU-a": "first"}, None),
    ],
)
def test_the_handle_is_found_by_the_uuid_that_torch_has(
    uuid: str, known: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever `CUDA_VISIBLE_DEVICES` makes of the order and the number of GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"GPU-{uuid}")
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetHandleByUUID=find(known)))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=[uuid][index])
    )
    assert nvidia.nvml_handle(0) == expected


def test_an_old_torch_or_nvml_has_no_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="a"))
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    assert nvidia.nvml_handle(0) is None
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetHandleByUUID=lambda _: "handle"))
    assert nvidia.nvml_handle(0) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvidia.nvml_handle(0) is None


def test_the_cores_near_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML has them as bits of 64-bit words; it is asked for as many words as there are cores."""
    asked: list[object] = []

    def affinity(handle: object, num_words: int) -> list[int]:
        asked.append((handle, num_words))
        return [0b1011, 1 << 3][:num_words]

    def refuse(*_: object) -> None:
        raise NvmlError("not supported")

    monkeypatch.setattr(nvidia, "nvml_handle", lambda index: ["a GPU", None][index])
    monkeypatch.setattr(nvidia.os, "cpu_count", lambda: 72)
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetCpuAffinity=affinity))
    assert nvidia.near_cores(0) == {0, 1, 3, 67}
    assert asked == [("a GPU", 2)]
    monkeypatch.setattr(nvidia.os, "cpu_count", lambda: 64)
    assert nvidia.near_cores(0) == {0, 1, 3}
    assert nvidia.near_cores(1) == frozenset()
    for calls in ({"nvmlDeviceGetCpuAffinity": refuse}, {}):
        monkeypatch.setitem(sys.modules, "pynvml", nvml(**calls))
        assert nvidia.near_cores(0) == frozenset()


def test_what_nvml_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "_DRIVER_FILE", tmp_path / "version")
    seen = nvml(
        nvmlSystemGetDriverVersion=lambda: b"535.104.05",
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: ("NVIDIA H200", b"Tesla T4")[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", seen)
    assert nvidia.gpu_names() == ["NVIDIA H200", "Tesla T4"]
    assert nvidia.driver_version() == "535.104.05"
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Module  580.65.06  Sun Jul 27\n")
    assert nvidia.driver_version() == "580.65.06"
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    assert nvidia.gpu_names() == []
