"""The gates of pixels, predictions and accuracy: which figures pass, and which do not."""

import re

import msgspec
import pytest

from fastbench.records.accuracy import Accuracy, Parity, Pixels, Published
from fastbench.records.gates import compare_pixels, judge_parity, judge_pixels, judge_published

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
