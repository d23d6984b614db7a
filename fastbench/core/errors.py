"""The errors of fastbench, one class for each way in which a run can end badly.

An error's text is one sentence that names the thing, and one that says what to do next. Errors of
other libraries are raised again as one of these where they arise, `from` the cause. Only `cli.main`
turns them into a line on stderr and an exit code:

    0     done
    1     a run failed, or a file cannot be read or written
    2     the command line asks for something that is not there (`UsageError`)
    3     the run worked and its predictions are wrong: a gate of accuracy or parity did not pass
          (`gates.py`), or a comparison found them worse (`worsening.py`)
    130   Ctrl-C, SIGTERM or SIGHUP (128 + SIGINT, as a shell reports it)
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXIT_WRONG = 3
EXIT_INTERRUPTED = 130

LEAVE_OUT = "leave it out with --on-error skip."
_PLACES = ("Exception from src/", "Check '")
REPLACE = f"Replace or remove the file, or {LEAVE_OUT}"


class FastbenchError(Exception):
    """A run failed; the text says of what, and what to do next.

    `records` are the rows that were measured before, where `fastbench.run` or `loadtest` raises it.
    """

    exit_code: ClassVar[int] = 1
    records: Sequence[Any] = ()


class UsageError(FastbenchError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No model, loader, engine or set of weights has this name."""


class OutputError(FastbenchError):
    """A file or a folder cannot be written."""


class DataError(FastbenchError):
    """The images cannot be used."""


class DataNotFoundError(DataError):
    """The folder is missing, or there are no images in it."""


class CorruptImageError(DataError):
    """A file is not the image that its name promises.

    `path` is the file, or its place in an archive; `what` goes on from its name ("is cut off");
    `remedy` is a sentence.
    """

    def __init__(self, path: object, what: str, remedy: str = REPLACE) -> None:
        # As they were given: unpickling calls this again with them.
        super().__init__(str(path), what, remedy)
        self.path = str(path)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path} {self.what}. {self.remedy}"


class WeightsError(FastbenchError):
    """The weights cannot be had, or do not fit the model."""


class ModelError(FastbenchError):
    """A model cannot be made or run, or gives something else than logits."""


class LoaderError(FastbenchError):
    """A loader failed, or broke its contract (lost, repeated or reordered samples)."""


class LoaderFailedError(LoaderError):
    """A loader raised an error of its own; `why` is that in words, without the loader's name."""

    def __init__(self, text: str, why: str = "") -> None:
        super().__init__(text)
        self.why = why


class LoaderMissingError(LoaderError):
    """A loader cannot run here: its package or its device is missing."""


class EngineMissingError(FastbenchError):
    """An engine cannot run here: its package, its provider or its device is missing."""


class DeviceError(FastbenchError):
    """There is no such device, or it failed."""


class OutOfMemoryError(DeviceError):
    """The model and its batch do not fit into the device's memory."""


class InstallationError(FastbenchError):
    """A package cannot be imported, or torch and torchvision do not fit each other."""


class CompileError(FastbenchError):
    """torch.compile could not compile the model."""


class LimitError(FastbenchError):
    """A limit of the system was reached: of memory, open files, processes or threads."""


class CrashError(FastbenchError):
    """The process in which a row was measured died, or ended without a result.

    `status` is its exit status, negative for a signal.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class RowsFailedError(FastbenchError):
    """Rows of `run` or `loadtest` failed. `failed` has each, with its own error as `error`."""

    def __init__(self, text: str, failed: Sequence[Any] = ()) -> None:
        super().__init__(text)
        self.failed = failed


class RankLostError(FastbenchError):
    """Another rank has ended, so this one cannot go on. Why it ended is said of that one."""


class RecordError(FastbenchError):
    """A file is not a record that this version can read, or would not be one if it was written."""


def did_you_mean(name: str, known: list[str]) -> str:
    """`" Did you mean 'x'?"` for the nearest known name, or an empty text."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def first_line(error: object) -> str:
    """The first line of an error's text, without its full stop; its type where it has no text.

    Lines that only name a place in OpenVINO's code, as its errors begin, are left out.
    """
    lines = (line.strip().rstrip(".") for line in str(error).splitlines())
    told = (line for line in lines if line and not line.startswith(_PLACES))
    return next(told, type(error).__name__)


def kind_and_line(error: BaseException) -> str:
    """`ValueError: no such thing`: an error's type and the first line of its text."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


@contextlib.contextmanager
def errors_as(kind: type[FastbenchError], what: str, remedy: str) -> Iterator[None]:
    """Raise another library's error as `kind`: what has failed, why, and the remedy."""
    try:
        yield
    except FastbenchError:
        raise
    except Exception as error:
        raise kind(f"{what} ({kind_and_line(error)}). {remedy}") from error


@contextlib.contextmanager
def os_errors_as(kind: type[FastbenchError], what: str, remedy: str) -> Iterator[None]:
    """Raise an `OSError` as `kind`, with the system's words for it."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what} ({error.strerror or error}). {remedy}") from error
