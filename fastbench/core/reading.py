"""Files that a user names, or that lie where anybody can put them: none of them makes us wait.

To open a FIFO waits for somebody who writes, and /dev/zero has no end. So only regular files are
read.
"""

from __future__ import annotations

import errno
import importlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import UsageError

if TYPE_CHECKING:
    from io import BufferedReader

_MOST_BYTES: Final = 2**30
"""Of a file that is read at once: a list of ten million images, or a record of a million steps."""
_MOST_SHOWN: Final = 80
# Also a file where a folder should be, and a link that leads to itself.
_NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def check_working_folder() -> None:
    """Raise `UsageError` if the working folder was deleted: MKL then ends the process, say."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UsageError(
            "The folder in which fastbench was started has been deleted. Change to another one."
        ) from error


def look_here_first() -> None:
    """Have modules of the current folder found, as `python -m` does, and those that are new."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()


def user_path(text: str | Path) -> Path:
    """The path that a user gave, with `~` replaced; nothing need be there.

    Raises `UsageError` where nothing can be there: the path is too long, a folder on the way to it
    may not be entered, or there is no such user.
    """
    path = os.path.expanduser(text)
    if path.startswith("~") and not os.path.lexists(path):
        raise UsageError(f"{path} begins with a user who is not there. Name another path.")
    try:
        os.stat(path)
    except ValueError as error:
        raise UsageError(f"The path {path!r} has a zero byte. Name another.") from error
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            shown = path if len(path) <= _MOST_SHOWN else f"{path[:_MOST_SHOWN]}..."
            raise UsageError(
                f"The path {shown} cannot be used ({error.strerror}). Name another."
            ) from error
    return Path(path)


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading. Raises `OSError` for anything else."""
    return open(path, "rb", opener=_opener)


def read_regular(path: str | Path) -> bytes:
    """The bytes of a regular file. Raises `OSError` for anything else, and above 1 GiB."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.read()


def _opener(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a socket, or a device that is not there
            raise
        raise _not_regular(path) from error
    mode = os.fstat(descriptor).st_mode
    # `open` itself refuses a folder.
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return descriptor
    os.close(descriptor)
    raise _not_regular(path)


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "it is not a regular file", path)
