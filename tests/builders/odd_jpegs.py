"""JPEGs that are stored in rare ways, in which decoders differ, and what no decoder should take."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

import numpy as np

from builders.images import encoded, photo, segment

ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
"""The marker up to its last byte, which says how colours are stored."""


def mosaic(
    sampling: Sequence[str], ids: bytes = b"\1\2\3", width: int = 411, height: int = 273
) -> bytes:
    """A JPEG of one colour a block, whose components have these factors (`21`: 2 across, 1 down).

    Only the mean (DC) of each block is coded, in fixed codes of 4 bits for the number of bits.
    """
    across, down = (max(int(factors[axis]) for factors in sampling) for axis in (0, 1))
    mcus_y, mcus_x = -(-height // (8 * down)), -(-width // (8 * across))
    rng = np.random.default_rng(7)
    planes = [
        rng.integers(-30, 30, (mcus_y * int(v), mcus_x * int(h))).tolist() for h, v in sampling
    ]
    before = [0] * len(sampling)
    bits = []
    for y, x in itertools.product(range(mcus_y), range(mcus_x)):
        for i, (h, v) in enumerate(map(int, factors) for factors in sampling):
            for row, column in itertools.product(range(v), range(h)):
                value = planes[i][y * v + row][x * h + column]
                step, before[i] = value - before[i], value
                num = abs(step).bit_length()
                coded = step if step > 0 else step + 2**num - 1
                bits.append(f"{num:04b}" + (f"{coded:0{num}b}" if num else "") + "0")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    components = b"".join(
        bytes([each, int(factors, 16), 0]) for each, factors in zip(ids, sampling, strict=True)
    )
    frame = struct.pack(">BHHB", 8, height, width, len(sampling)) + components
    scan = bytes([len(sampling)]) + b"".join(bytes([each, 0]) for each in ids) + b"\0\x3f\0"
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0" + bytes([16] * 64)),
            segment(0xC0, frame),
            segment(0xC4, b"\0" + bytes([0, 0, 0, 9] + [0] * 12) + bytes(range(9))),
            segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),
            segment(0xDA, scan),
            data,
            b"\xff\xd9",
        ]
    )


def cmyk(transform: int | None) -> bytes:
    """Four components: CMYK (0) or YCCK (2) by Adobe's marker, or without the marker."""
    data = encoded(photo(mode="CMYK"))
    at = data.index(ADOBE)
    marker = b"" if transform is None else ADOBE + bytes([transform])
    return data[:at] + marker + data[at + len(ADOBE) + 1 :]


def rgb(*, by_marker: bool) -> bytes:
    """Components that are R, G and B: by Adobe's marker, or by their ids alone."""
    data = encoded(keep_rgb=True)
    if not by_marker:
        return data.replace(ADOBE + b"\0", b"")
    for each, number in zip(b"RGB", b"\1\2\3", strict=True):
        data = data.replace(bytes([each, 0x11]), bytes([number, 0x11]), 1)  # in the frame header
        data = data.replace(bytes([each, 0]), bytes([number, 0]), 1)  # in the scan's
    return data


def sampled_rgb() -> bytes:
    """RGB by Adobe's marker, whose green and blue are sampled as chroma usually is."""
    return mosaic(["22", "11", "11"]).replace(b"\xff\xdb", ADOBE + b"\0\xff\xdb", 1)


def jfif_with_ids_of_rgb() -> bytes:
    """JFIF says Y, Cb and Cr, the ids of the components R, G and B; libjpeg believes JFIF."""
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    return mosaic(["11"] * 3, ids=b"RGB").replace(b"\xff\xdb", jfif + b"\xff\xdb", 1)


def arithmetic() -> bytes:
    """The frame header says that it is coded arithmetically, which few decoders can."""
    return encoded().replace(b"\xff\xc0", b"\xff\xc9", 1)


def two_pictures() -> bytes:
    """An MPO file, as phones write: a JPEG behind another."""
    return encoded(kind="MPO", save_all=True, append_images=[photo(100, 80)])


def with_junk(data: bytes, before: bytes) -> bytes:
    """Two bytes that belong to no segment before a marker (Pillow reads over them)."""
    at = data.index(before)
    return data[:at] + b"\xff\0" + data[at:]


def of_scans(num: int, width: int = 64, height: int = 48) -> bytes:
    """A progressive JPEG whose last scan comes again until there are `num`: decoders take minutes
    where the image is large.
    """
    data = encoded(photo(width, height), progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (num - data.count(b"\xff\xda")) + data[-2:]
