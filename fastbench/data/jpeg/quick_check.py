"""Whether a file is the JPEG that its name promises: by its header and its end, or by decoding it.

The quick look (`check_frame`) takes a few short reads a file, so every run begins with it: what is
empty, cut off, of another format, of more than 8 bits, too large for Pillow or of too many scans is
named before any time is measured. So is damage before the image data, over which Pillow reads and
of which DALI dies. Whether the bytes between are sound only decoding tells (`find_corrupt`).

Neither finds damage that still decodes: libjpeg fills what is missing with grey, and flipped bits
give other pixels. Every decoder then sees the same garbage.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import LEAVE_OUT, CorruptImageError, first_line
from fastbench.core.reading import open_regular
from fastbench.data.jpeg.header import END_OF_IMAGE, START_OF_IMAGE, read_header
from fastbench.data.jpeg.scans import MOST_SCANS, has_too_many_scans

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    import numpy as np

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"RIFF", "a WebP"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
)
END: Final = 4096
"""Bytes at either end of a file by which one photograph is told from another of equal size."""
_BYTES: Final = re.compile(r"<_io\.BytesIO[^>]*>")
"""What Pillow calls a file that is in memory."""
_MOST_PIXELS: Final = 178_956_970
"""Pillow, the reference's decoder, refuses larger images: twice its `MAX_IMAGE_PIXELS`."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A file's size in bytes, its image's (width, height) in pixels, and whether it is stored in a
    rare way (see `JpegHeader`). `modified_ns` is the file's time, `ends` the SHA-256 of its first
    and last `END` bytes, in hex.
    """

    num_bytes: int
    size: tuple[int, int]
    is_unusual: bool
    modified_ns: int
    ends: str


def check_frame(path: Path) -> Frame:
    """Check a file's header and last bytes.

    Raises `CorruptImageError` for a file that is empty, unreadable, cut off, no JPEG that the
    reference can decode, or damaged before its image data.
    """
    header, damage = None, ""
    try:
        with open_regular(path) as file:
            head = file.read(END)
            status = os.fstat(file.fileno())
            num_bytes = status.st_size
            file.seek(max(0, num_bytes - END))
            tail = file.read(END)
            if head.startswith(START_OF_IMAGE):
                try:
                    header = read_header(file)
                except ValueError as error:  # the decoder's reason goes first, below
                    damage = str(error)
            has_one_scan = header is not None and header.has_one_scan
            is_rare = not has_one_scan and has_too_many_scans(file)
    except OSError as error:
        raise CorruptImageError(
            path,
            f"cannot be read ({error.strerror})",
            f"Check its permissions, or {LEAVE_OUT}",
        ) from error
    if num_bytes == 0:
        raise CorruptImageError(path, "is empty (0 bytes)")
    if not head.startswith(START_OF_IMAGE):
        kind = next((kind for magic, kind in _SIGNATURES if head.startswith(magic)), None)
        what = f"is {kind} file with a JPEG's name" if kind else "is not a JPEG file"
        raise CorruptImageError(path, what, f"Convert it to JPEG, or {LEAVE_OUT}")
    # Most files end with the marker. Some sound ones have bytes after it: those are decoded.
    if header is None or header.precision != 8 or header.width * header.height > _MOST_PIXELS:
        is_rare = True
    if (is_rare or not tail.endswith(END_OF_IMAGE)) and (found := find_corrupt([str(path)])):
        if header is not None and header.precision != 8:
            raise CorruptImageError(
                path,
                f"has {header.precision} bits a sample, which the reference cannot decode",
                f"Convert it to 8 bits, or {LEAVE_OUT}",
            ) from found
        raise found
    if header is None:
        raise CorruptImageError(
            path,
            f"is damaged ({damage}), on which some decoders fail or crash",
            f"Save it anew, or {LEAVE_OUT}",
        )
    return Frame(
        num_bytes,
        size=(header.width, header.height),
        is_unusual=header.is_unusual,
        modified_ns=status.st_mtime_ns,
        ends=hashlib.sha256(head + tail).hexdigest(),
    )


def find_corrupt(paths: Iterable[str]) -> CorruptImageError | None:
    """Decode files one by one; the error that names the first that does not decode, or None."""
    for path in paths:
        if (error := decoding_error(path)) is not None:
            return corrupt(path, error)
    return None


def decoding_error(source: str | BinaryIO) -> Exception | None:
    """What Pillow raises when it decodes a file; None where it decodes.

    A `ValueError` for a file that would keep it busy for minutes (see `scans.py`).
    """
    from PIL import Image

    try:
        with open_regular(source) if isinstance(source, str) else nullcontext(source) as file:
            if has_too_many_scans(file):
                return ValueError(f"it has more than {MOST_SCANS} scans, each of the whole image")
        with Image.open(source) as image:
            image.load()
    # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:  # noqa: BLE001
        return error
    return None


def corrupt(path: str | Path, reason: object) -> CorruptImageError:
    """The error for one file that cannot be decoded, with the decoder's own reason."""
    text = _BYTES.sub("'the file'", first_line(reason).replace(str(path), "the file"))
    return CorruptImageError(path, f"cannot be decoded ({text})")


def not_read(
    path: str, loader: str, reason: object, data: np.ndarray | None = None
) -> CorruptImageError:
    """The error for a file that a loader did not read; `data` are its bytes if it had those.

    Where Pillow does not read it either, the reason is Pillow's.
    """
    error = decoding_error(path if data is None else io.BytesIO(data.data))
    if error is not None:
        return corrupt(path, error)
    return CorruptImageError(
        path,
        f"is read by Pillow, and not by the loader {loader!r} ({first_line(reason)})",
        f"Use another --loader, remove the file, or {LEAVE_OUT}",
    )
