"""Files in memory, and out of it: the kernel is asked, and looked at."""

import os
from pathlib import Path

import pytest
from builders.images import draw

from fastbench.data import page_cache
from fastbench.data.page_cache import forget, read_all, share_in_memory


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return [str(draw(tmp_path / f"{i}.jpg", (200 + i, 150))) for i in range(4)]


@pytest.fixture
def telling(paths: list[str]) -> list[str]:
    """The same, where the file system tells what is in memory and drops it when asked."""
    read_all(paths, 0)
    forget(paths)
    if share_in_memory(paths) != 0.0:
        pytest.skip("this file system keeps its pages, or does not tell")
    return paths


def test_forgotten_and_read_again(telling: list[str]) -> None:
    forget(telling[:2])
    assert share_in_memory(telling) == 0.0
    assert read_all(telling, sum(map(os.path.getsize, telling)))
    assert share_in_memory(telling) == 1.0
    forget(telling[:2])
    assert 0 < share_in_memory(telling) < 1


def test_progress_where_something_is_read(telling: list[str]) -> None:
    told: list[tuple[int, int]] = []
    read_all(telling, 0, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_does_not_fit_is_not_read(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(page_cache, "_read", refuse)
    assert not read_all(paths, 1 << 60)


def test_unknown_where_the_kernel_does_not_tell(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    assert share_in_memory(paths) is None


def test_an_empty_file_is_no_error(tmp_path: Path, paths: list[str]) -> None:
    (tmp_path / "empty").touch()
    forget([str(tmp_path / "empty")])
    assert share_in_memory([str(tmp_path / "empty")]) is not None
