"""The facts of a record touch the run's GPU alone, and cannot fail once a row is measured."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders.records import make

from fastbench.cli import environment
from fastbench.core.errors import DeviceError
from fastbench.core.nvidia import JpegEngines
from fastbench.measure import machine
from fastbench.records.fact_values import device_name


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The GPUs that were touched, of two, of which the second fails."""
    indices: list[int] = []
    machine._describe_machine.cache_clear()

    def touch(device: Any) -> Any:
        index = device if isinstance(device, int) else device.index
        indices.append(index)
        if index == 1:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nmore")
        return SimpleNamespace(
            name="NVIDIA H200", total_memory=1 << 37, major=9, minor=0, multi_processor_count=132
        )

    def engines(index: int) -> JpegEngines:
        indices.append(index)
        return JpegEngines(1, 7)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", touch)
    monkeypatch.setattr(machine, "jpeg_engines", engines)
    yield indices
    machine._describe_machine.cache_clear()


def test_only_the_runs_gpu_is_touched(touched: list[int]) -> None:
    (gpu,) = machine.describe_gpus(torch.device("cuda", 0))
    assert (gpu["name"], gpu["jpeg_engines"]["num_engines"]) == ("NVIDIA H200", 1)
    assert {*touched} == {0}
    assert machine.describe_gpus(torch.device("cpu")) == []
    with pytest.raises(DeviceError, match=r"cuda:1 cannot be used: .* ECC error encountered\."):
        machine.describe_gpus(torch.device("cuda", 1))


def test_a_record_is_described_without_a_look_at_any_gpu(touched: list[int]) -> None:
    facts = machine.describe([{"name": "NVIDIA H200"}])
    assert facts["gpus"] == [{"name": "NVIDIA H200"}]
    assert facts["cudnn"] is None or facts["cudnn"] > 90_000
    assert touched == []  # torch's own way to cuDNN's version asks all of them


def test_env_lists_the_other_gpus_beside_one_that_fails(touched: list[int]) -> None:
    found = environment._gpus()
    assert found["GPU 0"].startswith("NVIDIA H200, ")
    assert found["GPU 0"].endswith("JPEG engines 1 x 7 cores")
    assert "uncorrectable ECC error" in found["GPU 1"]


def test_the_name_of_the_second_gpu_is_the_recorded_one() -> None:
    environment = {"cpu": "A CPU", "num_cores": 2, "gpus": [{"name": "NVIDIA H200"}]}
    assert device_name(make(environment=environment, device="cuda:1")) == "NVIDIA H200"
