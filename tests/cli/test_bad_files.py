"""Twenty good files and ten broken ones: every loader, both policies; and what is remembered."""

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.command_line import main_here
from builders.images import broken_tables, draw, encoded, flat, random_bytes
from builders.odd_jpegs import of_scans, with_junk
from PIL import Image

from fastbench.cli.main import main
from fastbench.core.errors import CorruptImageError, DataNotFoundError
from fastbench.data.dataset import scan
from fastbench.data.jpeg import decode_all
from fastbench.data.jpeg.decode_all import verify

pytestmark = pytest.mark.usefixtures("server")
BROKEN = {
    "cut.JPEG": (lambda: encoded()[:8000], "cannot be decoded (image file is truncated"),
    "empty.JPEG": (lambda: b"", "is empty (0 bytes)"),
    "gif.JPEG": (lambda: encoded(kind="GIF"), "is a GIF file with a JPEG's name"),
    "junk.JPEG": (lambda: with_junk(encoded(), b"\xff\xc4"), "is damaged (bytes before"),
    "png.JPEG": (lambda: encoded(kind="PNG"), "is a PNG file with a JPEG's name"),
    "random.JPEG": (lambda: random_bytes(5000), "is not a JPEG file"),
    "scans.JPEG": (lambda: of_scans(3000), "cannot be decoded (it has more than 100 scans"),
    "tables.JPEG": (broken_tables, "cannot be decoded (broken data stream"),
    "text.JPEG": (lambda: b"not a picture\n", "is not a JPEG file"),
    "twelve.JPEG": (lambda: flat(64, 64, 12), "has 12 bits a sample"),
}
ONLY_BY_DECODING = "tables.JPEG"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Good files before, between and behind the broken ones, so that batches hold both."""
    root = tmp_path / "mixed"
    for i in range(20):
        draw(root / ("n01440764", "n02123045")[i % 2] / f"{'az'[i % 4 // 2]}{i:02d}.JPEG", (90, 70))
    for i, (name, (make, _)) in enumerate(BROKEN.items()):
        (root / ("n01440764", "n02123045")[i % 2] / name).write_bytes(make())
    return root


def run(data: Path, output: Path, *argv: str) -> int:
    return main_here(
        ["run", "--data", str(data), "--model", "shufflenet_v2_x0_5", "--weights", "none",
         "--device", "cpu", "--quick", "--passes", "end-to-end", "--batch-size", "4",
         "--loader", "torchvision", "--loader", "dali", "--loader", "synthetic",
         "--output", str(output), *argv]
    )  # fmt: skip


def complaints(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("fastbench: ")]


def test_to_skip_completes_for_every_loader(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(mixed, tmp_path / "out", "--on-error", "skip") == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert sorted(record["loader"] for record in records) == ["dali", "synthetic", "torchvision"]
    for record in records:
        assert record["data"]["num_samples"] == 20
        names = [file["name"] for file in record["data"]["skipped"]]
        assert names == sorted(names)
        skipped = {Path(file["name"]).name: file["why"] for file in record["data"]["skipped"]}
        assert all(skipped[name].startswith(why) for name, (_, why) in BROKEN.items())
        assert record["throughput"]["num_images"] == 20 * record["throughput"]["num_epochs"]
    scored = [record for record in records if record["loader"] != "synthetic"]
    assert all(record["accuracy"]["num_samples"] == 20 for record in scored)
    assert all(record["parity"]["num_agreeing"] == 20 for record in scored)
    assert "Skipped by every loader: n01440764/cut.JPEG cannot" in capsys.readouterr().out


def test_to_fail_names_the_first_before_anything_is_measured(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(mixed, tmp_path / "out") == 1
    (line,) = complaints(capsys.readouterr().err)
    assert "n01440764/cut.JPEG cannot be decoded" in line
    assert "--on-error skip" in line
    assert not (tmp_path / "out").exists()


def test_to_fail_where_only_decoding_tells_names_it_for_each_loader(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in BROKEN:
        if name != ONLY_BY_DECODING:
            next(mixed.rglob(name)).unlink()
    assert run(mixed, tmp_path / "out") == 1
    lines = complaints(capsys.readouterr().err)
    assert len(lines) == 2  # torchvision and dali; synthetic images are not read
    assert all(f"{ONLY_BY_DECODING} cannot be decoded" in line for line in lines)
    assert [path.name for path in (tmp_path / "out").glob("*.json")] == [
        "shufflenet_v2_x0_5-synthetic-float32.json"
    ]


def test_data_verify_names_every_file(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", str(mixed)]) == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == len(BROKEN)
    for name, (_, why) in BROKEN.items():
        assert any(f"/{name} {why}" in line for line in lines)
    assert "10 of 30 files" in complaints(printed.err)[0]
    for name in BROKEN:
        next(mixed.rglob(name)).unlink()
    assert main(["data", "verify", str(mixed)]) == 0
    assert capsys.readouterr().out == "20 JPEG files, all of them sound.\n"
    (mixed / "a.png").touch()
    assert main(["data", "verify", str(mixed)]) == 0
    assert capsys.readouterr().out.endswith(" all of them sound.\nNot used: 1 .png file.\n")


def test_the_list_is_the_same_without_the_broken_ones(mixed: Path) -> None:
    skipping = scan(mixed, skip=True)
    for name in BROKEN:
        next(mixed.rglob(name)).unlink()
    clean = scan(mixed)
    assert (skipping.names, skipping.digest) == (clean.names, clean.digest)
    assert clean.skipped == ()


def test_where_nothing_is_sound(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataNotFoundError, match=r"None of the 1 files .* a\.jpg is empty"):
        scan(tmp_path, skip=True)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, as they are."""
    seen: list[str] = []
    find_corrupt = decode_all.find_corrupt

    def noting(paths: list[str]) -> CorruptImageError | None:
        seen.extend(Path(path).name for path in paths)
        return find_corrupt(paths)

    monkeypatch.setattr(decode_all, "find_corrupt", noting)
    return seen


def test_a_file_is_decoded_once(
    small: Path, damage: Callable[[Path], None], decoded: list[str], cache: Path
) -> None:
    damaged = small / "n02123045/3.jpg"
    damage(damaged)
    names = [str(path.relative_to(small)) for path in sorted(small.rglob("*.jpg"))]
    found = verify(small, names)
    assert sorted(decoded) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert [name for name, why in found.items() if why] == ["n02123045/3.jpg"]
    decoded.clear()
    assert verify(small, names) == found
    assert decoded == []
    os.utime(small / names[0], ns=(1, 1))
    draw(damaged, (80, 80))
    assert verify(small, names) == dict.fromkeys(names)
    assert sorted(decoded) == ["0.jpg", "3.jpg"]
    decoded.clear()
    verify(small, names, afresh=True)
    assert len(decoded) == 5
    assert len(list((cache / "fastbench/verified").iterdir())) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"version": 0, "files": {}}'])
def test_what_is_remembered_may_be_damaged(
    content: str, small: Path, decoded: list[str], cache: Path
) -> None:
    verify(small, ["n01440764/0.jpg"])
    next((cache / "fastbench/verified").iterdir()).write_text(content)
    verify(small, ["n01440764/0.jpg"])
    assert decoded == ["0.jpg", "0.jpg"]


def test_another_pillow_decodes_again(
    small: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(small, ["n01440764/0.jpg"])
    monkeypatch.setattr("PIL.__version__", "0")
    verify(small, ["n01440764/0.jpg"])
    assert decoded == ["0.jpg", "0.jpg"]


def test_a_cache_that_cannot_be_written_costs_the_work_again(
    small: Path, decoded: list[str], cache: Path
) -> None:
    cache.write_text("a file is in its place")
    assert verify(small, ["n01440764/0.jpg"]) == {"n01440764/0.jpg": None}


def test_what_was_decoded_before_an_interruption_is_remembered(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(path.relative_to(small)) for path in sorted(small.rglob("*.jpg"))]
    counter = itertools.count()

    def interrupted(done: int, total: int) -> None:
        if next(counter) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(small, names, on_progress=interrupted)
    left: list[tuple[int, int]] = []
    verify(small, names, on_progress=lambda done, total: left.append((done, total)))
    assert left[0] == (0, 2)


def test_progress_counts_up_to_the_end(small: Path) -> None:
    told: list[tuple[int, int]] = []
    scan(small, skip=True, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 5) for done in range(6)]


def test_an_image_larger_than_pillow_warns_of_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(flat(9600, 9600, 8))
    assert Image.MAX_IMAGE_PIXELS is not None
    assert Image.MAX_IMAGE_PIXELS < 9600 * 9600
    assert len(scan(tmp_path, skip=True)) == 1
