"""Records: what is written is what is read; and what is derived from them."""

import functools
import json
import operator
from pathlib import Path

import pytest
from builders.consistent_record import THROUGHPUT
from builders.paths import GOLDEN
from builders.records import make

from fastbench.core.errors import OutputError, RecordError
from fastbench.measure.agreement import compare_predictions
from fastbench.records.speed import Latency
from fastbench.records.store import read_record, write_record


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    for record in (make(), make(accuracy=None, parity=None, compile_mode="default")):
        assert read_record(write_record(record, tmp_path)) == record


def test_the_fields_that_other_programs_read(tmp_path: Path) -> None:
    stored = json.loads(write_record(make(), tmp_path).read_text())
    assert stored["schema_version"] == 12
    assert stored["accuracy"] == {
        "num_samples": 1000,
        "top1_correct": 923,
        "top5_correct": 990,
        "num_classes": None,
        "per_class": None,
        "confusions": [],
        "running": [],
    }
    assert len(stored["throughput"]["step_times_s"]) == 64


def test_the_lower_ceiling_binds() -> None:
    # 250 images/s end to end, loader 500, model 256 of which 1,000 of 1,024 would count.
    record = make()
    assert record.ceilings == {"loader": 500, "model": 250}
    assert (record.bound, record.overlap_efficiency) == ("model", 1.0)
    record = make(model_ceiling=None)
    assert (record.bound, record.overlap_efficiency) == ("loader", 0.5)
    record = make(model_ceiling=None, loader_ceiling=None)
    assert (record.bound, record.overlap_efficiency) == (None, None)


def test_no_record_is_overwritten(tmp_path: Path) -> None:
    paths = [write_record(make(), tmp_path).name for _ in range(3)]
    assert paths == [
        "sample-dali-float32.json",
        "sample-dali-float32-2.json",
        "sample-dali-float32-3.json",
    ]


@pytest.mark.parametrize("model", ["m" * 250 + ".pt2", "é" * 125 + ".pt2", "\udcff.pt2"])
def test_a_model_whose_name_is_as_long_as_a_files_may_be(model: str, tmp_path: Path) -> None:
    paths = [write_record(make(model=model), tmp_path) for _ in range(2)]
    assert len(set(paths)) == 2
    assert all(read_record(path).model == model for path in paths)


def test_a_name_says_what_tells_a_record_from_the_others_of_its_run(tmp_path: Path) -> None:
    called = ("float32", "batch 8", "run 2")
    assert write_record(make(), tmp_path, called).name == "sample-dali-float32-batch-8-run-2.json"
    assert write_record(make(), tmp_path).name == "sample-dali-float32.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"latency": Latency(batch_size=1, samples_s=[0.1, float("nan")])},
            r"\(latency.samples_s\[1\] should be a number of at least 1e-09",
        ),
        ({"num_macs": -1}, r"\(num_macs should be a whole number of at least 0\)"),
        ({"loader_settings": {"rate": float("inf")}}, "not JSON compliant"),
    ],
)
def test_what_could_not_be_read_is_not_written(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=f"sample behind dali cannot be written.*{said}"):
        write_record(make(**change), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written to .*gone \(No such file"):
        write_record(make(), tmp_path / "gone")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "has no schema_version"),
        ('{"a": 1}', "has no schema_version"),
        ('{"schema_version": 99}', "has schema_version 99, this fastbench reads 1"),
        ('{"schema_version": NaN}', "is not JSON .NaN is no number of JSON"),
        ('{"schema_version": 1}', "is a damaged record .it lacks the field created.. Measure"),
        ('{"schema_version": 1, "surprise": 2}', "it has the unknown field surprise"),
    ],
)
def test_files_that_are_no_records(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=said):
        read_record(path)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("throughput.windows.0.wall_s", "5", "windows[0].wall_s should be a number, not text"),
        (
            "throughput.windows.0.wall_s",
            -1,
            "windows[0].wall_s should be a number of at least 1e-09",
        ),
        (
            "throughput.windows.0.wall_s",
            0,
            "windows[0].wall_s should be a number of at least 1e-09",
        ),
        ("loader_ceiling.wall_s", 0, "loader_ceiling.wall_s should be a number of at least 1e-09"),
        ("model_ceiling.num_images", 0, "num_images should be a whole number of at least 1"),
        ("batch_size", -1, "batch_size should be a whole number of at least 1"),
        ("num_macs", 2**60, "num_macs should be a whole number of at most 9007199254740992"),
        ("environment.num_cores", "2", "environment.num_cores should be a whole number or null"),
        ("config.windows", 0, "config.windows is 0, which no run accepts"),
        ("config.model", "a", "config.model is 'a', which no run accepts"),
        ("preprocess.mean", [0.5], "preprocess.mean should be a list with a length of at least 3"),
        ("loader_settings.a", [], "loader_settings[...] should be"),
        ("throughput.windows.0.wait", 1, "throughput.windows[0] has the unknown field wait"),
        ("throughput.step_times_s.2", None, "step_times_s[2] should be a number, not null"),
        ("throughput.num_epochs", 2.5, "num_epochs should be a whole number, not a number"),
        ("latency.samples_s.0", 10**400, "latency.samples_s[0] is too large"),
        ("warm_up", [], "warm_up should be an object, not a list"),
        ("published.top1", 69.8, "published.top1 should be a number of at most 1.0"),
        ("notes", "none", "notes should be a list, not text"),
        ("device", 0, "device should be text, not a whole number"),
    ],
)
def test_a_damaged_record_names_the_field(
    where: str, value: object, said: str, tmp_path: Path
) -> None:
    path = write_record(make(throughput=THROUGHPUT), tmp_path)
    stored = json.loads(path.read_text())
    *outer, last = (int(key) if key.isdecimal() else key for key in where.split("."))
    functools.reduce(operator.getitem, outer, stored)[last] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert str(caught.value).startswith(f"{path} is a damaged record (")
    assert said in str(caught.value)


def test_a_whole_number_may_stand_where_a_number_is_meant(tmp_path: Path) -> None:
    path = write_record(make(latency=Latency(batch_size=1, samples_s=[1, 2])), tmp_path)
    assert read_record(path).latency.samples_s == [1.0, 2.0]


def test_a_file_is_written_as_it_was_read(tmp_path: Path) -> None:
    path = GOLDEN / "record-v12.json"
    text = write_record(read_record(path), tmp_path).read_text()
    assert json.loads(text) == json.loads(path.read_text())
    assert text.startswith('{\n "schema_version": 12,\n "created": ')
    assert text.endswith("\n}\n")


def test_derived_figures() -> None:
    record = make()
    assert record.throughput.images_per_s == 250
    assert record.throughput.step_time_s(50) == pytest.approx(0.125)
    assert record.throughput.step_time_s(99) is None
    assert record.latency.median_s == 0.2
    assert record.accuracy is not None
    assert record.accuracy.top1 == 0.923
    assert record.accuracy.top1_interval == (
        pytest.approx(0.9048, abs=1e-4),
        pytest.approx(0.9380, abs=1e-4),
    )


def test_parity_counts_both_ways() -> None:
    parity = compare_predictions(
        [1, 2, 3, 9, 5],
        [1, 2, 4, 4, 6],
        [1, 0, 3, 4, 0],
        reference="torchvision",
        is_reference=False,
    )
    assert (parity.num_agreeing, parity.num_samples) == (2, 5)
    assert (parity.only_row_correct, parity.only_reference_correct) == (1, 1)
    assert parity.agreement == 0.4
    assert parity.accuracy_difference == 0
    unlabelled = compare_predictions([1], [1], None, reference="torchvision", is_reference=False)
    assert unlabelled.agreement == 1
    assert unlabelled.accuracy_difference is None
