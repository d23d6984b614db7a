"""The server that a row's workers are forked from: a fork of the row's process as it starts.

That has torch imported, has no threads yet, and has not touched CUDA. A server that starts anew
imports torch again, which takes about ten CPU seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from multiprocessing import util
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

_MAX_BYTES: Final = 2**16
_MAX_FDS: Final = 16


def fork_server(not_inherited: Connection) -> None:
    """Fork what becomes the server when `multiprocessing` starts one, for the first worker.

    It does not keep `not_inherited` open, whose reader waits for this process's end. Raises
    `OSError` if no process can be started.
    """
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                not_inherited.close()
                _become_the_server(theirs)
            finally:
                os._exit(0)  # what is registered for the end is the other process's to do
    spawn = util.spawnv_passfds

    def spawn_here(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
        words = [os.fsdecode(word) for word in args]
        message = json.dumps((words, list(passfds))).encode()
        if "forkserver" not in " ".join(words) or len(message) > _MAX_BYTES:
            return spawn(path, args, passfds)
        util.spawnv_passfds = spawn  # one that has died is started anew
        with ours:
            socket.send_fds(ours, [message], passfds)
        return pid

    util.spawnv_passfds = spawn_here


def _become_the_server(asked: socket.socket) -> None:
    """Run `python -c PROGRAM`, with these file descriptors under their numbers, in this process."""
    message, fds, *_ = socket.recv_fds(asked, _MAX_BYTES, _MAX_FDS)
    if not message:  # the row has ended
        return
    argv, numbers = json.loads(message)
    # At first above all of the numbers, so that none replaces another.
    fds = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1) for fd in fds]
    for fd, number in zip(fds, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    after = argv.index("-c") + 1
    sys.argv = ["-c", *argv[after + 1 :]]
    exec(argv[after], {})
