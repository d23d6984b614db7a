"""What `tests/core/test_child_process.py` runs: a child that does what its job says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from fastbench.core.child_process import Channel
from fastbench.core.errors import LoaderError


def work(job: dict[str, Any], channel: Channel) -> None:
    """Answer, and then what `then` says."""
    facts = {
        "pid": os.getpid(),
        "got": job.get("value"),
        "stdin": sys.stdin.read(),
        "folder": os.environ.get("A_FOLDER"),
        "working folder": os.getcwd(),
        "path": sys.path,
        "main module": getattr(sys.modules["__mp_main__"], "__file__", None),
    }
    channel.send("facts", facts)
    tempfile.mkdtemp()  # which only a child that ends by itself could remove
    os.write(1, b"printed by a library\n")
    worker = None
    if job.get("worker"):  # which holds the pipe, as one that is forked does
        worker = subprocess.Popen(["sleep", "60"], pass_fds=(channel.messages.fileno(),))
        channel.send("worker", worker.pid)
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
        channel.send("hangs")
        time.sleep(60)
