"""What `tests/core/test_child_process.py` runs: a child that does what its job says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

from fastbench.core.child_process import Channel, serve
from fastbench.core.errors import LoaderError


def work(job: dict[str, Any], channel: Channel) -> None:
    """Answer, and then what `then` says."""
    channel.send(
        pid=os.getpid(),
        got=job.get("value"),
        stdin=sys.stdin.read(),
        folder=os.environ.get("A_FOLDER"),
    )
    os.write(1, b"printed by a library\n")
    os.set_inheritable(channel.pipe, True)  # a worker has it, as one that is forked does
    worker = subprocess.Popen(["sleep", "60"], close_fds=False) if job.get("worker") else None
    if worker is not None:
        channel.send(worker=worker.pid)
    then = job.get("then")
    if then == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif then == "exit":
        os._exit(7)
    elif then == "fail":
        raise LoaderError("It failed.")
    elif then in ("hang", "stubborn"):
        if then == "stubborn":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        channel.send(hangs=True)
        time.sleep(60)


if __name__ == "__main__":
    sys.exit(serve(work))
