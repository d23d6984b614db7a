"""What came out of a pass, counted by hand: hits, predictions, and how often a sample came."""

import pytest
import torch

from fastbench.core.errors import ModelError
from fastbench.loaders.base import Batch
from fastbench.measure.tally import Scores, Tally, check_finite


def test_the_tally_counts_each_sample_and_no_padding() -> None:
    tally = Tally(3, (0, 1, 7), "cpu")
    logits = torch.zeros(4, 10)
    logits[0, 0] = logits[1, 2] = logits[2, 7] = 2.0
    logits[1, 1] = 1.0  # the second best
    logits[3, 5] = 9.0  # padding
    for _ in range(2):
        tally.begin_epoch()
        tally.add(logits, Batch(torch.empty(4, 3, 1, 1), torch.tensor([0, 1, 2, 2]), 3))
    scores = tally.read()
    assert scores.hits == [(2, 3), (2, 3)]
    assert scores.predictions == [0, 2, 7]
    assert scores.times_seen == [2, 2, 2]


def test_the_tally_without_labels_and_with_few_classes() -> None:
    tally = Tally(2, None, "cpu")
    tally.begin_epoch()
    tally.add(torch.eye(2), Batch(torch.empty(2, 3, 1, 1), torch.tensor([1, 0]), 2))
    scores = tally.read()
    assert scores.hits is None
    assert scores.predictions == [1, 0]


def scored(logits: torch.Tensor) -> Scores:
    tally = Tally(len(logits), None, "cpu")
    for _ in range(2):
        tally.begin_epoch()
        ids = torch.arange(len(logits))
        tally.add(logits, Batch(torch.empty(len(logits), 3, 1, 1), ids, len(logits)))
    return tally.read()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_logits_that_are_no_numbers_fail_the_row_by_name(value: float, dtype: torch.dtype) -> None:
    logits = torch.eye(3, 6, dtype=dtype)
    check_finite(scored(logits), 2, "net", "float16")
    logits[1, 4] = value
    assert scored(logits).num_broken == 2
    with pytest.raises(ModelError, match=r"net gave logits .* for 2 of 6 images in float16"):
        check_finite(scored(logits), 2, "net", "float16")


def test_a_class_that_is_ruled_out_is_a_number() -> None:
    logits = torch.eye(3, 6)
    logits[:, 5] = -torch.inf
    assert scored(logits).num_broken == 0
    logits[0] = -torch.inf  # of which none is left
    assert scored(logits).num_broken == 2


def test_a_model_that_does_not_look_at_its_images() -> None:
    assert scored(torch.ones(3, 6)).is_constant
    assert not scored(torch.arange(18.0).reshape(3, 6)).is_constant
    assert not scored(torch.ones(1, 6)).is_constant  # of one image nothing can be told
