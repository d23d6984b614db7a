"""The server that children are forked from keeps to itself: its signals, its output, its end.

`child_process.py` has the server import this module before all others, and sets an environment
variable; without that, importing it does nothing.
"""

import atexit
import os
import shutil
import time

from fastbench.core.child_process import FOLDER_VARIABLE


def _keep_to_itself(folder: str) -> None:
    # What a terminal or `timeout` sends to the parent's group would end the children's parent.
    os.setpgid(0, 0)
    with open(os.devnull, "wb") as nothing:
        for standard in (1, 2):
            os.dup2(nothing.fileno(), standard)
    parent = os.getppid()

    def clean_up() -> None:
        # The pipe that ends the server closes a moment before the parent is gone.
        deadline = time.monotonic() + 1
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(0.01)
        if os.getppid() != parent:  # which was killed, and cannot clean up
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(clean_up)


if FOLDER_VARIABLE in os.environ:
    _keep_to_itself(os.environ.pop(FOLDER_VARIABLE))
