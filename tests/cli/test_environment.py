"""`fastbench env`: what a bug report needs, without torch."""

import subprocess
import sys
from typing import Any

import pytest

from fastbench.cli import environment
from fastbench.cli.main import main
from fastbench.measure import machine


def test_a_bug_report_has_what_matters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1|2")
    assert main(["env", "--markdown"]) == 0
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert (head, rule) == ("| | |", "|---|---|")
    assert all(row.replace("\\|", "").count("|") == 3 for row in rows)
    found = {row.split("|")[1].strip(): row for row in rows}
    for name in ("CPU", "GPU", "NVIDIA driver", "glibc", "malloc", "container", "Python", "torch"):
        assert name in found or f"{name} 0" in found, name
    assert r"OMP_NUM_THREADS=1\|2" in found["variables"]


def test_torch_is_not_imported_for_it() -> None:
    code = (
        "import sys\nfrom fastbench.cli.main import main\n"
        "for argv in (['env'], ['env', '--markdown'], ['loaders']): assert main(argv) == 0\n"
        "assert not {'torch', 'torchvision', 'nvidia', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_the_cuda_of_torch_is_the_one_that_torch_says() -> None:
    import torch

    assert machine._cuda_of_torch() == torch.version.cuda


def test_gpus_that_the_driver_shows() -> None:
    gpu: dict[str, Any] = {"name": "NVIDIA H200", "memory_bytes": 1 << 37, "capability": "9.0"}
    assert environment._gpus_seen([gpu]) == {"GPU 0": "NVIDIA H200, 137.4 GB, compute 9.0"}
    assert environment._gpus_seen([]) == {"GPU": "none that NVIDIA's driver shows"}
