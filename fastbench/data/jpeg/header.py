"""What a JPEG's header says, read without decoding anything.

Segments are walked up to the first frame header (ITU-T T.81, annex B), which takes one or two short
reads a file. It says how large a decoder's buffers will get, and which files a decoder cannot take
(CMYK, 12 bits), before time is measured.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import BinaryIO

START_OF_IMAGE: Final = b"\xff\xd8\xff"
"""The marker, and the first byte of the next one."""
END_OF_IMAGE: Final = b"\xff\xd9"

_CHUNK: Final = 4096
# SOF0 to SOF15; C4, C8 and CC share the range and are tables, an extension and conditioning.
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Width and height in pixels, colour components (1, 3 or 4), and bits a sample."""

    width: int
    height: int
    num_components: int
    precision: int


def read_header(file: BinaryIO) -> JpegHeader:
    """Read the frame header of the JPEG that begins at the file's start.

    Raises `ValueError`, with the reason, where there is none.
    """
    file.seek(0)
    data = file.read(_CHUNK)
    start = 0  # where `data` begins in the file
    if data[:2] != b"\xff\xd8":
        raise ValueError("no start-of-image marker")
    place = 2
    while True:
        if place + 10 > start + len(data):
            file.seek(place)
            start, data = place, file.read(_CHUNK)
        here = place - start
        if len(data) < here + 4:
            raise ValueError("the file ends before its frame header")
        if data[here] != 0xFF:
            raise ValueError("a segment is damaged before the frame header")
        marker = data[here + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            place += 1
            continue
        if marker in _STANDALONE:
            place += 2
            continue
        if marker in _FRAME_HEADERS:
            if len(data) < here + 10:
                raise ValueError("the file ends before its frame header")
            precision, height, width, components = struct.unpack_from(">BHHB", data, here + 4)
            # A height of 0 means that it follows the image data, which no decoder here reads.
            if width == 0 or height == 0 or components not in (1, 3, 4):
                raise ValueError(
                    f"the frame is {width} wide and {height} high with {components} components"
                )
            return JpegHeader(width, height, num_components=components, precision=precision)
        if marker in (0xD9, 0xDA):
            raise ValueError("the image data begins without a frame header")
        (length,) = struct.unpack_from(">H", data, here + 2)
        if length < 2:
            raise ValueError("a segment is damaged before the frame header")
        place += 2 + length
