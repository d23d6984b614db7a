"""What the system or the installation refuses is said in one sentence."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from pathlib import Path

import pytest
import torch

from fastbench.cli.main import main
from fastbench.core.errors import FastbenchError, InstallationError, LimitError, OutOfMemoryError
from fastbench.core.system_errors import as_ours


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Critical error in pipeline: std::bad_alloc"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_memory(error: Exception) -> None:
    ours = as_ours(error)
    assert isinstance(ours, OutOfMemoryError)
    assert str(ours).startswith(f"Out of memory ({type(error).__name__}")
    assert ours.__cause__ is error


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "ulimit -u"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n"),
    ],
)
def test_other_limits(error: Exception, limit: str) -> None:
    assert isinstance(ours := as_ours(error), LimitError)
    assert limit in str(ours)


def test_a_bug_is_no_error_of_the_system() -> None:
    for error in (RuntimeError("a bug"), ValueError("out of memory"), OSError(errno.ENOENT, "x")):
        assert as_ours(error) is None
    with pytest.raises(RuntimeError) as caught:
        torch._check(False)  # a function of torch/__init__.py
    assert as_ours(caught.value) is None


def write_package(folder: Path, name: str, raises: str, version: str, *needs: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"raise {raises}\n")
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in needs)]
    (about / "METADATA").write_text("\n".join(lines))


def failure(name: str) -> FastbenchError | None:
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001
        return as_ours(error)
    raise AssertionError


def test_torch_and_torchvision_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = "RuntimeError('operator torchvision::nms does not exist')"
    write_package(tmp_path, "torchvision", error, "0.20.0", "numpy", "torch (==2.5.0)")
    write_package(tmp_path, "torch", "ImportError('libcudart.so: no such file')", "2.15.0")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("torch", "torchvision"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert isinstance(ours := failure("torchvision"), InstallationError)
    assert str(ours) == (
        "torch 2.15.0 and torchvision 0.20.0 do not fit (operator torchvision::nms does not "
        "exist): this torchvision needs torch 2.5.0. Install both together: pip install --upgrade "
        "torch torchvision"
    )
    ours = failure("torch")
    assert str(ours) == (
        "torch 2.15.0 cannot be imported (libcudart.so: no such file). Install it again."
    )


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ("torch>=2.16", "this torchvision needs torch >=2.16."),
        ("torch==2.15.0", "their versions fit, so they are of different builds."),
        ("torch", "their versions fit, so they are of different builds."),
    ],
)
def test_an_operator_that_is_missing_when_it_is_called(
    needs: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`2.15.0+cpu` is a 2.15.0: what comes after the plus tells builds apart."""
    write_package(tmp_path, "torchvision", "ImportError", "0.30.0", needs)
    write_package(tmp_path, "torch", "ImportError", "2.15.0+cpu")
    monkeypatch.syspath_prepend(tmp_path)
    ours = as_ours(RuntimeError("Couldn't load custom C++ ops. Check the versions."))
    assert isinstance(ours, InstallationError)
    assert str(ours).startswith("torch 2.15.0+cpu and torchvision 0.30.0 do not fit (Couldn't ")
    assert why in str(ours)


def test_what_no_command_foresaw(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def list_models(pattern: str) -> None:
        raise MemoryError

    monkeypatch.setattr("fastbench.models.catalogue.named", list_models)
    assert main(["models"]) == 1
    assert capsys.readouterr().err.startswith("fastbench: Out of memory (MemoryError). ")
