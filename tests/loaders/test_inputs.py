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
from builders.odd_jpegs import (
    arithmetic,
    cmyk,
    jfif_with_ids_of_rgb,
    mosaic,
    rgb,
    sampled_rgb,
    two_pictures,
    with_junk,
)
from builders.paths import REPOSITORY
from PIL import Image, ImageCms

from fastbench.core.errors import CorruptImageError, LoaderError, LoaderMissingError
from fastbench.core.loader_facts import BUILT_IN
from fastbench.data.dataset import Manifest
from fastbench.data.jpeg.header import read_header
from fastbench.data.jpeg.quick_check import check_frame
from fastbench.loaders.registry import resolve
from fastbench.loaders.shared.pixels import levels_of
from fastbench.records.accuracy import EXACT_LEVELS
from fastbench.records.gates import IMAGE_LEVELS

TABLE = REPOSITORY / "docs/inputs.md"
ROTATED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


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
    "chroma 4:1:1": lambda: mosaic(["41", "11", "11"]),
    "chroma 4:4:0": lambda: mosaic(["12", "11", "11"]),
    "chromas sampled in two ways": lambda: mosaic(["22", "21", "11"]),
    "more chroma than luma": lambda: mosaic(["11", "22", "22"]),
    "CMYK": lambda: cmyk(0),
    "CMYK without Adobe's marker": lambda: cmyk(None),
    "YCCK": lambda: cmyk(2),
    "RGB by Adobe's marker": lambda: rgb(by_marker=True),
    "RGB by the ids of its components": lambda: rgb(by_marker=False),
    "RGB, green and blue sampled as chroma": sampled_rgb,
    "YCbCr by JFIF, RGB by its ids": jfif_with_ids_of_rgb,
    "restart markers": lambda: encoded(restart_marker_blocks=7),
    "two pictures (MPO)": two_pictures,
    "EXIF orientation (ignored by all)": lambda: encoded(exif=ROTATED),
    "ICC profile (ignored by all)": lambda: encoded(
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    ),
    "odd sizes": lambda: encoded(photo(333, 251)),
    "17 x 33 pixels": lambda: encoded(photo(17, 33)),
    "1 x 1 pixel": lambda: encoded(photo(1, 1)),
    "3,000 x 20 pixels": lambda: encoded(photo(3000, 20)),
    "20 x 3,000 pixels": lambda: encoded(photo(20, 3000)),
    "4,000 x 3,000 pixels": lambda: encoded(photo(4000, 3000)),
    "bytes after the end": lambda: encoded() + b"more" * 10,
    "bits flipped in the image data": flipped,
    "cut off, then given an end": lambda: encoded()[:8000] + b"\xff\xd9",
    "broken Huffman tables": broken_tables,
    "two junk bytes after its first marker": lambda: with_junk(encoded(), b"\xff\xe0"),
    "two junk bytes after its frame header": lambda: with_junk(encoded(), b"\xff\xc4"),
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


def lines_of_table() -> list[list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def rows() -> list[list[str]]:
    return lines_of_table()[2:]


COLUMNS = {
    name.split()[0]: place
    for place, head in enumerate(lines_of_table()[0])
    for name in head.split(", ")
    if place > 1
}
"""Where the table has each loader."""


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
        sizes=((4000, 3000),) * 2,
        skipped=(),
        digest="",
    )
    loader = None
    try:
        loader = resolve(name)(spec_of(manifest, batch_size=2, prefetch=0))
        (batch,) = itertools.islice(loader, 1)
        return levels_of(batch.images_NCHW[:1].clone(), IMAGENET)
    except LoaderMissingError:
        raise
    except (CorruptImageError, LoaderError) as error:
        return error
    finally:
        if loader is not None:
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


def test_the_table_has_every_loader() -> None:
    """But those that need a GPU, and the one without images."""
    assert sorted(COLUMNS) == sorted(
        name
        for name, loader in BUILT_IN.items()
        if "CPU" in loader.device.split(" or ")[-1] and name not in ("dali-cpu", "synthetic")
    )


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_the_check_says(row: list[str], tried: Tried) -> None:
    assert before(tried(row[0])[0]).startswith(row[1])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_the_table_says(row: list[str], name: str, tried: Tried) -> None:
    cell = row[COLUMNS[name]]
    if cell in ("stuck", "crashes", "not tried"):
        assert row[1] != "taken"  # it never gets so far
        return
    path, reference = tried(row[0])
    try:
        found = reference if name == "torchvision" else loaded(name, path)
    except LoaderMissingError as error:
        pytest.skip(str(error))
    told = nearness if name in ("opencv", "spdl") else outcome
    assert told(found, reference, path) == cell, found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_is_decoded_otherwise_is_always_compared(row: list[str], tried: Tried) -> None:
    """So that no row that has such an image is called exact."""
    path, reference = tried(row[0])
    if row[1] != "taken" or isinstance(reference, Exception):
        return
    wrong = [cell for cell in row[2:] if cell not in ("same", "near", "named")]
    assert check_frame(path).is_unusual or not wrong


@pytest.mark.parametrize("name", COLUMNS)
def test_arithmetic_coding_is_decoded_or_named(name: str, tmp_path: Path) -> None:
    """Pillow and OpenCV are built with it or without."""
    path = tmp_path / "image.JPEG"
    path.write_bytes(arithmetic())
    reference = loaded("torchvision", path)
    try:
        found = loaded(name, path)
    except LoaderMissingError as error:
        pytest.skip(str(error))
    told = nearness if name in ("opencv", "spdl") else outcome
    assert told(found, reference, path) in ("same", "near", "named", "decodes")
    with path.open("rb") as file:
        assert read_header(file).is_unusual


def test_a_decoder_that_fails_alone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    path = tmp_path / "image.JPEG"
    path.write_bytes(encoded())
    assert str(loaded("opencv", path)) == (
        f"{path} is read by Pillow, and not by the loader 'opencv' (it finds no image). "
        f"Use another --loader, remove the file, or leave it out with --on-error skip."
    )


def nearness(
    found: torch.Tensor | Exception, reference: torch.Tensor | Exception, path: Path
) -> str:
    if isinstance(found, Exception):
        return outcome(found, reference, path)
    if isinstance(reference, Exception):
        return "decodes"
    return "near" if float((found - reference).abs().mean()) < IMAGE_LEVELS else "other"
