"""Ranks of one machine share its cores, have a GPU each, and the images of all machines."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders.meeting import Scripted

from fastbench.core.errors import DataError, DeviceError
from fastbench.measure.ranks import ALONE
from fastbench.runner import prepare

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def cores(first: int, end: int) -> frozenset[int]:
    return frozenset(range(first, end))


@pytest.mark.parametrize(
    ("device", "allowed", "near", "clocks", "others", "quota", "kept", "num_own"),
    [
        pytest.param(CPU, cores(0, 2), (), "aa", [cores(0, 2)], None, cores(0, 2), 1, id="halves"),
        pytest.param(CPU, cores(0, 8), (), "aab", [cores(0, 8)] * 2, None, cores(0, 8), 4,
                     id="another machine takes none"),
        pytest.param(CPU, cores(0, 2), (), "aaa", [cores(0, 2)] * 2, None, cores(0, 2), 1,
                     id="more ranks than cores"),
        pytest.param(GPU, cores(0, 8), cores(0, 4), "aa", [cores(4, 8)], None, cores(0, 4), 4,
                     id="a GPU a socket"),
        pytest.param(GPU, cores(0, 8), cores(0, 4), "aaaa", [cores(0, 4), *[cores(4, 8)] * 2],
                     None, cores(0, 4), 2, id="two GPUs a socket"),
        pytest.param(GPU, cores(0, 8), (), "aa", [cores(0, 8)], None, cores(0, 8), 4,
                     id="nobody knows what is near"),
        pytest.param(GPU, cores(0, 4), cores(4, 8), "aa", [cores(0, 4)], None, cores(0, 4), 2,
                     id="what is near is forbidden"),
        pytest.param(GPU, cores(0, 6), cores(4, 8), "aa", [cores(0, 4)], None, cores(4, 6), 2,
                     id="a part of what is near is forbidden"),
        pytest.param(CPU, cores(0, 4), (), "aaaa", [cores(4, 8), cores(8, 12), cores(12, 16)],
                     None, cores(0, 4), 4, id="srun has bound each rank to its own"),
        pytest.param(CPU, cores(0, 8), (), "aa", [cores(0, 8)], 4.0, cores(0, 8), 2,
                     id="a quota is shared"),
        pytest.param(CPU, cores(0, 8), (), "aa", [cores(0, 8)], 2.5, cores(0, 8), 1,
                     id="a quota of parts of a core"),
        pytest.param(CPU, cores(0, 8), (), "aa", [cores(0, 8)], 0.5, cores(0, 8), 1,
                     id="a quota of less than a core"),
        pytest.param(CPU, cores(0, 2), (), "aa", [cores(0, 2)], 64.0, cores(0, 2), 1,
                     id="a quota of more than there is"),
    ],
)  # fmt: skip
def test_cores_of_a_rank(
    device: torch.device,
    allowed: frozenset[int],
    near: Any,
    clocks: str,
    others: list[frozenset[int]],
    quota: float | None,
    kept: frozenset[int],
    num_own: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_to: list[Any] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, its: set_to.append(its))
    monkeypatch.setattr(prepare, "near_cores", lambda _: frozenset(near))
    monkeypatch.setattr(prepare, "cpu_quota", lambda: quota)
    assert prepare._keep_near(device, Scripted(clocks, *others)) == num_own
    assert set_to == [kept]


def test_two_ranks_on_one_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "uuid", lambda index: f"GPU-{index}")
    prepare._check_own_gpu(GPU, Scripted("aa", "GPU-1"))
    prepare._check_own_gpu(GPU, Scripted("ab", "GPU-of-b"))
    prepare._check_own_gpu(CPU, Scripted("aa", None))
    prepare._check_own_gpu(GPU, ALONE)
    with pytest.raises(DeviceError, match="Ranks 0 and 2 have the same GPU, GPU-0"):
        prepare._check_own_gpu(GPU, Scripted("aaa", "GPU-1", "GPU-0"))


def test_other_images_on_another_machine_are_refused() -> None:
    manifest: Any = SimpleNamespace(digest="a" * 64, root="/data")
    prepare._check_same_images(manifest, Scripted("ab", "a" * 64))
    prepare._check_same_images(manifest, ALONE)
    with pytest.raises(
        DataError, match=r"/data are not the same on host c \(rank 2\) as on host a"
    ):
        prepare._check_same_images(manifest, Scripted("abc", "a" * 64, "b" * 64))
