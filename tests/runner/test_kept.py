"""What rows share is found by all that it depends on, and by nothing else."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders.images import draw

from fastbench.core.config import RunConfig
from fastbench.data import dataset
from fastbench.measure.loader_settings import Found
from fastbench.records.speed import Trial
from fastbench.runner import kept, prepare


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    depends_on = {"model": "a", "data": ["b", "c"]}
    assert kept.find(tmp_path, depends_on, list[int]) is None
    kept.keep(tmp_path, depends_on, [1, 2, 3])
    assert kept.find(tmp_path, dict(reversed(depends_on.items())), list[int]) == [1, 2, 3]
    assert kept.find(tmp_path, {**depends_on, "model": "b"}, list[int]) is None
    assert kept.find(tmp_path, depends_on, Found) is None
    (file,) = (tmp_path / kept.FOLDER).iterdir()
    file.write_text("[1, 2")
    assert kept.find(tmp_path, depends_on, list[int]) is None
    kept.keep(tmp_path / "gone", depends_on, [1])  # nobody's row fails for that


def test_settings_keep_their_types(tmp_path: Path) -> None:
    settings = {"hw_decoder_load": 0.35, "num_threads": 8, "fancy": True, "filter": "area"}
    found = Found(settings, [Trial(settings=settings, images_per_s=None)], 12.5)
    kept.keep(tmp_path, {}, found)
    assert kept.find(tmp_path, {}, Found) == found


def test_a_later_row_reads_no_file_that_an_earlier_one_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless some are seen to have left the memory."""
    odd = os.fsdecode(b"\xff.jpg")  # no text: this data set's files are checked by each row
    for name in ("data/a.jpg", "data/b.jpg", "odd/a.jpg"):
        draw(tmp_path / name, (48, 32))
    (tmp_path / "odd/a.jpg").rename(tmp_path / "odd" / odd)
    quiet: Any = SimpleNamespace(say=print, note=print, count=lambda *_: lambda *_: None)
    in_memory, checked, read = [1.0], list[Any](), list[Any]()
    monkeypatch.setattr(prepare, "shared_folder", lambda: tmp_path)
    monkeypatch.setattr(prepare, "share_in_memory", lambda _: in_memory[0])
    monkeypatch.setattr(prepare, "read_all", lambda paths, *_: read.append(paths) or True)
    check = dataset.check_frame
    monkeypatch.setattr(dataset, "check_frame", lambda path: checked.append(path) or check(path))

    def counted(data: str) -> tuple[int, int]:
        checked.clear(), read.clear()
        config = RunConfig(data=str(tmp_path / data), loader=("torchvision",), device="cpu")
        workbench = prepare.Workbench(config, tmp_path, quiet)
        assert (workbench.page_cache, workbench.page_cache_share) == ("warm", in_memory[0])
        return len(checked), len(read)

    assert counted("data") == (2, 1)
    assert counted("data") == (0, 0)
    in_memory[0] = 0.99
    assert counted("data") == (0, 1)
    in_memory[0] = 1.0
    os.utime(tmp_path / "data/a.jpg")
    assert counted("data") == (1, 1)
    assert [counted("odd") for _ in range(2)] == [(1, 1), (1, 0)]
