"""What a row's passes are told, and what its record says of its time."""

from pathlib import Path

import pytest
from builders.command_line import main_here
from builders.images import draw

from fastbench.loaders.base import IMAGENET, LoaderSpec
from fastbench.measure.rounds import Rounds
from fastbench.records.record import Record
from fastbench.records.store import read_record
from fastbench.runner import measure_row


def run(tmp_path: Path, *argv: str) -> Record:
    for i in range(2):
        draw(tmp_path / "data" / f"{i}.jpg", (48, 32))
    code = main_here(
        ["run", "--data", str(tmp_path / "data"), "--model", "sample", "--device", "cpu", "--quick",
         "--batch-size", "1", "--loader", "torchvision-tensor", "--reference", "none",
         "--model-threads", "1", "--output", str(tmp_path / "out"), *argv]
    )  # fmt: skip
    assert code == 0
    (path,) = (tmp_path / "out").glob("*.json")
    return read_record(path)


@pytest.mark.parametrize("prefetch", [1, 9])
def test_the_rounds_know_what_waits_in_the_queues(
    prefetch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    class Spy(Rounds):
        def __post_init__(self) -> None:
            told.append(self.num_queued)
            super().__post_init__()

    monkeypatch.setattr(measure_row, "Rounds", Spy)
    record = run(tmp_path, "--loader-option", f"torchvision-tensor.prefetch={prefetch}")
    assert told == [prefetch]
    assert len(record.rounds) == 2
    assert record.environment["freed_memory"] in ("keep", "system")


@pytest.mark.parametrize(
    ("num_images", "batch_size", "num_probed"), [(1000, 1, 1000), (9000, 1, 2048), (9000, 64, 4096)]
)
def test_the_latency_is_probed_with_some_of_the_images(
    num_images: int, batch_size: int, num_probed: int
) -> None:
    spec = LoaderSpec(
        paths=[f"{i}.jpg" for i in range(num_images)],
        batch_size=32,
        preprocess=IMAGENET,
        device="cpu",
        dtype="float32",
        num_threads=2,
    )
    probed = measure_row.one_by_one(spec, batch_size)
    assert (probed.batch_size, probed.prefetch) == (batch_size, 0)
    assert probed.paths == spec.paths[:num_probed]


def test_where_the_time_went_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path)
    stages = record.stages
    assert stages is not None
    assert 0 < record.measured_s < stages.passes_s < stages.total_s
    assert min(stages.start_s, stages.images_s, stages.model_s) > 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("The run took ")
    assert " % measuring, " in last
    # A resumed run tells nothing of rows that it has not measured.
    assert main_here(["run", "--resume", str(tmp_path / "out")]) == 0
    assert "The run took" not in capsys.readouterr().out
