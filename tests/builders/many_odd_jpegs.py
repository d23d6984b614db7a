"""More than a hundred odd and damaged JPEGs, each drawn from a seed."""

from __future__ import annotations

import random
import struct

from PIL import Image

from builders.images import broken_tables, encoded, flat, photo, random_bytes, segment
from builders.odd_jpegs import (
    ADOBE,
    arithmetic,
    cmyk,
    jfif_with_ids_of_rgb,
    mosaic,
    of_scans,
    rgb,
    sampled_rgb,
    two_pictures,
    with_junk,
)

MARKERS = {"app0": 0xE0, "dqt": 0xDB, "sof": 0xC0, "dht": 0xC4, "sos": 0xDA}
END = b"\xff\xd9"


def make() -> dict[str, bytes]:
    """The bytes of each file by its name."""
    groups = (_cut, _junk, _lengths, _segments, _frames, _colours, _restarts, _sizes, _flips)
    found = {name: data for group in groups for name, data in group().items()}
    found |= {**_no_jpegs(), **_sound(), "of two\nlines": encoded(photo(99, 98))}
    return {f"{name}.jpg": data for name, data in found.items()}


def _place(data: bytes, marker: int) -> int:
    return data.index(bytes([0xFF, marker]))


def _whole(data: bytes, marker: int) -> tuple[int, int]:
    """Where the first segment of a marker begins and ends."""
    at = _place(data, marker)
    return at, at + 2 + struct.unpack_from(">H", data, at + 2)[0]


def _exif(orientation: int) -> bytes:
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0" % orientation


def _sound() -> dict[str, bytes]:
    plain = encoded()
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version='1.0'/>")
    thumbnail = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\2\2" + bytes(12))
    return {
        "plain": plain,
        "progressive": encoded(progressive=True),
        "progressive-grey": encoded(photo(mode="L"), progressive=True),
        "grey": encoded(photo(mode="L")),
        "mpo": two_pictures(),
        "gain-map": plain[:2] + xmp + plain[2:] + encoded(photo(103, 69, "L")),
        "thumbnail": plain[:2] + thumbnail + plain[_whole(plain, 0xE0)[1] :],
        "broken-icc": plain[:2]
        + segment(0xE2, b"ICC_PROFILE\0\1\2" + random_bytes(99))
        + plain[2:],
        "broken-exif": plain[:2] + segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff") + plain[2:],
        "comments": plain[:2] + segment(0xFE, b"\xff\xda" * 30_000) * 3 + plain[2:],
        **{f"orientation-{i}": encoded(exif=_exif(i)) for i in range(10)},
    }


def _cut() -> dict[str, bytes]:
    found = {}
    for seed in range(14):
        chance = random.Random(seed)
        data = encoded(photo(411 - seed, 273), progressive=seed % 3 == 0)
        at = chance.randrange(2, len(data)) if seed else 2
        found[f"cut-{seed}"] = data[:at]
        if seed % 3 == 1:
            found[f"cut-and-ended-{seed}"] = data[:at] + END
    found["no-end"] = encoded()[:-2]
    found["no-end-progressive"] = encoded(progressive=True)[:-2]
    found["half-an-end"] = encoded()[:-1]
    found["last-byte-lost"] = encoded()[:-3] + END
    return found


def _junk() -> dict[str, bytes]:
    data = encoded()
    return {
        **{f"junk-before-{name}": with_junk(data, b"\xff%c" % at) for name, at in MARKERS.items()},
        **{f"zeros-before-{name}": data.replace(b"\xff%c" % at, b"\0\0\xff%c" % at, 1)
           for name, at in MARKERS.items()},
        "junk-before-all": b"junk" + data,
        "junk-after-start": data[:2] + random.Random(1).randbytes(40) + data[2:],
        "fill-bytes": data[:2] + b"\xff" * 9 + data[2:],
        "junk-before-end": data[:-2] + random_bytes(99) + END,
        "junk-after-end": data + random_bytes(5000),
        "two-ends": data + END,
        "marker-in-scan": data[:-900] + b"\xff\xea\xff\xff" + data[-900:],
        "short-marker-in-scan": data[:-900] + b"\xff\xea\0\x09" + data[-900:],
        "two-starts": data[:2] + data,
        "twice": data * 2,
    }  # fmt: skip


def _lengths() -> dict[str, bytes]:
    found = {}
    for name, marker in MARKERS.items():
        for change in (-1, 1, 1000):
            data = bytearray(encoded())
            at = _place(data, marker) + 2
            (length,) = struct.unpack_from(">H", data, at)
            struct.pack_into(">H", data, at, max(0, length + change))
            found[f"length-of-{name}{change:+}"] = bytes(data)
    return found


def _segments() -> dict[str, bytes]:
    data = encoded()
    found = {}
    for name, marker in MARKERS.items():
        begin, end = _whole(data, marker)
        found[f"doubled-{name}"] = data[:end] + data[begin:]
        found[f"missing-{name}"] = data[:begin] + data[end:]
    begin, end = _whole(data, 0xDB)
    table = struct.pack(">64H", *data[begin + 5 : begin + 69])
    found["dqt-of-16-bits"] = data[:begin] + segment(0xDB, b"\x10" + table) + data[end:]
    found["dqt-of-zeros"] = data[:begin] + segment(0xDB, bytes(65)) + data[end:]
    found["broken-tables"] = broken_tables()
    return found


def _frames() -> dict[str, bytes]:
    data = encoded()
    at = _place(data, 0xC0)
    found = {f"sof-{i:x}": data[: at + 1] + bytes([i]) + data[at + 2 :] for i in (0xC1, 0xC3, 0xC5)}
    for name, offset, value in (
        ("precision-16", 4, b"\x10"),
        ("height-0", 5, b"\0\0"),
        ("width-0", 7, b"\0\0"),
        ("two-components", 9, b"\2"),
        ("five-components", 9, b"\5"),
        ("no-such-table", 12, b"\3"),
        ("same-ids", 13, data[at + 10 : at + 11]),
        ("sampled-0", 11, b"\0"),
        ("sampled-5", 11, b"\x51"),
        ("taller", 5, struct.pack(">H", 400)),
        ("lower", 5, struct.pack(">H", 100)),
        ("larger", 5, struct.pack(">HH", 4000, 4000)),
        ("huge", 5, b"\xff\xdc\xff\xdc"),
    ):
        begin = at + offset
        found[name] = data[:begin] + value + data[begin + len(value) :]
    return {**found, "arithmetic": arithmetic(), "of-12-bits": flat(64, 64, 12)}


def _colours() -> dict[str, bytes]:
    odd = (["41", "11", "11"], ["12", "11", "11"], ["14", "11", "11"], ["42", "11", "11"])
    odd += (["22", "21", "11"], ["11", "22", "22"], ["21", "12", "11"], ["31", "11", "11"])
    wrong = encoded(keep_rgb=True).replace(ADOBE + b"\0", ADOBE + b"\7")
    return {
        "cmyk": cmyk(0),
        "cmyk-without-adobe": cmyk(None),
        "ycck": cmyk(2),
        "rgb-by-adobe": rgb(by_marker=True),
        "rgb-by-ids": rgb(by_marker=False),
        "rgb-sampled": sampled_rgb(),
        "jfif-with-ids-of-rgb": jfif_with_ids_of_rgb(),
        "unknown-adobe": wrong,
        "grey-sampled-22": mosaic(["22"], ids=b"\1"),
        **{f"sampled-{'-'.join(factors)}": mosaic(factors) for factors in odd},
    }


def _restarts() -> dict[str, bytes]:
    data = encoded(restart_marker_blocks=7)
    at = data.index(b"\xff\xd3")
    begin, end = _whole(data, 0xDD)
    return {
        "restarts": data,
        "restart-lost": data[:at] + data[at + 2 :],
        "restart-doubled": data[:at] + data[at : at + 2] + data[at:],
        "restart-of-another": data[: at + 1] + b"\xd6" + data[at + 2 :],
        "restart-interval-lost": data[:begin] + data[end:],
        "restart-interval-wrong": data[: end - 1] + b"\5" + data[end:],
    }


def _sizes() -> dict[str, bytes]:
    sizes = ((1, 1), (1, 300), (300, 1), (2, 2), (8, 8), (17, 33), (9000, 2), (2, 9000))
    found = {f"size-{width}x{height}": encoded(photo(width, height)) for width, height in sizes}
    return {**found, "of-3000-scans": of_scans(3000)}


def _flips() -> dict[str, bytes]:
    found = {}
    for seed in range(20):
        chance = random.Random(seed)
        data = bytearray(encoded(photo(400 + seed, 273), progressive=seed % 4 == 3))
        scan = _place(data, 0xDA) + 14
        where, places = ("scan", (scan, len(data) - 2)) if seed % 2 else ("head", (2, scan))
        for _ in range(chance.choice([1, 3, 30]) if seed % 2 else 1):
            data[chance.randrange(*places)] ^= 1 << chance.randrange(8)
        found[f"flipped-{where}-{seed}"] = bytes(data)
    return found


def _no_jpegs() -> dict[str, bytes]:
    return {
        **{kind.lower(): encoded(kind=kind) for kind in ("PNG", "GIF", "BMP", "WEBP", "TIFF")},
        "png-of-16-bits": encoded(Image.new("I;16", (64, 48)), "PNG"),
        "empty": b"",
        "one-byte": b"\xff",
        "start-alone": b"\xff\xd8",
        "start-and-end": b"\xff\xd8" + END,
        "zeros": bytes(4096),
        "ones": b"\xff" * 4096,
        "text": b"<html>404 Not Found</html>\n",
        "random": random_bytes(5000),
        "jpeg-head-and-random": b"\xff\xd8\xff\xe0" + random_bytes(5000) + END,
    }
