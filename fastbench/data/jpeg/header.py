"""What a JPEG's header says, read without decoding anything.

Segments are walked up to the image data (ITU-T T.81, annex B), which takes one or two short reads a
file. The frame header says how large a decoder's buffers will get, and which files a decoder cannot
take (CMYK, 12 bits), before time is measured. Bytes that belong to no segment are found too: some
decoders read over them, others fail or crash.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import BinaryIO

START_OF_IMAGE: Final = b"\xff\xd8\xff"
"""The marker, and the first byte of the next one."""
END_OF_IMAGE: Final = b"\xff\xd9"

_CHUNK: Final = 4096
# SOF0 to SOF15; C4, C8 and CC share the range and are tables, an extension and conditioning.
FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_USUAL_PROCESSES: Final = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive, all Huffman-coded."""
_USUAL_SAMPLING: Final = ("11 11 11", "21 11 11", "22 11 11")
"""Of luma and both chromas, horizontally and vertically: 4:4:4, 4:2:2 and 4:2:0."""
_ADOBE: Final = 0xEE


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Width and height in pixels, colour components (1, 3 or 4), and bits a sample.

    `is_unusual` says that it is another than nearly all photographs: its colours are not stored as
    YCbCr (or gray), its chroma is sampled in a rare way, or it is not Huffman-coded in 8 bits.
    Decoders differ in such files. `has_one_scan`: the first scan has all of the image.
    """

    width: int
    height: int
    num_components: int
    precision: int
    is_unusual: bool
    has_one_scan: bool


def read_header(file: BinaryIO) -> JpegHeader:
    """Read the headers of the JPEG that begins at the file's start.

    Raises `ValueError`, with the reason, where it has no frame header or where a segment before the
    image data is damaged.
    """
    file.seek(0)
    data = file.read(_CHUNK)
    start = 0  # where `data` begins in the file
    if data[:2] != b"\xff\xd8":
        raise ValueError("no start-of-image marker")
    place = 2
    is_rgb = False
    header = None
    while True:
        if place + 10 > start + len(data):
            file.seek(place)
            start, data = place, file.read(_CHUNK)
        here = place - start
        if len(data) < here + 5:
            raise ValueError("the file ends before its image data")
        if data[here] != 0xFF:
            raise ValueError("bytes before the image data belong to no segment")
        marker = data[here + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            place += 1
            continue
        if marker in _STANDALONE:
            place += 2
            continue
        if marker in (0xD9, 0xDA):
            if header is None:
                raise ValueError("the image data begins without a frame header")
            return replace(
                header,
                is_unusual=header.is_unusual or is_rgb,
                has_one_scan=header.has_one_scan and data[here + 4] >= header.num_components,
            )
        (length,) = struct.unpack_from(">H", data, here + 2)
        if marker == 0 or length < 2:
            raise ValueError("bytes before the image data belong to no segment")
        if marker in FRAME_HEADERS and header is None:
            header = _read_frame(file, place, marker)
        if marker == _ADOBE:
            file.seek(place + 4)
            segment = file.read(12)
            is_rgb = segment.startswith(b"Adobe") and segment[11:] == b"\0"
        place += 2 + length


def _read_frame(file: BinaryIO, place: int, marker: int) -> JpegHeader:
    """The frame header there; an Adobe marker is not looked at."""
    file.seek(place + 4)
    frame = file.read(6)
    if len(frame) < 6:
        raise ValueError("the file ends before its image data")
    precision, height, width, num_components = struct.unpack(">BHHB", frame)
    # A height of 0 means that it follows the image data, which no decoder here reads.
    if width == 0 or height == 0 or num_components not in (1, 3, 4):
        raise ValueError(
            f"the frame is {width} wide and {height} high with {num_components} components"
        )
    is_unusual = marker not in _USUAL_PROCESSES or _is_unusual(file, place + 10, num_components)
    has_one_scan = marker not in PROGRESSIVE
    return JpegHeader(width, height, num_components, precision, is_unusual, has_one_scan)


def _is_unusual(file: BinaryIO, place: int, num_components: int) -> bool:
    """Whether the components from there on are stored in a rare way."""
    if num_components == 1:
        return False
    file.seek(place)
    stored = file.read(3 * num_components)
    sampling = stored[1::3].hex(" ")
    return num_components == 4 or stored[::3] == b"RGB" or sampling not in _USUAL_SAMPLING
