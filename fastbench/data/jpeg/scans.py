"""Whether a JPEG has so many scans that it was made to keep decoders busy.

A decoder goes through the whole image for each scan of a progressive file, and a scan can take a
few bytes: thousands of them in a few megabytes take minutes in libjpeg, and so in every loader.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fastbench.data.jpeg.header import FRAME_HEADERS, PROGRESSIVE, START_OF_IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MOST_SCANS: Final = 100
"""Encoders write about ten, and mozjpeg tries 64 before it chooses among them.

libjpeg-turbo's fuzzers allow 500, of a megapixel: 100 take 5 s in an image of 48 megapixels.
"""
_SCAN: Final = 0xDA
_END: Final = 0xD9
_CHUNK: Final = 65536
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
"""But what may stand within image data, where 00 escapes and D0 to D7 restart, and TEM and SOI."""
_HEAD: Final = 8
"""Bytes behind a frame's marker up to its number of components."""


def has_too_many_scans(file: BinaryIO) -> bool:
    """Whether the JPEG that begins at the file's start has more than `MOST_SCANS` scans.

    Of a file that is no JPEG nothing is counted, and none after the first scan where that has all
    components and is not progressive: libjpeg stops there.
    """
    file.seek(0)
    if file.read(len(START_OF_IMAGE)) != START_OF_IMAGE:
        return False
    frame, num_components, num_scans = 0, 0, 0
    for marker, head in _segments(file):
        if marker == _END:
            return False
        if marker in FRAME_HEADERS and not frame:
            frame, num_components = marker, head[-1]
        elif marker == _SCAN:
            if frame not in PROGRESSIVE and num_scans == 0 and head[2] >= num_components:
                return False
            num_scans += 1
            if num_scans > MOST_SCANS:
                return True
    return False


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each segment's marker, and the `_HEAD` bytes behind it.

    Segments are found as libjpeg finds them, which reads over junk between them.
    """
    place = 2
    while True:
        file.seek(place)
        data = file.read(_CHUNK)
        here = 0
        while (match := _MARKER.search(data, here)) and match.end() + _HEAD <= len(data):
            end = match.end()
            yield data[end - 1], data[end : end + _HEAD]
            here = end + max(2, int.from_bytes(data[end : end + 2]))
        if len(data) < _CHUNK:
            return
        # The last byte may be a marker's first; a segment may go on behind the chunk.
        place += match.start() if match else max(here, len(data) - 1)
