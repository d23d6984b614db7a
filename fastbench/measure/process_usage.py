"""What processes have used so far: CPU time in user mode and in the kernel, and page faults."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
"""The kernel's unit of CPU time in `/proc`."""


@dataclass(frozen=True)
class Used:
    """What processes have used so far: CPU time in user mode and in the kernel, page faults."""

    user_s: float
    kernel_s: float
    num_faults: int

    def __add__(self, other: Used) -> Used:
        """The sum of both."""
        return Used(
            self.user_s + other.user_s,
            self.kernel_s + other.kernel_s,
            self.num_faults + other.num_faults,
        )


def used_by(whose: int) -> Used:
    """Of `resource.RUSAGE_SELF`, or of the children that have ended, `RUSAGE_CHILDREN`."""
    usage = resource.getrusage(whose)
    return Used(usage.ru_utime, usage.ru_stime, usage.ru_minflt + usage.ru_majflt)


def used_by_child(pid: int) -> Used:
    """Of a child and its own children that have ended. Raises `OSError` if it has ended itself."""
    # proc(5): its name, which may hold anything, ends with the last parenthesis.
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    faults, ended_faults, major, ended_major, user, system, *ended = map(int, fields[7:15])
    return Used(
        (user + ended[0]) * TICK_S,
        (system + ended[1]) * TICK_S,
        faults + ended_faults + major + ended_major,
    )
