"""Which device is meant, and what its failures are called."""

import re

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
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    choose = device.choose_device
    assert [str(choose(x)) for x in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cuda:0", "cpu", "cuda:0", "cuda:1",
    ]  # fmt: skip
    assert str(choose("cuda:01")) == "cuda:1"
    for index in (2, 300):
        with pytest.raises(DeviceError, match=rf"no CUDA device {index} .* torch sees 2"):
            choose(f"cuda:{index}")
    # Libraries take a stream without a device for one of the current device.
    assert [str(each) for each in current] == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]


def test_each_rank_of_a_machine_has_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    for asked in ("auto", "cuda"):
        for rank in range(2):
            assert device.choose_device(asked, local_rank=rank) == torch.device("cuda", rank)
    assert [each.index for each in current] == [0, 1, 0, 1]
    with pytest.raises(DeviceError, match="needs a GPU of its own, and torch sees 2 on this mach"):
        device.choose_device("auto", local_rank=2)
    # Whoever started the ranks may show each its own alone.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.choose_device("auto", local_rank=3) == torch.device("cuda", 0)
    assert device.choose_device("cpu", local_rank=3).type == "cpu"


def test_a_gpu_that_fails_at_once_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("CUDA error: all devices are busy\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", fail)
    with pytest.raises(
        DeviceError, match=r"cuda:0 cannot be used: CUDA error: all devices .* busy\."
    ):
        device.choose_device("auto")


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """torch 9.9 for CUDA 13.2 sees no GPU; NVML sees an H200 with the driver 580."""

    def init() -> None:
        raise RuntimeError("Error 802: system not yet initialized\nmore")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch, "__version__", "9.9")
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(device, "gpu_names", lambda: ["NVIDIA H200"])
    monkeypatch.setattr(device, "driver_version", lambda: "580.65.06")
    return monkeypatch


@pytest.mark.parametrize("asked", ["auto", "cuda", "cuda:1"])
@pytest.mark.parametrize(
    ("cuda", "driver", "said"),
    [
        ("13.2", "535.104.05", "driver 535.104.05, needs 580 or newer for CUDA 13.2"),
        ("12.8", "470.82", "driver 470.82, needs 525 or newer for CUDA 12.8"),
        ("13.2", "580.65.06", "Error 802: system not yet initialized"),
        ("14.0", "580.65.06", "Error 802: system not yet initialized"),
        ("13.2", None, "Error 802: system not yet initialized"),
        (None, "580.65.06", "it is built without CUDA"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_never_passed_over_in_silence(
    cuda: str | None, driver: str | None, said: str, asked: str, blind: pytest.MonkeyPatch
) -> None:
    blind.setattr(torch.version, "cuda", cuda)
    blind.setattr(device, "driver_version", lambda: driver)
    seen = f"--device {asked}: NVML sees NVIDIA H200, torch 9.9 does not: {said}. Check"
    with pytest.raises(DeviceError, match=re.escape(seen)):
        device.choose_device(asked)
    assert said in (device.why_no_gpu() or "")
    assert device.choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_gpus_that_are_hidden_on_purpose_are_not_missed(
    visible: str, blind: pytest.MonkeyPatch
) -> None:
    blind.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device.choose_device("auto").type == "cpu"
    with pytest.raises(DeviceError, match=r"torch 9\.9 sees no GPU"):
        device.choose_device("cuda")
    blind.setenv("CUDA_VISIBLE_DEVICES", "MIG-4")
    with pytest.raises(DeviceError, match=r"initialized, with CUDA_VISIBLE_DEVICES=MIG-4\."):
        device.choose_device("auto")


def test_what_holds_for_a_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is told how to wait before torch makes its context."""
    done: list[object] = []

    class Driver:
        status = 0

        def cuInit(self, _: int) -> int:  # noqa: N802
            return 0

        def cuDeviceGet(self, _: object, index: int) -> int:  # noqa: N802
            done.append(index)
            return 0

        def cuDevicePrimaryCtxSetFlags_v2(self, _: object, flags: int) -> int:  # noqa: N802
            done.append(flags)
            return self.status

    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: Driver())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(torch.cuda, "Stream", lambda where: f"of {where}")
    monkeypatch.setattr(torch.cuda, "set_stream", done.append)
    gpu = torch.device("cuda", 1)
    assert device.choose_device("cuda:1") == gpu
    assert done == [gpu]
    done.clear()
    device.choose_device("cuda:1", stream="side", wait="block")
    assert done == [1, 4, gpu, "of cuda:1"]
    monkeypatch.setattr(Driver, "status", 708)
    with pytest.raises(DeviceError, match="refuses --cuda-wait block with status 708"):
        device.choose_device("cuda:1", wait="block")
    for changes in ({"stream": "side"}, {"wait": "block"}):
        with pytest.raises(UsageError, match="for NVIDIA GPUs, and this run is on the CPU"):
            device.choose_device("cpu", **changes)
