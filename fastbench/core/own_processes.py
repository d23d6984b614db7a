"""How `multiprocessing` starts fastbench's processes, where it starts the caller's own too.

It has a new process import the main module of the one that asked for it: a script without
`if __name__ == "__main__":` would run again there, up to the same call. What fastbench sends to its
processes is of modules of its own, so that they can do without.

It forks all processes from one server. That of fastbench has torch imported, and no terminal: what
the caller's processes print would be lost. So fastbench has a server of its own.
"""

from __future__ import annotations

import contextlib
import threading
from multiprocessing import forkserver, spawn
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

server: Final = forkserver.ForkServer()
"""Of this process; that of a row's child, whose workers have another, is never started."""
_prepare: Final = spawn.get_preparation_data
_connect: Final = forkserver.connect_to_new_process
_thread = threading.local()


@contextlib.contextmanager
def started() -> Iterator[None]:
    """What this thread starts meanwhile is fastbench's; what other threads start need not be."""
    before = _is_ours()
    _thread.is_ours = True
    try:
        yield
    finally:
        _thread.is_ours = before


def _is_ours() -> bool:
    return getattr(_thread, "is_ours", False)


def _get_preparation_data(name: str) -> dict[str, Any]:
    """What `multiprocessing` tells a new process before its work."""
    told = _prepare(name)
    if _is_ours():
        for key in ("init_main_from_name", "init_main_from_path"):
            told.pop(key, None)
    return told


def _connect_to_new_process(fds: Any) -> tuple[int, int]:
    """Ask the server for a process."""
    from_own = _is_ours() and getattr(server, "_forkserver_pid", None) is not None
    return (server.connect_to_new_process if from_own else _connect)(fds)


spawn.get_preparation_data = _get_preparation_data
forkserver.connect_to_new_process = _connect_to_new_process
