"""Whatever decoder is here, the pixels are Pillow's to the bit, and so are the refusals."""

import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from builders.loaders import pixels_of, spec_of
from PIL import Image

from fastbench.core.errors import CorruptImageError
from fastbench.data.dataset import scan
from fastbench.loaders.base import Loader, LoaderSpec
from fastbench.loaders.shared import decoders
from fastbench.loaders.shared.decoders import Decode, choose_decoder

HIDDEN = {
    "libjpeg-turbo in simplejpeg": [],
    "libjpeg-turbo in torchvision": ["simplejpeg"],
    "PIL": ["simplejpeg", "torchvision"],
}
"""What is not there, for a decoder to be the quickest."""


@pytest.fixture(params=HIDDEN)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param.endswith("simplejpeg"):
        pytest.importorskip("simplejpeg")
    hide(HIDDEN[request.param], monkeypatch)
    return str(request.param)


def hide(packages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take simplejpeg away, and from torchvision its decoder."""
    if "simplejpeg" in packages:
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    if "torchvision" in packages:
        monkeypatch.setattr(decoders, "_torchvision_decodes", lambda: False)


def draw(mode: str = "RGB", size: tuple[int, int] = (83, 61)) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def bytes_of(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)  # type: ignore[arg-type]
    return file.getvalue()


WHOLE = bytes_of(draw())
FILES = {
    "4:2:0": WHOLE,
    "4:2:2": bytes_of(draw(), subsampling="4:2:2"),
    "4:4:4": bytes_of(draw(), subsampling="4:4:4"),
    "4:1:1": bytes_of(draw(), subsampling="4:1:1"),
    "RGB": bytes_of(draw(), keep_rgb=True),
    "grey": bytes_of(draw("L")),
    "CMYK": bytes_of(draw("CMYK")),
    "progressive": bytes_of(draw(), progressive=True),
    "restarts": bytes_of(draw(), restart_marker_blocks=3),
    "rotated by EXIF": bytes_of(draw(), exif=rotated()),
    "one pixel": bytes_of(draw(size=(1, 1))),
    "bytes after the end": WHOLE + b"more",
    "a part is missing": WHOLE[: len(WHOLE) // 2] + WHOLE[-2:],
}


def open_decoder(name: str) -> Decode:
    chosen, opens = choose_decoder()
    assert chosen.startswith(name)
    return opens()


def test_the_pixels_are_pillow_s(name: str, tmp_path: Path) -> None:
    decode = open_decoder(name)
    for case, content in FILES.items():
        (path := tmp_path / case.replace(":", "")).write_bytes(content)
        wanted = np.asarray(Image.open(path).convert("RGB"))
        got = decode(str(path))
        assert got.is_contiguous(memory_format=torch.channels_last)
        assert np.array_equal(got[0].permute(1, 2, 0), wanted), case


def test_what_pillow_refuses_is_an_error_that_names_the_file(name: str, tmp_path: Path) -> None:
    decode = open_decoder(name)
    path = tmp_path / "damaged.jpg"
    for content in (b"", b"text", WHOLE[:100], WHOLE[: len(WHOLE) // 2], WHOLE[:-2]):
        path.write_bytes(content)
        with pytest.raises(CorruptImageError, match=r"damaged\.jpg cannot be decoded"):
            decode(str(path))
    with pytest.raises(CorruptImageError, match="No such file"):
        decode(str(tmp_path / "nothing.jpg"))


def test_bytes_in_memory_are_decoded_in_place_of_the_file(name: str) -> None:
    decode = open_decoder(name)
    for case, content in FILES.items():
        wanted = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        got = decode("/nowhere/a.jpg", np.frombuffer(bytearray(content), np.uint8))
        assert np.array_equal(got[0].permute(1, 2, 0), wanted), case
    for content in (b"", b"text", WHOLE[: len(WHOLE) // 2]):
        with pytest.raises(
            CorruptImageError, match=r"^/nowhere/a\.jpg cannot be decoded"
        ) as caught:
            decode("/nowhere/a.jpg", np.frombuffer(bytearray(content), np.uint8))
        assert "BytesIO" not in str(caught.value)


def test_threads_do_not_share_their_pixels(name: str, tmp_path: Path) -> None:
    opens, paths = choose_decoder()[1], []
    for i in range(8):
        (path := tmp_path / f"{i}.jpg").write_bytes(bytes_of(draw(size=(200 + i, 150))))
        paths.append(str(path))

    def is_right(i: int) -> bool:
        decode, wanted = opens(), np.asarray(Image.open(paths[i]))
        return all(np.array_equal(decode(paths[i])[0].permute(1, 2, 0), wanted) for _ in range(9))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_right, range(8)))


def test_the_loader_s_images_and_its_record_by_each_decoder(
    name: str,
    images: Path,
    open_loader: Callable[[str, LoaderSpec], Loader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = open_loader("torchvision-tensor", spec_of(scan(images)))
    assert str(loader.settings["decoder"]).startswith(name)
    hide(HIDDEN["PIL"], monkeypatch)
    by_pillow = open_loader("torchvision-tensor", spec_of(scan(images)))
    assert by_pillow.settings["decoder"] == "PIL"
    assert torch.equal(pixels_of(loader), pixels_of(by_pillow))


def test_torchvision_without_its_decoder_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoders._torchvision_decodes()
    monkeypatch.setattr(torch.ops, "image", object())
    assert not decoders._torchvision_decodes()
