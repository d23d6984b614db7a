"""Results on their way to a terminal or a spreadsheet, which may not obey what they are shown.

A file, a class or a model may have any name. A terminal would follow the escape sequences in it,
and a spreadsheet would compute what looks like a formula.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import sys
from typing import IO, TYPE_CHECKING, Any, Final

from fastbench.core.errors import FastbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

MIN_WIDTH: Final = 40
"""Columns of a terminal: below that, and for COLUMNS=0, no table is legible."""

# The C0 and C1 control characters but tab and line feed; those that turn the direction of text.
_CONTROLS: Final = (
    *(range(0x20), range(0x7F, 0xA0), range(0x200E, 0x2010), range(0x2028, 0x202F)),
    *(range(0x2066, 0x206A), range(0x61C, 0x61D)),
)
_SHOWN: Final = {
    code: f"\\u{code:04x}" for codes in _CONTROLS for code in codes if chr(code) not in "\t\n"
}
# Bytes of a file's name that are no text.
_NO_TEXT: Final = {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}

_UNPRINTABLE: Final = _SHOWN | _NO_TEXT
"""None of it is `str.isprintable`."""

_FORMULAS: Final = ("=", "+", "-", "@", "\t")


class StdoutError(FastbenchError):
    """What stdout goes to is full, or closed."""


class Stdout(io.TextIOWrapper):
    """Python's stdout, taken over: what its encoding lacks is shown by ASCII, or is an escape.

    Raises `StdoutError` for what cannot be written, but `BrokenPipeError` when the reader has gone.
    """

    def __init__(self, stdout: io.TextIOWrapper) -> None:
        encoding, is_line_buffered = stdout.encoding, stdout.line_buffering
        writes_through = stdout.write_through
        super().__init__(
            stdout.detach(),
            encoding,
            errors=_LIKE,
            line_buffering=is_line_buffered,
            write_through=writes_through,
        )

    def write(self, text: str) -> int:
        """As `TextIOWrapper.write`."""
        with _writing_stdout():
            return super().write(text)

    def flush(self) -> None:
        """As `TextIOWrapper.flush`."""
        with _writing_stdout():
            super().flush()


@contextlib.contextmanager
def _writing_stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(
            f"stdout cannot be written ({error.strerror}). Send it to another place."
        ) from error


def _like(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of `codecs`: what looks like the character, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character in _ASCII:
        return _ASCII[character], error.start + 1
    return codecs.backslashreplace_errors(error)


_LIKE: Final = "fastbench.like"
_ASCII: Final = dict(zip("─═·–−Δ→▸…×µ", "-=*--d>>.xu", strict=True))
codecs.register_error(_LIKE, _like)


def printable(text: str) -> str:
    r"""The text, with what controls a terminal and what is no text as in JSON: `\u001b`."""
    return text if text.isprintable() else text.translate(_UNPRINTABLE)


def write(text: str) -> None:
    """Write a result to stdout."""
    sys.stdout.write(printable(text))


def console(file: IO[str] | None = None, **options: Any) -> Console:
    """A console of rich that prints no control characters but its own."""
    from rich.console import Console

    class Printable(Console):
        def render(self, *args: Any, **kwargs: Any) -> Any:
            for segment in super().render(*args, **kwargs):
                text = segment.text if segment.control else printable(segment.text)
                yield segment._replace(text=text)

    made = Printable(file=file, **options)
    made.width = max(made.width, MIN_WIDTH)
    return made


def write_csv(file: IO[str], lines: Iterable[Sequence[object]]) -> None:
    """Write lines of CSV, with an apostrophe before text that would be taken for a formula."""
    csv.writer(file, lineterminator="\n").writerows([*map(_cell, line)] for line in lines)


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(_FORMULAS) else "") + value.translate(_SHOWN)
