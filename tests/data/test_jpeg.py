"""A JPEG's header, read without a decoder."""

import io
from pathlib import Path

import pytest
from builders.images import draw, encoded, photo
from builders.odd_jpegs import arithmetic, cmyk, mosaic, rgb, with_junk
from PIL import Image

from fastbench.data.dataset import scan
from fastbench.data.jpeg.header import JpegHeader, read_header


def read(data: bytes) -> JpegHeader:
    return read_header(io.BytesIO(data))


def test_it_says_what_pillow_says(images: Path) -> None:
    seen = set()
    for path in images.rglob("*.JPEG"):
        header = read(path.read_bytes())
        with Image.open(path) as image:
            assert (header.width, header.height) == image.size
            assert header.num_components == len(image.getbands())
            seen.add((header.num_components, "progressive" in image.info))
        assert header.precision == 8
    assert seen == {(1, False), (3, False), (3, True), (4, False)}


def test_a_header_behind_long_segments(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg", (90, 70), icc_profile=bytes(150_000))
    assert len(path.read_bytes()) > 150_000
    assert (read(path.read_bytes()).width, read(path.read_bytes()).height) == (90, 70)


def test_fill_bytes_before_a_marker(tmp_path: Path) -> None:
    data = draw(tmp_path / "a.jpg", (90, 70)).read_bytes()
    assert read(data[:2] + b"\xff\xff" + data[2:]) == read(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no start-of-image"),
        (b"\x89PNG\r\n\x1a\n", "no start-of-image"),
        (b"\xff\xd8", "ends before"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "ends before"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08", "ends before"),
        (b"\xff\xd8\x00\x00" + bytes(20), "belong to no segment"),
        (b"\xff\xd8\xff\xe0\x00\x00" + bytes(20), "belong to no segment"),
        (with_junk(encoded(), b"\xff\xe0"), "belong to no segment"),
        (with_junk(encoded(), b"\xff\xc4"), "belong to no segment"),
        (with_junk(encoded(), b"\xff\xda"), "belong to no segment"),
        (encoded()[: encoded().index(b"\xff\xda")], "ends before its image data"),
        (b"\xff\xd8\xff\xda\x00\x08" + bytes(20), "without a frame header"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x00\x03" + bytes(20), "0 wide"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x10\x03" + bytes(20), "0 high"),
    ],
)
def test_what_is_no_header(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(data)


def test_a_manifest_knows_the_sizes(small: Path) -> None:
    manifest = scan(small)
    assert manifest.sizes == ((90, 70), (92, 70), (94, 70), (91, 70), (93, 70))
    assert manifest.largest == (94, 70)


def test_what_decoders_differ_in_is_unusual() -> None:
    plain = encoded()
    usual = [
        plain,
        encoded(subsampling=0),
        encoded(subsampling=1),
        encoded(progressive=True),
        encoded(photo(mode="L")),
        mosaic(["22", "11", "11"]),
    ]
    assert not any(read(data).is_unusual for data in usual)
    unusual = {
        "four components": cmyk(0),
        "RGB, by the ids of its components": rgb(by_marker=False),
        "RGB, by Adobe's marker": rgb(by_marker=True),
        "4:1:1": mosaic(["41", "11", "11"]),
        "4:4:0": mosaic(["12", "11", "11"]),
        "chromas sampled in two ways": mosaic(["22", "21", "11"]),
        "lossless": plain.replace(b"\xff\xc0", b"\xff\xc3"),
        "arithmetic": arithmetic(),
    }
    assert [name for name, data in unusual.items() if not read(data).is_unusual] == []
