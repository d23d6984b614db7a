"""Tar archives that are read and not trusted: errors name the archive, and sizes have a bound."""

from __future__ import annotations

import contextlib
import lzma
import tarfile
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, DataNotFoundError, first_line, os_errors_as
from fastbench.core.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COPY_AGAIN: Final = "Copy or download it again."
_TAR_BLOCK: Final = 512
_LARGEST: Final = 1 << 30
"""Bytes of an archive's file: no JPEG that decodes has more, and it is read whole."""
LARGEST_TEXT: Final = 1 << 24
"""Bytes of a label, or of an archive's own notes on a file."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise what reading a file or an archive can raise as a `DataError` that names it."""
    remedy = "Check its permissions, or copy or download it again."
    try:
        with os_errors_as(DataError, f"{path} cannot be read", remedy):
            yield
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path} is not a whole tar archive ({first_line(error).rstrip(': ')}). {COPY_AGAIN}"
        ) from error


@contextlib.contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive, compressed or not; errors while it is open name it."""
    if not path.is_file():
        what = "is a folder, not an archive" if path.is_dir() else "does not exist"
        raise DataNotFoundError(f"{path} {what}. Name a tar archive.")
    with reading(path), tarfile.open(path, "r:*", tarinfo=_Header) as tar:
        yield tar


class _Header(tarfile.TarInfo):
    """A header that is no file's, such as a long name, has a bound: tarfile reads it whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if not header.isreg() and header.size > LARGEST_TEXT:
            raise tarfile.ReadError(f"a header of {format_bytes(header.size)}")
        return header


def list_members(tar: tarfile.TarFile, path: Path) -> list[tarfile.TarInfo]:
    """All files of an archive, in its order.

    Raises `DataError` where the archive is cut off, or holds a path that leads out of it, a file
    twice, one too large for an image, or anything but files and folders.
    """
    members = [member for member in tar if _is_file(member, path)]
    # tarfile takes a damaged header for the archive's end, which is a block of zeros.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):
        last = f"after {members[-1].name}" if members else "at its start"
        raise DataError(f"{path} is not a whole tar archive (it breaks off {last}). {COPY_AGAIN}")
    while tar.fileobj.read(1 << 20):
        pass  # the checksum of a compressed archive is at its very end
    name, times = next(iter(Counter(member.name for member in members).most_common(1)), ("", 0))
    if times > 1:
        raise DataError(f"{path} holds {name!r} {times} times. Pack it again, each file once.")
    return members


def _is_file(member: tarfile.TarInfo, path: Path) -> bool:
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise DataError(
            f"{path} holds {member.name!r}, a path that leads out of the archive. "
            "Do not trust it: nothing was unpacked."
        )
    if not (member.isfile() or member.isdir()):
        raise DataError(
            f"{path} holds {member.name!r}, which is a link or a device, not a file. "
            "Pack the files themselves (tar --dereference --hard-dereference)."
        )
    _check_size(member, path, _LARGEST)
    return member.isfile()


def _check_size(member: tarfile.TarInfo, path: object, most: int) -> None:
    if member.size > most:
        raise DataError(
            f"{path} holds {member.name!r} of {format_bytes(member.size)}, where at most "
            f"{format_bytes(most)} are read. Do not trust it, or pack it again without that file."
        )


def read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, most: int = _LARGEST) -> bytes:
    """The bytes of one file of an archive; raises `DataError` if it has more than `most`."""
    _check_size(member, tar.name, most)
    file = tar.extractfile(member)
    assert file is not None  # not a folder, a link or a device
    return file.read()
