"""Rows of several ranks predict what one rank does, each sample once, also where some have none."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.images import draw

from fastbench.cli.main import main
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.records.validity import find_contradictions

pytestmark = pytest.mark.usefixtures("server")


def run(data: Path, output: Path, num_ranks: int) -> Record:
    code = main(
        ["run", "--data", str(data), "--model", "sample", "--device", "cpu", "--quick",
         "--batch-size", "4", "--loader", "torchvision-tensor", "--reference", "none",
         "--ranks", str(num_ranks), "--output", str(output)]
    )  # fmt: skip
    assert code == 0
    (path,) = output.glob("*.json")
    record = read_record(path)
    assert find_contradictions(record) == []
    return record


def test_three_ranks_predict_what_one_does(images: Path, tmp_path: Path) -> None:
    alone, three = (run(images, tmp_path / str(size), size) for size in (1, 3))
    assert alone.accuracy == three.accuracy
    assert alone.ranks == []
    assert [part.num_samples for part in three.ranks] == [7, 7, 8]
    assert three.throughput.num_images == 22 * three.throughput.num_epochs
    assert three.num_batches == 2 + 2 + 2
    assert {part.num_threads for part in three.ranks} == {three.num_threads}
    assert [len(part.windows) for part in three.ranks] == [1, 1, 1]
    assert len(three.rounds) == 2


def test_a_rank_without_an_image_takes_no_part(tmp_path: Path) -> None:
    for i in range(2):
        draw(tmp_path / "data" / f"{i}.jpg", (48, 32))
    record = run(tmp_path / "data", tmp_path / "out", 3)
    assert [part.num_samples for part in record.ranks] == [1, 1]
    assert record.config["ranks"] == 3
