"""JPEGs of so many scans that decoders take minutes are named, and not decoded."""

import io
from pathlib import Path

import pytest
from builders.images import encoded, segment
from builders.odd_jpegs import of_scans, with_junk
from PIL import Image

from fastbench.core.errors import CorruptImageError
from fastbench.data.jpeg.decode_all import verify
from fastbench.data.jpeg.quick_check import check_frame, decoding_error
from fastbench.data.jpeg.scans import MOST_SCANS, has_too_many_scans

AT_MOST = of_scans(MOST_SCANS)
TOO_MANY = of_scans(MOST_SCANS + 1)
ONE_SCAN = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x5a\xff\0\xff\xd0\x5a"


def found(data: bytes) -> bool:
    return has_too_many_scans(io.BytesIO(data))


def test_the_limit() -> None:
    assert not found(AT_MOST)
    assert found(TOO_MANY)


@pytest.mark.parametrize("data", [TOO_MANY, TOO_MANY[:-2], with_junk(TOO_MANY, b"\xff\xc4")])
def test_such_a_file_is_named_and_not_decoded(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(_: object) -> None:
        raise AssertionError("it is decoded")

    monkeypatch.setattr(Image, "open", decode)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(CorruptImageError, match=r"a\.jpg cannot .* more than 100 scans.*skip"):
        check_frame(path)
    assert "more than 100 scans" in str(verify(tmp_path, ["a.jpg"])["a.jpg"])
    assert "more than 100 scans" in str(decoding_error(io.BytesIO(data)))


def test_of_a_sequential_file_scans_of_single_components_count() -> None:
    three = b"\xff\xd8" + segment(0xC0, b"\x08\0\x08\0\x08\3" + b"\1\x11\0" * 3)
    one = b"\xff\xd8" + segment(0xC0, b"\x08\0\x08\0\x08\1\1\x11\0")
    assert found(three + ONE_SCAN * 101 + b"\xff\xd9")
    assert not found(three + ONE_SCAN * 100 + b"\xff\xd9")
    assert not found(one + ONE_SCAN * 101 + b"\xff\xd9")  # libjpeg ends after the first


def test_what_looks_like_a_scan_in_a_comment_or_after_the_end_does_not_count() -> None:
    plain, comment = encoded(progressive=True), segment(0xFE, b"\xff\xda" * 1000)
    at = plain.rindex(b"\xff\xda")
    assert not found(plain[:at] + comment + plain[at:] + b"\0\0" + ONE_SCAN * 200)


def test_scans_that_are_longer_than_what_is_read_at_once_count() -> None:
    at = TOO_MANY.rindex(b"\xff\xda")
    assert found(TOO_MANY[:at] + bytes(200_000) + TOO_MANY[at:])


@pytest.mark.parametrize("place", [0, 1])
def test_segments_at_the_ends_of_what_is_read_at_once_count(place: int) -> None:
    """Wherever they lie: the first chunk ends in each byte of a scan and of a table."""
    begin = TOO_MANY.index(b"\xff\xda") if place else 2
    for shift in range(140):
        padding = segment(0xFE, bytes(65000 - shift)) + segment(0xFE, bytes(400))
        assert found(TOO_MANY[:begin] + padding + TOO_MANY[begin:]), shift
        assert not found(AT_MOST[:begin] + padding + AT_MOST[begin:]), shift


def test_of_an_ordinary_file_the_header_alone_is_read() -> None:
    class Counting(io.BytesIO):
        num_read = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.num_read += len(data)
            return data

    file = Counting(encoded() + bytes(10**6))
    assert not has_too_many_scans(file)
    assert file.num_read < 70_000
