"""JPEGs drawn here, of sizes and kinds that trip decoders, and files that are none."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

# Odd sizes, portrait and landscape, smaller and larger than the crop.
SIZES = [(500, 375), (375, 500), (333, 251), (64, 91), (257, 256), (1024, 300), (224, 224)]


def draw(path: Path, size: tuple[int, int], *, mode: str = "RGB", **options: object) -> Path:
    """Write a photograph-like JPEG whose pixels depend on its path's last two parts."""
    width, height = size
    key = "/".join(path.parts[-2:]).encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))
    coarse = rng.uniform(0, 255, (height // 24 + 2, width // 24 + 2, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, 12, (height, width, 3))
    image = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", **{"quality": 90, **options})
    return path


def encoded(image: Image.Image | None = None, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    (image or photo()).save(file, kind, **({"quality": 90} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    """A JPEG's segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def flat(width: int, height: int, precision: int) -> bytes:
    """A grey JPEG of one colour: DC of the first block 100 quantised steps, all else 0."""
    num_blocks = -(-width // 8) * -(-height // 8)
    # DC categories 0 and 7 have the codes 0 and 10; the AC code 0 ends a block.
    bits = "10" + format(100, "07b") + "0" + "00" * (num_blocks - 1)
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\x10" + struct.pack(">64H", *[16] * 64)),
            segment(0xC1, struct.pack(">BHHB", precision, height, width, 1) + b"\x01\x11\0"),
            segment(0xC4, b"\0" + bytes([1, 1] + [0] * 14) + bytes([0, 7])),
            segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),
            segment(0xDA, b"\x01\x01\0\0\x3f\0"),
            data,
            b"\xff\xd9",
        ]
    )


def broken_tables() -> bytes:
    data = encoded()
    codes = data.index(b"\xff\xc4") + 5
    return data[:codes] + b"\xff" * 16 + data[codes + 16 :]


def random_bytes(num: int) -> bytes:
    return np.random.default_rng(3).bytes(num)


def photo(width: int = 411, height: int = 273, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * height)
    coarse = rng.uniform(0, 255, (height // 24 + 2, width // 24 + 2, 3)).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return smooth.convert(mode)
