"""The command line as a user meets it: rows, records, exit codes, and one clear sentence."""

import csv
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from builders.command_line import MODEL, run_on, sentence
from PIL import Image

from fastbench.cli.main import main
from fastbench.core.errors import EXIT_INTERRUPTED, OutputError
from fastbench.data.imagenet import wnid_index
from fastbench.measure.durations import Durations
from fastbench.records.record import Record
from fastbench.records.validity import find_contradictions
from fastbench.runner import measure_row

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def run(tmp_path: Path, checkpoint: Path) -> Callable[..., tuple[int, list[Record]]]:
    return run_on(tmp_path, checkpoint, "cpu")


def test_two_loaders_make_two_rows_and_two_records(
    run: Callable[..., Any], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, records = run(images)
    shown = capsys.readouterr()
    assert code == 0
    assert [record.loader for record in records] == ["dali", "torchvision"]
    for record in records:
        assert record.data["num_samples"] == record.throughput.num_images == 22
        assert record.accuracy is not None
        assert record.accuracy.num_samples == 22
        assert record.labels == "mapped by ImageNet wnid"
        assert record.environment["packages"]["torch"] == torch.__version__.split("+")[0]
        assert len(record.throughput.step_times_s) == 3
        assert record.preprocess["resize"] == 256
        assert record.parity is not None
        assert record.loader in shown.out
    dali, reference = records
    assert reference.parity is not None
    assert reference.parity.is_reference
    assert reference.parity.agreement == 1
    assert dali.parity is not None
    assert dali.parity.agreement >= 0.9
    assert "the CPU" in shown.err  # said in one line: no GPU is used


def test_bfloat16_is_held_against_float32(run: Callable[..., Any], images: Path) -> None:
    code, records = run(images, "--dtype", "bfloat16")
    assert code == 0
    for record in records:
        assert record.dtype == "bfloat16"
        assert record.parity is not None
        assert not record.parity.is_reference
        assert 0.5 < record.parity.agreement <= 1


def test_the_reference_scores_without_a_row_of_its_own(
    run: Callable[..., Any], images: Path
) -> None:
    code, records = run(images, "--loader", "torchvision-tensor", "--limit", "9")
    assert code == 0
    (record,) = records
    assert (record.loader, record.parity.reference) == ("torchvision-tensor", "torchvision")
    assert not record.parity.is_reference
    assert record.parity.agreement == 1


def test_a_reference_that_fails_without_a_row_of_its_own(
    run: Callable[..., Any],
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fastbench.loaders.builtin.torchvision import TorchvisionLoader

    def fails(_: object) -> object:
        raise OSError("it went away")

    monkeypatch.setattr(TorchvisionLoader, "__iter__", fails)
    code, (record,) = run(images, "--loader", "torchvision-tensor", "--limit", "9")
    assert (code, record.parity) == (1, None)  # the row is kept
    assert "no parity, for the reference failed" in sentence(capsys.readouterr().err)


def test_a_limit(run: Callable[..., Any], images: Path) -> None:
    _, (record,) = run(images, "--limit", "5", "--reference", "none", "--loader", "dali")
    assert record.data["num_samples"] == 5
    assert record.parity is None


def test_synthetic_images_are_not_scored(
    run: Callable[..., Any], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (record,) = run(images, "--loader", "synthetic", "--reference", "none")
    assert code == 0
    assert (record.accuracy, record.parity) == (None, None)
    assert record.throughput.images_per_s > 0
    assert "No accuracy: the images are not read." in capsys.readouterr().out


def test_a_flat_folder_still_has_parity(
    run: Callable[..., Any], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, records = run(images / "n02123045")
    assert code == 0
    for record in records:
        assert record.accuracy is None
        assert record.parity is not None
        assert record.parity.accuracy_difference is None
    assert "No accuracy: the images have no class folders." in capsys.readouterr().out


def test_predictions_are_the_models(
    run: Callable[..., Any], images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "predictions.csv"
    both = ("--loader", "torchvision", "--loader", "dali")
    code, records = run(images, "--predictions", str(file), *both, "--running", "10")
    assert code == 0
    with open(file, newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [row["loader"] for row in found] == ["torchvision"] * 22 + ["dali"] * 22
    module = torchvision.models.get_model(MODEL, weights=None)
    module.load_state_dict(torch.load(checkpoint))
    transform = torchvision.models.get_model_weights(MODEL).DEFAULT.transforms()
    for row in found[:22]:
        with Image.open(images / row["file"]) as image, torch.inference_mode():
            expected = module.eval()(transform(image.convert("RGB"))[None]).softmax(1).topk(5)
        assert [int(row[f"top{k}"]) for k in range(1, 6)] == expected.indices[0].tolist()
        stated = torch.tensor([float(row[f"probability{k}"]) for k in range(1, 6)])
        torch.testing.assert_close(stated, expected.values[0], rtol=1e-3, atol=1e-6)
        assert int(row["label"]) == wnid_index()[row["file"].split("/")[0]]
    # The totals of the record are those of its classes, and of the file.
    accuracy = next(record for record in records if record.loader == "torchvision").accuracy
    hits = sum(row["top1"] == row["label"] for row in found[:22])
    assert accuracy.top1_correct == sum(accuracy.per_class.top1_correct) == hits
    assert sum(accuracy.per_class.num_samples) == 22
    assert [value.num_samples for value in accuracy.running] == [10, 20, 22]
    assert accuracy.running[-1].top5_correct == accuracy.top5_correct
    text = (tmp_path / "records/accuracy.txt").read_text()
    assert "% top-5 after 10 images" in text


def test_a_row_is_kept_where_its_predictions_are_not(
    run: Callable[..., Any],
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OutputError("The disk is full. Free some space.")

    monkeypatch.setattr("fastbench.runner.predictions_csv.add", full)
    code, records = run(images, "--predictions", str(tmp_path / "predictions.csv"))
    assert code == 1
    assert len(records) == 1
    assert "The disk is full" in sentence(capsys.readouterr().err)


def test_predictions_of_a_run_that_was_killed_are_complete(
    run: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    """It ended between a row's predictions and its record."""
    file = tmp_path / "predictions.csv"
    calls = itertools.count()
    real = measure_row.write_record

    def ends(*given: object) -> object:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return real(*given)

    both = ("--loader", "torchvision", "--loader", "torchvision-tensor")
    argv = ["--predictions", str(file), *both]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_row, "write_record", ends)
        assert run(images, *argv)[0] == EXIT_INTERRUPTED
    code, records = run(images, "--resume", str(tmp_path / "records"), *argv)
    assert (code, len(records)) == (0, 2)
    with open(file, newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [row["loader"] for row in found] == [
        name for name in ("torchvision", "torchvision-tensor") for _ in range(22)
    ]
    assert len({row["row"] for row in found}) == 2


def test_predictions_are_not_added_to_other_columns(
    run: Callable[..., Any], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text("model,file\n")
    code, records = run(images, "--predictions", str(file), "--resume", str(tmp_path / "records"))
    assert (code, len(records)) == (1, 1)
    assert "predictions.csv: it has other columns. Name another" in sentence(
        capsys.readouterr().err
    )
    assert file.read_text() == "model,file\n"


def test_what_a_killed_run_left_is_removed(
    run: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    """Beside its records, its reference and its predictions."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = [
        tmp_path / f"{name}.{ended.pid}.fastbench.tmp"
        for name in ("records/.a.json", "records/.kept/.ab", ".predictions.csv")
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert run(images, "--predictions", str(tmp_path / "predictions.csv"))[0] == 0
    assert not any(path.exists() for path in left)


def test_a_folder_that_was_there_stays(
    run: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    (tmp_path / "records").mkdir()
    assert run(images, "--model", "resnet19")[0] == 2
    assert (tmp_path / "records").exists()


def test_predictions_are_not_overwritten(
    run: Callable[..., Any], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text("mine")
    assert run(images, "--predictions", str(file))[0] == 2
    assert "is there already, and nothing is overwritten" in sentence(capsys.readouterr().err)
    assert file.read_text() == "mine"


def test_among_the_classes_of_the_data(
    run: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    chosen = tmp_path / "classes.txt"
    chosen.write_text("# two of three\nn01440764\nn15075141\n")
    file = tmp_path / "predictions.csv"
    code, records = run(
        images, "--classes", str(chosen), "--among", "present", "--predictions", str(file)
    )
    assert code == 0
    for record in records:
        assert record.accuracy.num_samples == 10
        assert record.accuracy.top5_correct == 10  # of two classes one is always right
        assert record.accuracy.per_class.outputs == [0, 999]
        assert record.parity.pixels is None or record.parity.pixels.max_logits < 1
        assert "predicted among the 2 classes" in record.labels
    with open(file, newline="") as lines:
        found = list(csv.DictReader(lines))
    assert {row["top1"] for row in found} | {row["top2"] for row in found} == {"0", "999"}
    assert all(row["top3"] == row["probability3"] == "" for row in found)
    for row in found:
        assert float(row["probability1"]) + float(row["probability2"]) == pytest.approx(1)


def test_numbers_at_chance_are_doubted_as_labels(
    run: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    numbers = tmp_path / "numbers"
    numbers.write_text("".join(f"{path} 777\n" for path in images.rglob("*.JPEG")))
    _, (record,) = run(numbers, "--loader", "torchvision", "--passes", "end-to-end")
    assert record.labels == "mapped by class index, from numbers"
    assert record.accuracy.top1_correct == 0
    assert "the data's numbers may not be the model's class indices" in record.accuracy_doubts[0]


def test_windows_latencies_and_what_the_run_took(
    run: Callable[..., Any],
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    durations = Durations.make(min_seconds=0, num_windows=2, quick=False)
    brief = dataclasses.replace(durations, settle_seconds=0.0, warm_up_seconds=0.0)
    monkeypatch.setattr(Durations, "make", lambda **_: brief)
    code, records = run(
        images, "--windows", "2", "--latency-batch-size", "2", "--page-cache", "cold",
        "--loader", "dali", "--reference", "none", quick=False,
    )  # fmt: skip
    assert code == 0
    (record,) = records
    assert len(record.throughput.windows) == 2
    assert record.throughput.images_per_s == pytest.approx(sum(record.throughput.rates) / 2)
    assert [x.batch_size for x in record.other_latencies] == [2]
    assert record.latency.batch_size == 8
    warm_up = record.warm_up
    assert min(warm_up.model_load_s, warm_up.loader_start_s, warm_up.first_batch_s) > 0
    assert warm_up.wall_s > warm_up.first_batch_s
    assert record.telemetry.num_images == record.throughput.num_images
    assert record.telemetry.cpu_s > 0
    if record.data["page_cache_share"] is not None:  # else the file system does not tell
        assert (record.data["page_cache"] == "cold") == (record.data["page_cache_share"] < 0.05)
    assert sum(record.data["pixels"].values()) == 22
    assert find_contradictions(record) == []
    shown = " ".join(capsys.readouterr().out.split())
    assert "The run took " in shown
    assert main(["report", str(tmp_path), "--details"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "windows of " in shown
    assert "CPU seconds for 1,000 images" in shown


def test_a_record_that_contradicts_itself_ends_the_run_with_1(
    run: Callable[..., Any],
    images: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastbench.measure.clock.Clock.step_times", lambda _: [1e-9] * 3)
    code, records = run(images, "--reference", "none", "--loader", "synthetic")
    assert code == 1
    assert len(records) == 1  # it is kept, and says why
    printed = capsys.readouterr()
    assert "INVALID" in printed.out
    assert " is INVALID: the steps take" in sentence(printed.err)


def test_a_list_of_classes_that_is_not_there(
    run: Callable[..., Any], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(images, "--classes", "gone.txt")[0] == 2
    assert "The list of classes gone.txt cannot be read" in sentence(capsys.readouterr().err)


def test_the_records_accuracy_is_the_models(
    run: Callable[..., Any], images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Counted by hand: a third of the images lie in the folder of their first prediction, a third
    in that of their fourth, a third in that of their last.
    """
    from PIL import Image

    from fastbench.data.imagenet import wnid_index

    wnids = {index: wnid for wnid, index in wnid_index().items()}
    module = torchvision.models.get_model(MODEL, weights=None).eval()
    module.load_state_dict(torch.load(checkpoint))
    transform = torchvision.models.get_model_weights(MODEL).DEFAULT.transforms()
    paths = sorted(images.rglob("*.JPEG"))
    for i, path in enumerate(paths):
        with torch.inference_mode(), Image.open(path) as image:
            logits = module(transform(image.convert("RGB"))[None])[0]
        label = int(logits.argsort(descending=True)[(0, 3, -1)[i % 3]])
        folder = tmp_path / "labelled" / wnids[label]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    top1, top5 = len(paths[0::3]), len(paths[0::3]) + len(paths[1::3])
    _, records = run(tmp_path / "labelled", "--loader", "torchvision")
    (record,) = records
    assert record.accuracy is not None
    assert (record.accuracy.top1_correct, record.accuracy.top5_correct) == (top1, top5)


def test_a_failed_row_does_not_lose_the_others(
    run: Callable[..., Any],
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fastbench.loaders.builtin import synthetic

    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(synthetic.SyntheticLoader, "__iter__", out_of_memory)
    code, records = run(
        images, "--loader", "synthetic", "--loader", "dali", "--reference", "none",
        "--passes", "end-to-end",
    )  # fmt: skip
    assert code == 1
    assert [record.loader for record in records] == ["dali"]
    said = sentence(capsys.readouterr().err)
    assert "Out of memory" in said
    assert "batch size 8. Try --batch-size 4" in said


def test_a_batch_that_no_machine_can_hold(
    run: Callable[..., Any], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, records = run(images, "--batch-size", "100000000")
    assert (code, records) == (1, [])
    assert "Out of memory" in sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--data", "nowhere"], 1, "nowhere does not exist"),
        (["--model", "resnet19"], 2, "no model 'resnet19'. Did you mean 'resnet18'?"),
        (["--loader", "daly"], 2, "no loader 'daly'. Did you mean 'dali'?"),
        (["--reference", "torchvison"], 2, "Did you mean 'torchvision'?"),
        (["--device", "cuda"], 1, "There is no CUDA device"),
        (["--weights", "gone.pth"], 1, "The weights file gone.pth does not exist"),
        (["--batch-size", "0"], 2, "--batch-size is 0"),
        (["--nonsense"], 2, "There is no option --nonsense of fastbench run"),
    ],
)
def test_what_the_command_line_gets_wrong(
    argv: list[str],
    code: int,
    said: str,
    images: Path,
    run: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert run(images, *argv)[0] == code
    assert said in sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-99]), "cannot be decoded"),
        (lambda path: path.write_text("not a picture"), "is not a JPEG file"),
        (lambda path: os.truncate(path, 300), "cannot be decoded"),
    ],
)
def test_a_bad_file_is_named_before_anything_is_measured(
    spoil: Callable[[Path], None],
    said: str,
    small: Path,
    run: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    spoil(small / "n02123045/3.jpg")
    code, _ = run(small)
    assert code == 1
    line = sentence(capsys.readouterr().err)
    assert "3.jpg" in line
    assert said in line
    assert not (tmp_path / "records").exists()  # nothing was measured, nothing is left


def test_damage_inside_a_file_fails_each_row_and_names_the_file(
    small: Path,
    damage: Callable[[Path], None],
    run: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(small / "n02123045/3.jpg")
    code, records = run(small)
    assert (code, records) == (1, [])
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("fastbench: ")]
    assert len(lines) == 2
    assert all("3.jpg cannot be decoded" in line for line in lines)


def test_an_output_folder_that_cannot_be(
    run: Callable[..., Any], images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, _ = run(images, "--output", str(tmp_path / "file"))
    assert code == 1
    assert "cannot be written" in sentence(capsys.readouterr().err)


def test_ctrl_c_keeps_the_finished_rows(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Real processes and a real signal, sent while the second row is measured."""
    output = tmp_path / "records"
    command = [
        sys.executable, "-m", "fastbench", "run", "--data", str(images), "--model", MODEL,
        "--weights", str(checkpoint), "--device", "cpu", "--output", str(output), "--loader",
        "synthetic", "--loader", "torchvision", "--reference", "none", "--quick",
        "--passes", "end-to-end",
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        err = ""
        while "torchvision: measuring" not in err:
            line = process.stderr.readline()
            assert line, err
            err += line
        time.sleep(0.5)  # its worker processes take seconds to start
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the row is in another group
        err += process.stderr.read()
        out = process.stdout.read()
    assert process.returncode == 130, err
    assert f"Interrupted: 1 finished row is in {output}." in err
    assert "Traceback" not in err
    assert "synthetic" in out
    assert [json.loads(p.read_text())["loader"] for p in output.glob("*.json")] == ["synthetic"]


def test_the_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "resnet50" in capsys.readouterr().out.split()
    assert main(["loaders"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("dali", "synthetic", "torchvision"))
    assert main(["env"]) == 0
    shown = capsys.readouterr().out
    assert f"torch{'':<5}" in shown
    assert len(shown.splitlines()) < 24  # one screen
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fastbench ")
    assert main([]) == 0
    assert "usage: fastbench" in capsys.readouterr().out


def test_data_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "drawn"
    assert main(["data", "sample", "--num-images", "6", "--output", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    assert len(list(folder.rglob("*.jpg"))) == 6
    assert main(["data", "sample", "--num-images", "0"]) == 2
    assert "--num-images is 0" in sentence(capsys.readouterr().err)
