"""The cores that this process may use: its affinity, and the CPU quota of its control groups.

A quota (`docker run --cpus`, a limit of Kubernetes) is a time that all processes of a group may
take in each period, mostly 100 ms, on any cores. When it is used up, they all stand still until the
next period: they are throttled. A group's parents may have a quota too. Both versions of control
groups are read. `root` is the folder that has `proc` and `sys`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = Path("/")


def num_cores(root: Path = _ROOT) -> int:
    """Cores that this process may use at a time; part of one, by a quota, counts as one."""
    allowed = len(os.sched_getaffinity(0))
    quota = cpu_quota(root)
    return allowed if quota is None else min(allowed, math.ceil(quota))


def has_vnni(root: Path = _ROOT) -> bool:
    """Whether the CPU adds products of 8 bits in 32 bits: with VNNI on x86, always on others."""
    flags = {*read_text(root / "proc/cpuinfo").split()}
    return "avx512_vnni" in flags or "avx_vnni" in flags or "sse2" not in flags


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores that the quota is worth, 0.5 for half of one's time; None without a quota."""
    return min((cores for _, cores in _quotas(root)), default=None)


def num_periods(root: Path = _ROOT) -> tuple[int, int] | None:
    """Periods so far of the group with the least quota, and how many of them were throttled.

    None without a quota, or if the kernel does not count them.
    """
    quotas = list(_quotas(root))
    if not quotas:
        return None
    folder, _ = min(quotas, key=lambda quota: quota[1])
    counts = dict(line.split() for line in read_text(folder / "cpu.stat").splitlines())
    if not {"nr_periods", "nr_throttled"} <= {*counts}:
        return None
    return int(counts["nr_periods"]), int(counts["nr_throttled"])


def _quotas(root: Path) -> Iterator[tuple[Path, float]]:
    """The groups around this process that have a quota, and what it is worth in cores."""
    for folder in _groups(root):
        given = read_text(folder / "cpu.max").split() or [
            read_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
        ]
        # `max` and -1 stand for no quota.
        if len(given) == 2 and all(each.isdecimal() and int(each) for each in given):
            yield folder, int(given[0]) / int(given[1])


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's groups and of their parents, as far as they are mounted."""
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        fields, _, kind = line.partition(" - ")
        version, *_, options = kind.split()
        if not (version == "cgroup2" or (version == "cgroup" and "cpu" in options.split(","))):
            continue
        mounted, where = fields.split()[3:5]
        top = folder = root / where.lstrip("/")
        own = Path(_own_group(root, version))
        # In a container the mount may show less than the path names; its top is then the group.
        if own.is_relative_to(mounted):
            folder = top / own.relative_to(mounted)
        while folder.is_relative_to(top):
            yield folder
            folder = folder.parent


def _own_group(root: Path, version: str) -> str:
    """The path of this process's group, from `0::/path` or `3:cpu,cpuacct:/path`."""
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" if version == "cgroup2" else "cpu" in controllers.split(","):
            return path
    return ""


def read_text(path: Path) -> str:
    """A file's text; empty if it cannot be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
