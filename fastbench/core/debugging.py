"""`--debug`: what is done is logged to stderr, and an error is shown with its traceback.

Nothing is logged for each batch, so debugging does not slow the timed passes.
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
"""Set to anything but 0, it does what `--debug` does."""
LOGGER: Final = logging.getLogger("fastbench")


def is_debugging() -> bool:
    """Whether `--debug` is on, here or in the process that started this one."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


@contextlib.contextmanager
def debugging(asked: bool, handler: logging.Handler | None = None) -> Iterator[None]:
    """Log to `handler` (default: stderr) if `asked`, or if the environment asks for it."""
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
    """The error's traceback, after those of its causes.

    An error that another process has sent carries that process's traceback as a note. It is shown
    alone: where this process received the error says nothing.
    """
    notes: list[str] = getattr(error, "__notes__", [])
    return "".join(notes or traceback.format_exception(error))


class _ToStderr(logging.Handler):
    """Write to the `sys.stderr` of the moment, so that lines stand above a live display."""

    def __init__(self) -> None:
        super().__init__()
        line = "%(asctime)s.%(msecs)03d %(process)d %(name)s: %(message)s"
        self.setFormatter(logging.Formatter(line, "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")
