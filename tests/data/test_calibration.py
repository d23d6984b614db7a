"""Images that a model is calibrated with: set aside or of a folder, and never scored."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from builders.images import draw
from builders.models import said

from fastbench.core.config import RunConfig
from fastbench.core.errors import CorruptImageError, DataNotFoundError, UsageError
from fastbench.core.progress import Silent
from fastbench.data.calibration import find_calibration
from fastbench.data.dataset import Manifest, find_images, scan
from fastbench.data.set_aside import MOST, is_folder, num_set_aside

count = Silent().count
INT8: dict[str, Any] = {"quantize": "int8", "engine": "onnxruntime"}


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images, in three classes."""
    root = tmp_path_factory.mktemp("data")
    for i in range(30):
        draw(root / "abc"[i // 10] / f"{i:02d}.jpg", (40 + i, 40))
    return root


def found(data: Path, calibration: str, **more: Any) -> tuple[Manifest, Manifest]:
    """What is scored, and what is set aside."""
    config = RunConfig(data=str(data), calibration=calibration, **INT8, **more)
    scored = find_images(config, count)
    return scored, find_calibration(config, scored, count)


@pytest.mark.parametrize(("calibration", "num"), [("7", 7), ("1", 1), ("29", 29), ("auto", 6)])
def test_some_are_set_aside(every: Path, calibration: str, num: int) -> None:
    scored, aside = found(every, calibration)
    assert (len(scored), len(aside)) == (30 - num, num)
    assert not {*scored.names} & {*aside.names}
    assert sorted((*scored.names, *aside.names)) == list(scan(every).names)
    assert aside.root == scored.root == every


def test_they_are_evenly_spread(every: Path) -> None:
    _, aside = found(every, "6")
    assert aside.names == ("a/00.jpg", "a/05.jpg", "b/10.jpg", "b/15.jpg", "c/20.jpg", "c/25.jpg")
    scored, aside = found(every, "3", limit=15)
    assert (len(scored), len(aside)) == (12, 3)
    assert [name[0] for name in aside.names] == ["a", "b", "c"]


def test_the_limit_comes_first(every: Path) -> None:
    scored, aside = found(every, "5", limit=10)
    assert sorted((*scored.names, *aside.names)) == list(scan(every, limit=10).names)


def test_how_many_where_nobody_says() -> None:
    nums = [num_set_aside("auto", num) for num in (2, 5, 9, 10, 100, 640, 10_000)]
    assert nums == [1, 1, 1, 2, 20, MOST, MOST]
    assert num_set_aside(None, 100) == num_set_aside("some/folder", 100) == 0
    assert [is_folder(x) for x in (None, "auto", "12", "12a", "./12")] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("num", ["0", "30", "31", "999999"])
def test_all_or_none_cannot_be_set_aside(every: Path, num: str) -> None:
    with pytest.raises(UsageError) as caught:
        found(every, num)
    assert f"--calibration {num} sets aside {int(num):,} of 30 images, and at least one is" in str(
        caught.value
    )


def test_one_image_is_too_few(every: Path) -> None:
    with pytest.raises(UsageError, match=r"and there is one\. Give more, or a folder"):
        found(every, "auto", limit=1)
    scored, aside = found(every, "auto", limit=2)
    assert (len(scored), len(aside)) == (1, 1)


# A folder of their own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        draw(tmp_path / "calibration" / f"{i}.jpg", (60 + i, 50))
    return tmp_path / "calibration"


def test_a_folder(every: Path, folder: Path) -> None:
    scored, apart = found(every, str(folder))
    assert (len(scored), len(apart)) == (30, 4)
    assert apart.root == folder


def test_at_most_as_many_of_a_folder(every: Path, folder: Path) -> None:
    for i in range(MOST + 9):
        shutil.copy(folder / "0.jpg", folder / f"more-{i}.jpg")
    assert len(found(every, str(folder))[1]) == MOST


def refused(every: Path, folder: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        found(every, str(folder))
    text = str(caught.value)
    assert "\n" not in text
    assert f"images in --calibration {folder} are scored too, such as {name}. A model is" in text


def test_the_same_folder_is_refused(every: Path) -> None:
    refused(every, every, "a/00.jpg")


def test_a_part_of_the_data_is_refused(every: Path) -> None:
    refused(every, every / "b", "10.jpg")


def test_a_link_is_refused(every: Path, folder: Path) -> None:
    (folder / "z.jpg").symlink_to(every / "c" / "25.jpg")
    refused(every, folder, "z.jpg")


def test_a_linked_folder_is_refused(every: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.symlink_to(every, target_is_directory=True)
    assert "30 of the 30 images in --calibration" in said(found, every, str(linked))


def test_a_hard_link_is_refused(every: Path, folder: Path) -> None:
    os.link(every / "c" / "25.jpg", folder / "z.jpg")
    refused(every, folder, "z.jpg")


def test_a_copy_under_another_name_is_refused(every: Path, folder: Path) -> None:
    shutil.copyfile(every / "b" / "15.jpg", folder / "z.jpg")
    refused(every, folder, "z.jpg")
    assert "1 of the 5 images" in said(found, every, str(folder))


def test_folders_without_images(every: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert said(found, every, str(missing)) == (
        f"There is nothing at --calibration {missing}. Give a folder of images, or how many of "
        f"the data to set aside."
    )
    missing.mkdir()
    with pytest.raises(DataNotFoundError, match=str(missing)):
        found(every, str(missing))


def test_a_file_that_is_no_jpeg(every: Path, folder: Path) -> None:
    from PIL import Image

    Image.new("RGB", (50, 50)).save(folder / "9.jpg", "PNG")
    with pytest.raises(CorruptImageError, match="PNG") as caught:
        found(every, str(folder))
    assert caught.value.path == str(folder / "9.jpg")
    _, apart = found(every, str(folder), on_error="skip")
    assert len(apart) == 4


def test_the_same_are_set_aside_each_time(every: Path) -> None:
    (first, aside), (again, others) = found(every, "5"), found(every, "5")
    assert first.identity == again.identity != found(every, "6")[0].identity
    assert aside.digest == others.digest
