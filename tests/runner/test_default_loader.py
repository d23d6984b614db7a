"""A run that names no loader runs without DALI too, and says so; one that names it does not."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastbench.core.command_options import PlanOptions
from fastbench.core.errors import LoaderMissingError
from fastbench.loaders import registry
from fastbench.loaders.builtin import dali_package
from fastbench.runner import options_file, plan
from fastbench.runner.default_loader import with_loader

LINE = (
    "NVIDIA DALI is not installed, so the loader is torchvision-tensor (pip install "
    "nvidia-dali-cuda120)."
)


def uncounted(*_: str) -> Callable[[int, int], None]:
    return lambda *_: None


@pytest.fixture
def no_dali(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali_package, "is_installed", lambda: False)
    monkeypatch.setattr(dali_package, "_version", lambda package: None)


def test_with_dali_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali_package, "is_installed", lambda: True)
    assert with_loader({"limit": 3}) == ({"limit": 3}, None)


@pytest.mark.usefixtures("no_dali")
def test_without_dali_the_plan_has_the_loader_that_runs(tmp_path: Path) -> None:
    made = plan.make_plan({}, PlanOptions(), uncounted)
    assert [row.loader for row in made.rows] == ["torchvision", "torchvision-tensor"]
    assert made.notes == (LINE,)
    # The run is gone on with as it was begun, wherever DALI has been installed meanwhile.
    options_file.write_options(made.options, tmp_path / plan.PLAN_FILE)
    again = plan.make_plan({}, PlanOptions(resume=str(tmp_path)), uncounted)
    assert [row.loader for row in again.rows] == ["torchvision", "torchvision-tensor"]
    assert again.notes == ()


@pytest.mark.usefixtures("no_dali")
@pytest.mark.parametrize(
    "given",
    [
        {"loader": ("dali",)},
        {"loader": ("all",)},
        {"loader": ("opencv",)},
        {"loader_option": ("dali.prefetch=3",)},
    ],
)
def test_what_is_asked_for_by_name_is_not_replaced(given: dict[str, Any]) -> None:
    assert with_loader(given) == (given, None)


@pytest.mark.usefixtures("no_dali")
def test_dali_by_name_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastbench.loaders.builtin.dali", None)
    with pytest.raises(LoaderMissingError) as caught:
        registry.resolve("dali")
    assert str(caught.value) == (
        "The loader 'dali' cannot run here: NVIDIA DALI is not installed. Install it with pip "
        "install nvidia-dali-cuda120, or choose another with --loader."
    )


@pytest.mark.parametrize("layout", ["package", "left over", "empty", "none"])
def test_an_empty_package_is_none(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's 0.0.0 has no files, and other packages of NVIDIA lie beside it.

    What `pip uninstall` leaves are bytecode files that Python wrote later.
    """
    if layout != "none":
        (tmp_path / "nvidia/cudnn").mkdir(parents=True)
    if layout in ("package", "left over"):
        (tmp_path / "nvidia/dali/__pycache__").mkdir(parents=True)
    if layout == "package":
        (tmp_path / "nvidia/dali/__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    importlib.invalidate_caches()
    assert dali_package.is_installed() == (layout == "package")
    assert "nvidia" not in sys.modules


@pytest.mark.parametrize(
    ("versions", "line"),
    [
        ({}, "pip install nvidia-dali-cuda120"),
        ({"nvidia-dali-cuda120": "2.4.0"}, "pip install nvidia-dali-cuda120"),
        ({"nvidia-dali-cuda120": "0.0.0"}, "pip install nvidia-dali-cuda130"),
    ],
)
def test_which_package_is_to_be_installed(
    versions: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        if package not in versions:
            raise importlib.metadata.PackageNotFoundError
        return versions[package]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert dali_package.how_to_install() == line
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert dali_package.how_to_install() == "DALI has no package for Linux on riscv64"
