"""Ends this process when it waits too long, also in code that heeds neither Ctrl-C nor Python.

One wait at a time, of the main thread. Where `start` was not called, nothing is ended.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from fastbench.core.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNAL: Final = signal.SIGALRM
"""What ends the process; the last line of its stderr says what it has waited for."""
_OFTEN_S: Final = 5.0


class _Wait:
    what = ""
    limit_s = 0.0
    end_s = math.inf


def begin(what: str, limit_s: float) -> None:
    """A wait for `what` begins, as in "10 min for `what`"; microseconds, for it is timed."""
    _Wait.what, _Wait.limit_s = what, limit_s
    _Wait.end_s = time.monotonic() + limit_s


def end() -> None:
    """The wait is over."""
    _Wait.end_s = math.inf


@contextlib.contextmanager
def limited(what: str, limit_s: float) -> Iterator[None]:
    """The block waits for `what`, at most so many seconds."""
    begin(what, limit_s)
    try:
        yield
    finally:
        end()


def start(often_s: float = _OFTEN_S) -> None:
    """Look so often whether the wait is too long, in a thread."""
    threading.Thread(target=_look, args=(often_s,), name="fastbench-watchdog", daemon=True).start()


def _look(often_s: float) -> None:
    while True:
        time.sleep(often_s)
        if time.monotonic() > _Wait.end_s:
            said = f"The row was ended after {format_seconds(_Wait.limit_s)} of waiting for "
            os.write(2, f"\n{said}{_Wait.what}.\n".encode(errors="replace"))
            os.kill(os.getpid(), SIGNAL)
