"""Which device is meant, and what its failures are called."""

import pytest
import torch

from fastbench.core import device
from fastbench.core.errors import DeviceError, FastbenchError, OutOfMemoryError


def test_foreign_errors_are_mapped_once() -> None:
    with pytest.raises(OutOfMemoryError), device.mapped_errors("work", 8):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(DeviceError, match="The GPU failed during work: CUDA error: x"):  # noqa: SIM117
        with device.mapped_errors("work", 8):
            raise RuntimeError("CUDA error: x\nmore")
    with pytest.raises(FastbenchError, match="ours"), device.mapped_errors("work", 8):
        raise FastbenchError("ours")
    with pytest.raises(RuntimeError, match="a bug"), device.mapped_errors("work", 8):
        raise RuntimeError("a bug")  # no error of ours hides a bug


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
