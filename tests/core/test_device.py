"""Which device is meant, and what its failures are called."""

import pytest
import torch

from fastbench.core import device
from fastbench.core.errors import (
    DeviceError,
    FastbenchError,
    LimitError,
    OutOfMemoryError,
    UsageError,
)


def test_foreign_errors_are_mapped_once() -> None:
    with pytest.raises(OutOfMemoryError), device.mapped_errors("work", 8):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(DeviceError, match="The GPU failed during work: CUDA error: x"):  # noqa: SIM117
        with device.mapped_errors("work", 8):
            raise RuntimeError("CUDA error: x\nmore")
    with pytest.raises(LimitError, match="ulimit -u"), device.mapped_errors("work", 8):
        raise RuntimeError("can't start new thread")
    with pytest.raises(FastbenchError, match="ours"), device.mapped_errors("work", 8):
        raise FastbenchError("ours")
    with pytest.raises(RuntimeError, match="a bug"), device.mapped_errors("work", 8):
        raise RuntimeError("a bug")  # no error of ours hides a bug


def test_tf32_where_it_does_something(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    device.check_tf32(gpu, "float32", True)
    for where, dtype in ((cpu, "float32"), (gpu, "float16")):
        device.check_tf32(where, dtype, False)
    with pytest.raises(UsageError, match="and the model runs on the CPU"):
        device.check_tf32(cpu, "float32", True)
    with pytest.raises(UsageError, match="this one is float16"):
        device.check_tf32(gpu, "float16", True)
    # What overrides it from outside would change the reference's predictions too.
    for value, asked in (("1", False), ("0", True)):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
        device.check_tf32(gpu, "float32", not asked)
        with pytest.raises(UsageError, match=f"NVIDIA_TF32_OVERRIDE={value} overrides"):
            device.check_tf32(gpu, "float32", asked)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(UsageError, match="since Ampere, and the model runs on Tesla T4"):
        device.check_tf32(gpu, "float32", True)


def test_choosing_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    choose = device.choose_device
    assert [str(choose(x)) for x in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cuda:0", "cpu", "cuda:0", "cuda:1",
    ]  # fmt: skip
    assert str(choose("cuda:01")) == "cuda:1"
    for index in (2, 300):
        with pytest.raises(DeviceError, match=rf"no CUDA device {index} .* torch sees 2"):
            choose(f"cuda:{index}")
