"""The conditions of a process: read where they are in force, recorded, compared."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders.images import draw
from builders.runs import compare_records, run, text_of

from fastbench.core.config import RunConfig
from fastbench.measure import telemetry
from fastbench.measure.conditions import describe_conditions
from fastbench.measure.machine import describe
from fastbench.models.registry import load_model
from fastbench.records.facts import FACTS
from fastbench.report.compare.pair_screen import NOTHING_DIFFERS
from fastbench.runner import prepare
from fastbench.runner.prepare import Workbench

RECORDED = {
    "num_cores": ("cores", 1, 2),
    "affinity": ("affinity", "0", "0-1"),
    "cpu_quota": ("CPU quota", 0.5, None),
    "governor": ("governor", "powersave", "performance"),
    "instruction_set": ("instruction set", "AVX2", "AVX512"),
    "allocator": ("malloc", "glibc 2.39", "jemalloc"),
    "variables": ("variables", {"OMP_NUM_THREADS": "1"}, {}),
    "torch_threads": ("engine threads", 1, 2),
    "interop_threads": ("inter-op threads", 1, 2),
    "matmul_precision": ("matmul precision", "highest", "high"),
    "cudnn_tf32": ("cuDNN tf32", False, True),
    "cudnn_benchmark": ("cuDNN benchmark", False, True),
    "cudnn_deterministic": ("cuDNN deterministic", False, True),
}
"""What the record has, what it is called, and two values of it."""


@pytest.mark.parametrize("key", RECORDED)
def test_every_condition_is_compared(key: str) -> None:
    name, first, second = RECORDED[key]
    a, b, old = (run(100, environment=x) for x in ({key: first}, {key: second}, {}))
    (found,) = compare_records(a, b).changed
    assert found.name == name
    assert None not in (found.a, found.b)
    assert NOTHING_DIFFERS not in text_of(compare_records(a, b), 120)
    # A record of an old version does not know it, and that is said.
    (found,) = compare_records(old, b).changed
    assert (found.name, found.a) == (name, None)
    assert found.b is not None
    assert f"{name} not known" in " ".join(text_of(compare_records(old, b), 120).split())


def test_the_conditions_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    kept = {"OMP_NUM_THREADS": "3", "MALLOC_ARENA_MAX": "1", "LD_PRELOAD": "", "DALI_X": "y"}
    for name, value in {**kept, "TORCH_HOME": "/x", "CUDA_PATH": "/y", "OMPX": "z"}.items():
        monkeypatch.setenv(name, value)
    try:
        for num in (1, 3):
            torch.set_num_threads(num)
            assert describe()["torch_threads"] == num
    finally:
        torch.set_num_threads(threads)
    found = describe()
    assert {*found} >= {*RECORDED}
    assert json.loads(json.dumps(found)) == found
    assert kept.items() <= found["variables"].items()
    assert not {"TORCH_HOME", "CUDA_PATH", "OMPX"} & {*found["variables"]}
    assert found["interop_threads"] == torch.get_num_interop_threads()
    assert found["instruction_set"] == torch.backends.cpu.get_cpu_capability()


def test_no_variable_decides_on_the_models_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`torchrun` sets OMP_NUM_THREADS to 1, and the tests do, too."""
    monkeypatch.setattr(prepare, "num_cores", lambda: 3)
    draw(tmp_path / "a.jpg", (48, 32))
    quiet: Any = SimpleNamespace(say=print, note=print, count=lambda *_: lambda *_: None)
    for given, expected in ((None, 3), (2, 2)):
        config = RunConfig(data=str(tmp_path), device="cpu", batch_size=1, model_threads=given)
        workbench = Workbench(config, tmp_path, quiet)
        model = load_model("sample")
        for classifier in (workbench.engines.of_rows(model), workbench.engines.reference(model)):
            torch.set_num_threads(1)
            classifier.warm_up()
            assert describe()["torch_threads"] == expected


def test_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5, 7, 8})
    found = describe_conditions(tmp_path)
    assert (found["affinity"], found["num_cores"]) == ("0-2,5,7-8", 6)
    assert (found["governor"], found["cpu_quota"]) == (None, None)
    for core, governor in ((0, "performance"), (5, "powersave"), (6, "userspace")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
    maps = tmp_path / "proc/self/maps"
    maps.parent.mkdir(parents=True)
    maps.write_text("7f00-7f01 r-xp 0 08:01 1  /usr/lib/libjemalloc.so.2\n7f02-7f03 rw-p 0 0 0\n")
    found = describe_conditions(tmp_path)
    assert found["governor"] == "performance, powersave"
    assert found["allocator"] == "jemalloc"
    maps.write_text("7f00-7f01 r-xp 0 08:01 1  /usr/lib/libc.so.6\n")
    assert describe_conditions(tmp_path)["allocator"] != "jemalloc"


def test_periods_of_the_quota_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([(10, 1), (30, 4), (90, 50), (100, 51)])
    monkeypatch.setattr(telemetry, "num_periods", lambda: next(counts))
    monkeypatch.setattr(telemetry, "cpu_quota", lambda: 0.5)
    with telemetry.Watch(None, 10.0) as watch:
        for _ in range(2):
            watch.begin()
            watch.end(1)
        found = watch.read()
    assert (found.num_periods, found.num_throttled, found.cpu_quota) == (30, 4, 0.5)
    assert found.throttled_share == pytest.approx(4 / 30)


def test_without_a_quota_there_are_no_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "num_periods", lambda: None)
    with telemetry.Watch(None, 10.0) as watch:
        watch.begin()
        watch.end(1)
        found = watch.read()
    assert (found.num_periods, found.num_throttled, found.throttled_share) == (None, None, None)


def test_a_quota_in_words() -> None:
    quota = FACTS["cpu-quota"]
    texts = [quota.of(run(100, environment=x)) for x in ({"cpu_quota": 0.5}, {"cpu_quota": None})]
    assert texts == ["0.5 cores", "none"]
    assert quota.of(run(100)) is None
