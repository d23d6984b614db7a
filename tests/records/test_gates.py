"""The gates of pixels, predictions and accuracy: which figures pass, and which do not."""

import re
from typing import Any

import msgspec
import pytest
from builders import records

from fastbench.records.accuracy import Accuracy, Parity, Pixels, ProgramCheck, Published
from fastbench.records.engine import Engine
from fastbench.records.gates import (
    compare_pixels,
    failures_of,
    judge_lost,
    judge_parity,
    judge_pixels,
    judge_program,
    judge_published,
)
from fastbench.records.record import Record
from fastbench.records.validity import contradictions_of_predictions

GOOD = Pixels(
    num_samples=250, max_levels=1.0, mean_levels=0.16, share_above_one=0.0, worst_sample="a.jpg",
    worst_mean_levels=0.3, max_logits=0.5, mean_logits=0.03, num_agreeing=245, cause=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdict", "failure"),
    [
        ({}, "exact", None),
        ({"max_levels": 2.0}, "equivalent", None),
        ({"mean_levels": 0.5}, "different", r"0\.50 levels in the mean \(gate: 0\.5\)"),
        ({"worst_mean_levels": 12.3}, "different", r"a\.jpg differs by 12\.3 levels"),
        ({"num_agreeing": 235}, "different", "235 of 250 images"),
    ],
)
def test_the_gates_of_pixels(changes: dict[str, float], verdict: str, failure: str | None) -> None:
    pixels = msgspec.structs.replace(GOOD, **changes)
    parity = msgspec.structs.replace(parity_of(250, 0, 0), pixels=pixels)
    assert compare_pixels(parity) == verdict
    failures = judge_pixels(pixels)
    assert len(failures) == (failure is not None)
    if failure is not None:
        assert re.search(failure, failures[0])


def parity_of(num_samples: int, lost: int, won: int) -> Parity:
    return Parity(
        reference="torchvision", is_reference=False, num_samples=num_samples,
        num_agreeing=num_samples - lost - won, only_reference_correct=lost, only_row_correct=won,
        pixels=None,
    )  # fmt: skip


def test_the_gates_of_predictions() -> None:
    assert judge_parity(parity_of(1000, 8, 2)) == []  # p = 0.11
    (failure,) = judge_parity(parity_of(1000, 14, 2))  # p = 0.004
    assert failure.startswith(
        "14 images are lost and 2 won against the reference, McNemar p = 0.00"
    )
    assert judge_parity(parity_of(50_000, 395, 345)) == []  # exactly 0.1 point
    (failure,) = judge_parity(parity_of(50_000, 400, 345))
    assert failure == "top-1 differs by -0.11 points from the reference's (gate: 0.1)"
    assert judge_parity(parity_of(10, 9, 0)) != []
    assert judge_parity(msgspec.structs.replace(parity_of(10, 9, 0), is_reference=True)) == []
    unlabelled = msgspec.structs.replace(
        parity_of(10, 0, 0), only_reference_correct=None, only_row_correct=None
    )
    assert judge_parity(unlabelled) == []


def test_the_gate_of_the_published_value() -> None:
    published = Published(top1=0.69758, top5=0.89078)
    near = Accuracy(num_samples=50_000, top1_correct=34_750, top5_correct=44_000)
    far = msgspec.structs.replace(near, top1_correct=34_500)
    assert judge_published(near, published, "0.3") == []
    (failure,) = judge_published(far, published, "0.3")
    assert failure == "top-1 is 69.00 %, published 69.76 % (-0.76 points; gate: 0.3 points)"
    for hits in (34_729, 35_029):  # 0.3 points below and above
        at_the_gate = msgspec.structs.replace(near, top1_correct=hits)
        assert judge_published(at_the_gate, published, "0.3") == []
        assert judge_published(at_the_gate, published, "0.29") != []
    few = Accuracy(num_samples=250, top1_correct=100, top5_correct=200)
    assert judge_published(few, published, "0.3") == []
    assert judge_published(near, published, "mlperf") == []
    (failure,) = judge_published(far, published, "mlperf")
    assert failure.endswith("gate: 99 % of it)")
    assert judge_published(far, published, "0.8") == []


RIGHT = ProgramCheck(
    dtype="float32", num_samples=100, num_agreeing=100, max_logits=2e-5, mean_logits=3e-6,
    spread=2.0, cause=None,
)  # fmt: skip


def int8_row(lost: int, won: int, **changes: Any) -> Record:
    """A row of 1,000 images, 923 of the reference's right; as many again as it loses differ."""
    agreeing = 1000 - 2 * lost - won
    found = msgspec.structs.replace(parity_of(1000, lost, won), num_agreeing=agreeing)
    return records.make(
        **{
            "config": {"quick": False, "quantize": "int8"},
            "engine": Engine(name="openvino", number_format="int8"),
            "accuracy": Accuracy(num_samples=1000, top1_correct=923 - lost + won, top5_correct=990),
            "published": None,
            "parity": found,
            "program": RIGHT,
            **changes,
        }
    )


def test_a_quantised_row_fails_only_on_what_it_loses_beyond_chance() -> None:
    assert failures_of(int8_row(10, 1)) == []
    assert judge_lost(parity_of(10_000, 60, 30), "0.3", 9_000) == []  # 0.3 points
    assert judge_parity(parity_of(10_000, 60, 30)) != []  # which are beyond chance: p = 0.002
    (failure,) = failures_of(int8_row(30, 2))
    assert failure == (
        "int8 loses 30 images and wins 2 of 1,000: top-1 −2.80 points (−3.90 to −1.68) against "
        "torchvision in float32 (gate: 0.3 points, within the interval)"
    )
    assert failures_of(int8_row(2, 30)) == []  # what is won is no failure
    assert failures_of(int8_row(30, 2, config={"quantize": "int8", "tolerance": "2"})) == []
    without = int8_row(30, 2, config={"quantize": "none"})
    assert any("McNemar" in failure for failure in failures_of(without))


def test_what_may_be_lost_by_mlperf_is_a_share_of_the_references_top_1() -> None:
    allowed = parity_of(50_000, 900, 400)  # 1.00 points, 0.87 to 1.14: of 92 % 0.92 may be lost
    assert judge_lost(allowed, "mlperf", 46_000) == []
    (failure,) = judge_lost(allowed, "mlperf", 30_000)  # of 61 % 0.61
    assert "(gate: 0.61 points, 1 % of the reference's top-1, within the interval)" in failure
    (failure,) = judge_lost(allowed, "0.3", 46_000)
    assert "loses 900 images and wins 400 of 50,000: top-1 −1.00 points" in failure


def test_without_labels_a_quantised_row_fails_only_where_it_is_noise() -> None:
    unlabelled = msgspec.structs.replace(
        parity_of(1000, 0, 0), only_reference_correct=None, only_row_correct=None
    )
    noisy = msgspec.structs.replace(unlabelled, num_agreeing=800)
    nonsense = msgspec.structs.replace(unlabelled, num_agreeing=3)
    assert failures_of(int8_row(0, 0, parity=noisy, accuracy=None)) == []
    (failure,) = failures_of(int8_row(0, 0, parity=nonsense, accuracy=None))
    assert failure.startswith("top-1 in int8 agrees with torchvision in float32 on 3 of 1,000")


def test_a_quantised_row_is_not_held_against_what_is_published() -> None:
    changes: dict[str, Any] = {
        "accuracy": Accuracy(num_samples=50_000, top1_correct=34_500, top5_correct=44_000),
        "published": Published(top1=0.69758, top5=0.89078),  # 0.76 points more
        "parity": parity_of(50_000, 300, 250),  # 0.1 of them by quantisation
    }
    assert failures_of(int8_row(0, 0, **changes)) == []
    (alone,) = failures_of(int8_row(0, 0, **{**changes, "parity": None}))
    assert alone.startswith("top-1 is 69.00 %, published 69.76 %")  # nothing else is known of it
    float32 = int8_row(0, 0, **changes, config={"quantize": "none"})
    assert any("published" in failure for failure in failures_of(float32))


def test_a_quantised_rows_pixels_are_judged_as_ever() -> None:
    pixels = msgspec.structs.replace(GOOD, mean_levels=0.6, worst_mean_levels=0.7)
    record = int8_row(0, 0, parity=msgspec.structs.replace(parity_of(1000, 0, 0), pixels=pixels))
    (failure,) = failures_of(record)
    assert failure.startswith("pixels differ by 0.60 levels in the mean")


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({}, None),
        ({"max_logits": 0.1}, None),
        ({"max_logits": 0.11}, "differ from eager's by up to 0.11 in float32"),
        ({"max_logits": 0.11, "dtype": "float16"}, None),
        ({"num_agreeing": 20}, "on 20 of 100 images in float32 (gate: 98.5 % of the same pixels"),
        ({"num_agreeing": 80, "dtype": "bfloat16"}, "(gate: 90 % of the same pixels"),
        ({"num_agreeing": 90, "dtype": "bfloat16"}, None),
        ({"max_logits": 9.0, "cause": "its channels are swapped"}, "is wrong: its channels are sw"),
    ],
)
def test_the_gate_of_what_an_engine_makes_of_a_model(
    changes: dict[str, Any], failure: str | None
) -> None:
    failures = judge_program(msgspec.structs.replace(RIGHT, **changes), "onnxruntime")
    assert len(failures) == (failure is not None)
    if failure is not None:
        assert failures[0].startswith("the export to onnxruntime is wrong")
        assert failure in failures[0]


def test_a_wrong_export_is_told_apart_from_quantisation() -> None:
    swapped = msgspec.structs.replace(RIGHT, num_agreeing=20, cause="its channels are swapped")
    (failure,) = failures_of(int8_row(300, 2, program=swapped))
    assert failure.startswith("the export to openvino is wrong: its channels are swapped; top-1")
    not_quantised = failures_of(int8_row(300, 2, program=swapped, config={"quantize": "none"}))
    assert not_quantised[0] == failure
    assert any("McNemar" in each for each in not_quantised)


def test_counts_of_a_program_that_cannot_be_make_a_row_invalid() -> None:
    impossible = msgspec.structs.replace(RIGHT, num_agreeing=101, mean_logits=1.0)
    record = int8_row(300, 2, program=impossible)
    assert failures_of(record) == []
    assert [each.partition(" differ")[0] for each in contradictions_of_predictions(record)] == [
        "the engine's top-1 agrees with eager on 101 of 100 images",
        "the engine's logits",
    ]
