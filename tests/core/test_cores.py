"""The cores that a process may use, in trees of /proc and /sys that are made here."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fastbench.core.cores import cpu_quota, num_cores, num_periods

V1_MOUNT = "31 23 0:28 {} {} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V2_MOUNT = "30 23 0:27 {} {} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER_MOUNTS = (
    "23 1 0:20 / / rw - overlay overlay rw\n"
    "29 23 0:26 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)


def tree(root: Path, own: str, mounts: str, files: Mapping[str, str]) -> Path:
    for name, text in {
        "proc/self/cgroup": own,
        "proc/self/mountinfo": OTHER_MOUNTS + mounts,
        **files,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v2(root: Path, maxima: Mapping[str, str], own: str = "/", mounted: str = "/") -> Path:
    """Control groups of version 2 with these files `cpu.max`, by the groups' folders."""
    files = {f"sys/fs/cgroup/{folder}cpu.max": text for folder, text in maxima.items()}
    return tree(root, f"0::{own}\n", V2_MOUNT.format(mounted, "/sys/fs/cgroup"), files)


@pytest.fixture
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5})


@pytest.mark.usefixtures("_four_cores")
@pytest.mark.parametrize(
    ("maxima", "own", "mounted", "quota", "cores"),
    [
        ({"": "50000 100000\n"}, "/", "/", 0.5, 1),
        ({"": "250000 100000\n"}, "/", "/", 2.5, 3),
        ({"": "800000 100000\n"}, "/", "/", 8.0, 4),
        ({"": "max 100000\n"}, "/", "/", None, 4),
        ({}, "/", "/", None, 4),
        # The least of a group and those around it, whichever it is.
        ({"a/": "200000 100000\n", "a/b/": "max 100000\n"}, "/a/b", "/", 2.0, 2),
        ({"a/": "200000 100000\n", "a/b/": "100000 100000\n"}, "/a/b", "/", 1.0, 1),
        ({"a/": "200000 100000\n", "c/": "100000 100000\n"}, "/a", "/", 2.0, 2),
        # A container's own group is the top of what it sees.
        ({"": "150000 100000\n"}, "/docker/7f", "/docker/7f", 1.5, 2),
        ({"": "150000 100000\n"}, "/../../user.slice", "/", 1.5, 2),
    ],
)
def test_a_quota_of_version_2(
    tmp_path: Path, maxima: Mapping[str, str], own: str, mounted: str, quota: float, cores: int
) -> None:
    root = v2(tmp_path, maxima, own, mounted)
    assert cpu_quota(root) == quota
    assert num_cores(root) == cores


@pytest.mark.usefixtures("_four_cores")
@pytest.mark.parametrize(("us", "quota"), [("-1", None), ("75000", 1.5)])
def test_a_quota_of_version_1(tmp_path: Path, us: str, quota: float | None) -> None:
    folder = "sys/fs/cgroup/cpu,cpuacct"
    root = tree(
        tmp_path,
        "3:cpuset:/\n2:cpu,cpuacct:/pod/box\n0::/pod/box\n",
        V1_MOUNT.format("/", f"/{folder}"),
        {
            f"{folder}/pod/box/cpu.cfs_quota_us": f"{us}\n",
            f"{folder}/pod/box/cpu.cfs_period_us": "50000\n",
            f"{folder}/pod/box/cpu.stat": "nr_periods 90\nnr_throttled 7\nthrottled_time 8\n",
            f"{folder}/pod/cpu.cfs_quota_us": "-1\n",
            f"{folder}/pod/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cpu_quota(root) == quota
    assert num_periods(root) == (None if quota is None else (90, 7))


def test_the_periods_are_of_the_group_with_the_least_quota(tmp_path: Path) -> None:
    root = v2(tmp_path, {"a/": "200000 100000\n", "a/b/": "100000 100000\n"}, "/a/b")
    assert num_periods(root) is None  # they are not counted
    for name, throttled in (("a", 1), ("a/b", 5)):
        text = f"usage_usec 9\nnr_periods 20\nnr_throttled {throttled}\nthrottled_usec 3\n"
        (root / "sys/fs/cgroup" / name / "cpu.stat").write_text(text)
    assert num_periods(root) == (20, 5)


@pytest.mark.usefixtures("_four_cores")
def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert (cpu_quota(tmp_path), num_cores(tmp_path), num_periods(tmp_path)) == (None, 4, None)
