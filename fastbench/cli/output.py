"""Results go to stdout, errors to stderr."""

from __future__ import annotations

import re
import sys
from typing import Final

from fastbench.core import terminal
from fastbench.core.debugging import is_debugging, traceback_of
from fastbench.core.errors import FastbenchError
from fastbench.records.record import FailedRow

_LONG: Final = re.compile(r"(\S{80})\S{4096,}")
"""A name that is as long as the command line allows: no screen has room for it."""


def say(text: str) -> None:
    """A line of result, on stdout."""
    terminal.write(text + "\n")


def complain(what: str | FastbenchError | FailedRow) -> None:
    """A line of error, on stderr; when debugging, its traceback above it."""
    error = what.error if isinstance(what, FailedRow) else what
    if is_debugging() and isinstance(error, FastbenchError):
        sys.stderr.write(f"\n{traceback_of(error)}\n")
    text = _LONG.sub(r"\1...", f"fastbench: {what}\n")
    sys.stderr.write(terminal.printable(text))
