"""What rows share is found by all that it depends on, and by nothing else."""

from pathlib import Path

from fastbench.measure.loader_settings import Found
from fastbench.records.speed import Trial
from fastbench.runner import kept


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
