"""What a run that is killed has started, and what it leaves."""

from __future__ import annotations

import collections
import contextlib
import os
import re
from pathlib import Path

import psutil


def family(tmpdir: Path) -> dict[str, list[psutil.Process]]:
    """The processes of a run by what they are; those that the system made for it under `other`."""
    found = collections.defaultdict(list)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if not process.environ().get("TMPDIR", "").startswith(str(tmpdir)):
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            above = [each.pid for each in process.parents()]
            depth = above.index(os.getpid()) if os.getpid() in above else -1
            # The run, its server, a row, the server of the row's workers, a worker.
            found[{0: "run", 2: "row", 4: "worker"}.get(depth, "other")].append(process)
    return found


def in_memory() -> set[str]:
    """The files in shared memory that no process has open, this run's or another's."""
    used = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            used |= {*re.findall(r"/dev/shm/(\S+)", (process / "maps").read_text())}
            used |= {os.path.basename(os.readlink(each)) for each in (process / "fd").iterdir()}
    return {*os.listdir("/dev/shm")} - used
