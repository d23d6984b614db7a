"""What came out of a pass, counted by hand: hits, predictions, and how often a sample came."""

import torch

from fastbench.loaders.base import Batch
from fastbench.measure.tally import Tally


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
