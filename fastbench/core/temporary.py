"""One folder for all temporary files of a run, which goes whatever ends the run.

The run's process removes it as it ends. If that is killed, the server of `child_process.py` removes
it; if both are, the next run, since nobody holds the lock in the folder any more.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import getpass
import os
import shutil
import tempfile
from multiprocessing import process
from pathlib import Path
from typing import IO, Final

from fastbench.core.errors import OutputError, os_errors_as
from fastbench.core.reading import open_regular

_PREFIX: Final = "fastbench-"
_LOCK: Final = "in-use"
# A socket's address has 107 bytes; multiprocessing adds "/pymp-" and "/listener-", each with 8
# letters.
_MAX_LENGTH: Final = 107 - 18 - 14


@functools.cache
def run_folder() -> str:
    """This process's folder; made by the first call, which also removes those of dead runs.

    Raises `OutputError` where no temporary file can be written.
    """
    remedy = "Set TMPDIR to a folder that can be written and has space."
    with os_errors_as(OutputError, "No temporary file can be written", remedy):
        folder = _new_folder(tempfile.gettempdir())
        # What multiprocessing makes, too. Its sockets need a short path.
        sockets = folder if len(os.fsencode(folder)) <= _MAX_LENGTH else _new_folder("/tmp")
    process.current_process()._config["tempdir"] = sockets  # type: ignore[attr-defined]
    return folder


def _new_folder(parent: str) -> str:
    for left in Path(parent).glob(f"{_PREFIX}*/"):
        if _is_left_behind(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    _held.append(open(Path(folder, _LOCK), "w"))  # noqa: SIM115 - held to the end
    fcntl.flock(_held[-1], fcntl.LOCK_EX)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


_held: list[IO[str]] = []


def folders() -> list[str]:
    """All that `run_folder` has made."""
    return [os.path.dirname(lock.name) for lock in _held]


def shared_folder() -> Path:
    """The folder of the run that this process is a part of, which its other processes have too."""
    folder = Path(tempfile.gettempdir())
    return folder if (folder / _LOCK).exists() else Path(run_folder())


def variables() -> dict[str, str]:
    """Environment variables by which a child's files are in this process's folder.

    What torch.compile makes stays where it would be without them: the next run need not compile.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = f"uid_{os.getuid()}"
    compiled = Path(tempfile.gettempdir(), f"torchinductor_{user}")
    return {
        "TMPDIR": run_folder(),
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR") or str(compiled),
    }


def place() -> str:
    """The folder in which temporary files are, without that of the run."""
    folder = Path(tempfile.gettempdir())
    return str(folder.parent if (folder / _LOCK).exists() else folder)


def _is_left_behind(folder: Path) -> bool:
    try:
        with open_regular(folder / _LOCK) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(file.fileno()).st_uid == os.geteuid()
    except OSError:  # there is none, it is held, or it is another user's
        return False
