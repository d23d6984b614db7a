"""docs/inputs.md says what happens to which file; here is each of them, and what does happen."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from builders.images import broken_tables, encoded, flat, photo, random_bytes
from builders.loaders import IMAGENET, spec_of
from builders.paths import REPOSITORY
from PIL import Image, ImageCms

from fastbench.core.errors import CorruptImageError, LoaderError, LoaderMissingError
from fastbench.data.dataset import Manifest
from fastbench.data.jpeg.quick_check import check_frame
from fastbench.loaders.registry import resolve
from fastbench.loaders.shared.pixels import levels_of
from fastbench.records.accuracy import EXACT_LEVELS

TABLE = REPOSITORY / "docs/inputs.md"
ROTATED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def ycck() -> bytes:
    """A CMYK file whose Adobe marker says that its components are Y, Cb, Cr and K."""
    data = bytearray(encoded(photo(mode="CMYK")))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def flipped() -> bytes:
    data = bytearray(encoded())
    for place in range(len(data) // 2, len(data) // 2 + 100):
        data[place] ^= 0x55
    return bytes(data)


def deep_png() -> bytes:
    values = np.random.default_rng(0).integers(0, 65535, (273, 411), dtype=np.uint16)
    return encoded(Image.fromarray(values), "PNG")


FILES: dict[str, Callable[[], bytes]] = {
    "grayscale": lambda: encoded(photo(mode="L")),
    "progressive": lambda: encoded(progressive=True),
    "chroma 4:4:4": lambda: encoded(subsampling=0),
    "chroma 4:2:2": lambda: encoded(subsampling=1),
    "CMYK": lambda: encoded(photo(mode="CMYK")),
    "YCCK": ycck,
    "EXIF orientation (ignored by all)": lambda: encoded(exif=ROTATED),
    "ICC profile (ignored by all)": lambda: encoded(
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    ),
    "odd sizes": lambda: encoded(photo(333, 251)),
    "17 x 33 pixels": lambda: encoded(photo(17, 33)),
    "1 x 1 pixel": lambda: encoded(photo(1, 1)),
    "3,000 x 20 pixels": lambda: encoded(photo(3000, 20)),
    "7,000 x 5,000 pixels": lambda: encoded(photo(7000, 5000)),
    "bytes after the end": lambda: encoded() + b"more" * 10,
    "bits flipped in the image data": flipped,
    "cut off, then given an end": lambda: encoded()[:8000] + b"\xff\xd9",
    "broken Huffman tables": broken_tables,
    "12 bits a sample": lambda: flat(411, 273, 12),
    "over 178,956,970 pixels": lambda: flat(20_000, 9_000, 8),
    "PNG named .JPEG": lambda: encoded(kind="PNG"),
    "PNG of 16 bits named .JPEG": deep_png,
    "WebP named .JPEG": lambda: encoded(kind="WEBP", quality=90),
    "BMP named .JPEG": lambda: encoded(kind="BMP"),
    "GIF named .JPEG": lambda: encoded(kind="GIF"),
    "text": lambda: b"not a picture\n" * 50,
    "random bytes": lambda: random_bytes(5000),
    "a JPEG's first bytes, then random ones": lambda: (
        b"\xff\xd8\xff\xe0" + random_bytes(5000) + b"\xff\xd9"
    ),
    "cut off": lambda: encoded()[:8000],
    "zero bytes": lambda: b"",
}


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def before(path: Path) -> str:
    try:
        check_frame(path)
    except CorruptImageError as error:
        return error.what
    return "taken"


def loaded(name: str, path: Path) -> torch.Tensor | Exception:
    """The image's levels (1, C, H, W), or the error."""
    manifest = Manifest(
        root=path.parent,
        names=(path.name,) * 2,
        words=(None,) * 2,
        num_bytes=(1,) * 2,
        sizes=((7000, 5000),) * 2,
        skipped=(),
        digest="",
    )
    loader = resolve(name)(spec_of(manifest, batch_size=2, prefetch=0))
    try:
        (batch,) = itertools.islice(loader, 1)
        return levels_of(batch.images_NCHW[:1].clone(), IMAGENET)
    except (CorruptImageError, LoaderError) as error:
        return error
    finally:
        loader.close()


def outcome(
    found: torch.Tensor | Exception, reference: torch.Tensor | Exception, path: Path
) -> str:
    if isinstance(found, Exception):
        return "named" if str(path) in str(found) else "fails"
    assert isinstance(reference, torch.Tensor)
    off = float((found - reference).abs().max())
    return "same" if off < EXACT_LEVELS else f"{off:.0f} levels off"


Tried = Callable[[str], tuple[Path, torch.Tensor | Exception]]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """A file, and what the reference makes of it."""

    @functools.cache
    def make(file: str) -> tuple[Path, torch.Tensor | Exception]:
        path = tmp_path_factory.mktemp("file") / "image.JPEG"
        path.write_bytes(FILES[file]())
        return path, loaded("torchvision", path)

    return make


def test_the_table_has_every_file() -> None:
    assert [row[0] for row in rows()] == list(FILES)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_the_table_says(row: list[str], tried: Tried) -> None:
    file, checked, *cells = row[:4]
    path, reference = tried(file)
    assert before(path).startswith(checked)
    for name, cell in zip(("torchvision", "dali"), cells, strict=True):
        if cell in ("stuck", "not tried"):
            assert checked != "taken"  # it never gets so far
            continue
        found = reference if name == "torchvision" else loaded(name, path)
        assert outcome(found, reference, path) == cell, found


@pytest.mark.parametrize("name", ["timm", "webdataset", "spdl"])
@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_the_table_says_of_the_extras(row: list[str], name: str, tried: Tried) -> None:
    cell = row[5 if name == "spdl" else 4]
    if cell == "not tried":
        assert row[1] != "taken"
        return
    path, reference = tried(row[0])
    try:
        found = loaded(name, path)
    except LoaderMissingError as error:
        pytest.skip(str(error))
    told = nearness if name == "spdl" else outcome
    assert told(found, reference, path) == cell, found


def nearness(
    found: torch.Tensor | Exception, reference: torch.Tensor | Exception, path: Path
) -> str:
    if isinstance(found, Exception):
        return outcome(found, reference, path)
    if isinstance(reference, Exception):
        return "decodes"
    return "near" if float((found - reference).abs().mean()) < 5 else "other"
