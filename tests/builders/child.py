"""What `tests/core/test_child_process.py` runs: a child that does what its job says."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from fastbench.core import watchdog
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
    if then == "start workers":
        for _ in range(2):
            channel.send("worker", *_ask_a_worker(job))
    elif then == "wait too long":
        watchdog.start(often_s=0.05)
        with watchdog.limited("nothing", 60):
            time.sleep(0.2)
        with watchdog.limited("a batch", 0.1):
            ctypes.CDLL(None).sleep(60)  # where Python would only note a signal
    elif then == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif then == "close the pipe":
        channel.messages.close()
        time.sleep(60)
    elif then == "exit":
        os._exit(7)
    elif then == "fail":
        raise LoaderError("It failed.")
    elif then in ("hang", "stubborn"):
        if then == "stubborn":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        channel.send("hangs")
        time.sleep(60)


def _ask_a_worker(job: dict[str, Any]) -> tuple[list[str], int]:
    """What a worker has imported of `job["modules"]`, and its parent; which is then killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fastbench.core.progress"])
    ours, theirs = context.Pipe()
    context.Process(target=_say, args=(theirs, job["modules"])).start()
    theirs.close()
    found, parent = ours.recv()
    os.kill(parent, signal.SIGKILL)
    os.waitid(os.P_PID, parent, os.WEXITED | os.WNOWAIT)
    return found, parent


def _say(ends: Any, modules: list[str]) -> None:
    ends.send(([name for name in modules if name in sys.modules], os.getppid()))
