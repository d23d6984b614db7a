"""`--debug`: what is done is logged to stderr, and an error shows where it came from.

Nothing is logged a batch, so that debugging costs the timed passes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE: Final = "FASTBENCH_DEBUG"
"""Set, it is as `--debug` is, in this process and in those that it starts."""
LOGGER: Final = logging.getLogger("fastbench")


def is_debugging() -> bool:
    """Whether to show what is done and where an error came from."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


@contextlib.contextmanager
def debugging(asked: bool, handler: logging.Handler | None = None) -> Iterator[None]:
    """Log to the handler, else to stderr, if that is asked for here or in the environment."""
    with contextlib.ExitStack() as stack:
        if asked and not is_debugging():
            os.environ[VARIABLE] = "1"
            stack.callback(os.environ.pop, VARIABLE, None)
        if is_debugging():
            handler = handler or _ToStderr()
            LOGGER.addHandler(handler)
            stack.callback(LOGGER.removeHandler, handler)
            LOGGER.setLevel(logging.DEBUG)
            stack.callback(LOGGER.setLevel, logging.NOTSET)
        yield


def traceback_of(error: BaseException) -> str:
    """The error's traceback, after those of its causes."""
    return "".join(traceback.format_exception(error))


class _ToStderr(logging.Handler):
    """To what `sys.stderr` is at the time, which lets the lines stand above a live display."""

    def __init__(self) -> None:
        super().__init__()
        line = "%(asctime)s.%(msecs)03d %(process)d %(name)s: %(message)s"
        self.setFormatter(logging.Formatter(line, "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")
