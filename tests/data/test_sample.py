"""Is the drawn data set the same every time, whole, and as mixed as ImageNet?"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders.paths import contents, is_unfinished
from PIL import Image

from fastbench.core.errors import OutputError, UnknownNameError, UsageError
from fastbench.data.dataset import scan
from fastbench.data.sample import draw_all, drawing
from fastbench.data.sample.draw_all import ensure_sample
from fastbench.data.sample.drawing import CLASS_NAMES, SAMPLE_VERSION, draw_image

if TYPE_CHECKING:
    from pathlib import Path

MARKER = "fastbench-sample.json"
EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def headers() -> list[tuple[Image.Image, int]]:
    """(opened but not decoded image, bytes) of the first 240 val images."""
    files = [draw_image("val", index)[0] for index in range(240)]
    return [(Image.open(io.BytesIO(data)), len(data)) for data in files]


def test_names_are_24_sorted_folder_names() -> None:
    assert len(set(CLASS_NAMES)) == 24
    assert list(CLASS_NAMES) == sorted(CLASS_NAMES)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz-") for name in CLASS_NAMES)


def test_an_image_is_a_function_of_split_and_index() -> None:
    for index in (0, 7, 123):
        assert draw_image("val", index) == draw_image("val", index)
    drawn = {hashlib.sha256(draw_image(split, i)[0]).digest()
             for split in ("val", "train") for i in range(12)}  # fmt: skip
    assert len(drawn) == 24


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        "import hashlib; from fastbench.data.sample.drawing import draw_image\n"
        "print(hashlib.sha256(draw_image('train', 5)[0]).hexdigest())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == hashlib.sha256(draw_image("train", 5)[0]).hexdigest()


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, fastbench.data.sample.draw_all; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("split", ["val", "train"])
def test_any_first_n_are_balanced(split: str) -> None:
    counts = Counter(dict.fromkeys(range(24), 0))
    for index in range(100):
        counts[drawing.class_of(split, index)] += 1
        assert max(counts.values()) - min(counts.values()) <= 1, index


def test_unknown_split_and_index_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'val'"):
        draw_image("vall", 0)
    with pytest.raises(ValueError, match="0 or more"):
        draw_image("val", -1)
    with pytest.raises(UsageError, match="at least 1 image"):
        ensure_sample(0)
    with pytest.raises(UsageError, match="at least 1 thread"):
        ensure_sample(1, num_threads=0)


def test_sizes_are_imagenets(headers: list[tuple[Image.Image, int]]) -> None:
    sizes = np.array([image.size for image, _ in headers])
    assert np.median(sizes, axis=0).tolist() == [500, 375]
    shares = Counter(image.size for image, _ in headers)
    assert shares[500, 375] > 0.28 * len(headers)
    assert shares[375, 500] > 0.08 * len(headers)
    assert len(shares) > 40
    mean = np.mean([size for _, size in headers])
    assert 95_000 < mean < 125_000, f"{mean:.0f} bytes a file"


def test_the_extremes_are_in_the_default_thousand() -> None:
    rng = np.random.default_rng(0)
    assert drawing.draw_size(rng, 404) == (2400, 1600)
    assert Image.open(io.BytesIO(draw_image("val", 717)[0])).size == (70, 60)
    for index in range(2000):
        width, height = drawing.draw_size(rng, index)
        assert min(width, height) >= 60
        assert max(width, height) <= 2400


def test_jpeg_kinds_are_mixed(headers: list[tuple[Image.Image, int]]) -> None:
    kinds: Counter[str] = Counter()
    for image, _ in headers:
        kinds["gray"] += image.mode == "L"
        kinds["progressive"] += "progressive" in image.info
        kinds["turned"] += image.getexif().get(EXIF_ORIENTATION, 1) != 1
        if image.mode == "RGB":
            _, horizontal, vertical, _ = image.layer[0]  # type: ignore[attr-defined]
            kinds[f"{horizontal}x{vertical}"] += 1
    assert set(kinds) == {"gray", "progressive", "turned", "2x2", "2x1", "1x1"}
    assert kinds["2x2"] > 0.7 * len(headers), kinds
    assert 1 <= kinds["gray"] < 0.08 * len(headers), kinds
    assert 1 <= kinds["turned"] < 0.06 * len(headers), kinds
    assert 4 <= kinds["progressive"] < 0.12 * len(headers), kinds


def test_layout_and_marker(tmp_path: Path) -> None:
    root = ensure_sample(30, root=tmp_path / "set", num_threads=1)
    files = contents(root)
    assert set(files) == {f"{CLASS_NAMES[draw_image('val', i)[1]]}/val_{i:05d}.jpg"
                          for i in range(30)}  # fmt: skip
    for name, data in files.items():
        assert data == draw_image("val", int(name[-9:-4]))[0]
        Image.open(io.BytesIO(data)).load()
    marker = json.loads((root / MARKER).read_text())
    assert marker["digest"] == scan(root).digest
    assert (marker["version"], marker["split"]) == (SAMPLE_VERSION, "val")
    assert marker["num_images"] == 30


def test_threads_draw_what_one_draws(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    parallel = ensure_sample(
        72,
        split="train",
        root=tmp_path / "parallel",
        num_threads=2,
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 72) for done in range(73)]
    alone = ensure_sample(72, split="train", root=tmp_path / "alone", num_threads=1)
    assert contents(parallel) == contents(alone)
    calls.clear()
    ensure_sample(72, split="train", root=parallel, on_progress=lambda *call: calls.append(call))
    assert calls == []


def test_the_default_folder_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = ensure_sample(2)
    assert root == tmp_path / "fastbench" / f"sample-v{SAMPLE_VERSION}" / "val-2"


def test_a_half_drawn_set_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    root = ensure_sample(20, root=tmp_path / "set")
    whole = contents(root)
    (root / MARKER).unlink()
    lost, cut, *kept = (root / name for name in whole)
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-100])
    # What a process leaves behind that was killed while it wrote.
    lost.with_name(f".{lost.name}.123.tmp").write_bytes(b"half")
    untouched = {path: path.stat().st_mtime_ns for path in kept}
    calls: list[tuple[int, int]] = []
    ensure_sample(20, root=root, on_progress=lambda *call: calls.append(call))
    assert contents(root) == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == untouched
    assert calls == [(18, 20), (19, 20), (20, 20)]


@pytest.mark.parametrize("change", ["longer", "gone", "another version"])
def test_a_marker_does_not_vouch_for_a_changed_set(tmp_path: Path, change: str) -> None:
    root = ensure_sample(8, root=tmp_path / "set")
    whole = contents(root)
    changed = root / next(iter(whole))
    if change == "longer":
        changed.write_bytes(changed.read_bytes() + b"more\xff\xd9")
    elif change == "gone":
        changed.unlink()
    else:
        marker = json.loads((root / MARKER).read_text())
        (root / MARKER).write_text(json.dumps({**marker, "version": SAMPLE_VERSION - 1}))
        changed.write_bytes(b"\xff\xd8 an older drawing \xff\xd9")
    ensure_sample(8, root=root)
    assert contents(root) == whole
    assert json.loads((root / MARKER).read_text())["version"] == SAMPLE_VERSION


def test_a_set_grows_but_does_not_shrink(tmp_path: Path) -> None:
    root = ensure_sample(4, root=tmp_path / "set")
    ensure_sample(6, root=root)
    assert len(contents(root)) == 6
    with pytest.raises(OutputError, match="does not belong to a sample of 5 val images"):
        ensure_sample(5, root=root)
    assert len(contents(root)) == 6


@pytest.mark.parametrize("name", ["notes.txt", "n01440764/a.JPEG", "lawn-low/mine.jpg"])
def test_a_foreign_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    with pytest.raises(OutputError, match=r"holds '.*', which does not belong .* Name an empty"):
        ensure_sample(4, root=tmp_path)
    assert contents(tmp_path) == {name: b"precious"}


def test_an_unwritable_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / "set"
    with pytest.raises(OutputError, match="cannot be written to") as caught:
        ensure_sample(4, root=root)
    assert str(root) in str(caught.value)
    assert str(caught.value).endswith("name a folder that you may write to.")


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_full_disk_is_named_and_leaves_an_unfinished_set(
    tmp_path: Path, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder where the first image belongs makes its rename fail as a bad disk would.
    root = tmp_path / "set"
    label = draw_image("val", 0)[1]
    blocked = root / CLASS_NAMES[label] / "val_00000.jpg"
    blocked.mkdir(parents=True)
    monkeypatch.setattr(draw_all, "_missing", lambda *_: list(range(60)))
    with pytest.raises(OutputError, match="cannot be written to"):
        ensure_sample(60, root=root, num_threads=num_threads)
    assert is_unfinished(root)
    assert not list(root.rglob("*.tmp"))


def test_an_interrupted_call_leaves_whole_files_and_is_resumed(tmp_path: Path) -> None:
    def stop_at_ten(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_sample(60, root=tmp_path / "set", num_threads=2, on_progress=stop_at_ten)
    drawn = contents(tmp_path / "set")
    assert 10 <= len(drawn) < 30
    assert is_unfinished(tmp_path / "set")
    assert not any(thread.name.startswith("fastbench-draw") for thread in threading.enumerate())
    files = contents(ensure_sample(60, root=tmp_path / "set", num_threads=2))
    assert len(files) == 60
    assert all(data == draw_image("val", int(name[-9:-4]))[0] for name, data in files.items())
    assert drawn.items() <= files.items()
