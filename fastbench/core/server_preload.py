"""What the server that children are forked from does first: shut itself off from the terminal.

The server of `child_process.py` imports this module before all others. In any other process, where
an environment variable is not set, importing it does nothing.
"""

import atexit
import contextlib
import gc
import os
import shutil
import time

from fastbench.core.child_process import FOLDERS_VARIABLE


def _shut_off(folders: list[str]) -> None:
    # A terminal's or `timeout`'s signal to the parent's group must not end the server.
    os.setpgid(0, 0)
    with open(os.devnull, "wb") as nothing:
        for standard in (1, 2):
            os.dup2(nothing.fileno(), standard)
    # What is imported here stays. Looking for garbage in it takes a fifth of the imports' time, and
    # copies its memory into each child.
    gc.disable()
    os.register_at_fork(before=gc.freeze, after_in_child=gc.enable)
    parent = os.getppid()

    def clean_up() -> None:
        # The server ends when a pipe closes, a moment before its parent is gone.
        deadline = time.monotonic() + 1
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(0.01)
        if os.getppid() == parent:
            return
        # It was killed, so it cannot clean up itself. The children end with it.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] or time.monotonic() < deadline + 10:
                time.sleep(0.01)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(clean_up)


if FOLDERS_VARIABLE in os.environ:
    _shut_off(os.environ.pop(FOLDERS_VARIABLE).split("\n"))
