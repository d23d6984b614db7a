"""What is told of loaders without importing them: by their packages, and the GPUs of the driver."""

import importlib.metadata

import pytest
from builders.broken_loaders import Right
from builders.plug_ins import PlugIn

from fastbench.core.loader_facts import BUILT_IN
from fastbench.loaders import ask, registry


def installs(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Only these distributions are installed, and NVML sees one GPU."""

    def version(package: str) -> str:
        try:
            return versions[package.replace("-", "_")]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError from None

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(registry, "gpu_names", lambda: ["NVIDIA H200"])


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    installs(monkeypatch)
    lacking = {name for name in BUILT_IN if registry.glance(name).why_not is not None}
    assert lacking == {"dali", "dali-cpu", "opencv", "spdl", "timm", "webdataset"}
    assert registry.glance("timm").why_not == (
        'timm is not installed; pip install "fastbench[timm]"'
    )


def test_any_of_several_packages_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.0.0 is the empty wheel that stands in for the other CUDA's.
    installs(monkeypatch, nvidia_dali_cuda120="0.0.0", nvidia_dali_cuda130="2.4", opencv_python="5")
    assert registry.glance("dali").why_not is registry.glance("opencv").why_not is None
    installs(monkeypatch, nvidia_dali_cuda120="0.0.0")
    assert registry.glance("dali").why_not == "nvidia-dali-cuda120 is not installed"


def test_a_loader_of_a_gpu_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    installs(monkeypatch, nvidia_dali_cuda120="2.4")
    assert registry.glance("torchvision-gpu").why_not is None
    monkeypatch.setattr(registry, "gpu_names", list)
    for name in ("torchvision-gpu", "dali-cpu"):
        assert registry.glance(name).why_not == (
            "it needs an NVIDIA GPU, and NVIDIA's driver shows none"
        )
    assert registry.glance("dali").why_not is None  # it runs on a CPU too


def test_plug_ins_are_listed_and_not_imported(
    plug_in: PlugIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in("mine", ImportError("imported after all"))
    plug_in("dali", Right)
    monkeypatch.setattr(ask, "ask", lambda names: pytest.fail("a loader was imported"))
    listed = {each.origin: each for each in ask.listing(check=False) if each.origin}
    assert [*listed] == ["tests:dali, of tests 1.0", "tests:mine, of tests 1.0"]
    assert listed["tests:mine, of tests 1.0"].why_not is None
