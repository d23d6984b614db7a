"""The stack on which this thread handles signals, which some libraries replace.

OpenVINO's plugin for CPUs sets one of its own and puts back the one before when it is unloaded. Of
two, the second puts back the first one's, which is gone by then: the next signal that Python
handles, such as that of a DataLoader's worker that ends, kills the process.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (
        ("ss_sp", ctypes.c_void_p),
        ("ss_flags", ctypes.c_int),
        ("ss_size", ctypes.c_size_t),
    )


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Put this thread's stack back after the block."""
    before = current()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)


def current() -> _Stack:
    """This thread's stack for signals."""
    found = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found
