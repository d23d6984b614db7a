"""Accuracy by class, confusions, and running values, from each sample's top-5 classes and label.

The totals are counted on the device in the timed pass (`Tally`); this is computed afterwards from
the predictions of the same pass. Predictions and labels are by sample id.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from fastbench.records.accuracy import Confusion, PerClass, Running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.data.labels import ClassSpace

MOST_CONFUSIONS: Final = 20


def count_classes(
    best: Sequence[Sequence[int]], labels: Sequence[int], classes: ClassSpace
) -> PerClass:
    """Samples and hits of each class that has samples, by the model's outputs.

    `best[i]` has the classes predicted for sample i, the likeliest first.
    """
    num_samples: Counter[int] = Counter(labels)
    top1: Counter[int] = Counter()
    top5: Counter[int] = Counter()
    for predicted, label in zip(best, labels, strict=True):
        top1[label] += predicted[0] == label
        top5[label] += label in predicted
    present = sorted(num_samples)
    wnids = [classes.wnid(i) for i in present]
    return PerClass(
        outputs=[classes.output(i) for i in present],
        wnids=[wnid for wnid in wnids if wnid is not None] if classes.is_imagenet else None,
        names=[classes.name(i) for i in present],
        num_samples=[num_samples[i] for i in present],
        top1_correct=[top1[i] for i in present],
        top5_correct=[top5[i] for i in present],
    )


def count_confusions(
    predictions: Sequence[int], labels: Sequence[int], classes: ClassSpace
) -> list[Confusion]:
    """The pairs of label and wrong top-1 prediction that came most often."""
    pairs = Counter(
        (label, predicted)
        for predicted, label in zip(predictions, labels, strict=True)
        if predicted != label
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:MOST_CONFUSIONS]
    return [
        Confusion(
            label=classes.output(label),
            label_name=classes.name(label),
            predicted=classes.output(predicted),
            predicted_name=classes.name(predicted),
            count=count,
        )
        for (label, predicted), count in ranked
    ]


def running_values(
    best: Sequence[Sequence[int]], labels: Sequence[int], every: int
) -> list[Running]:
    """Hits among the first n samples, for n = `every`, 2 * `every` and so on, and for all."""
    values = []
    top1 = top5 = 0
    for n, (predicted, label) in enumerate(zip(best, labels, strict=True), start=1):
        top1 += predicted[0] == label
        top5 += label in predicted
        if n % every == 0 or n == len(labels):
            values.append(Running(num_samples=n, top1_correct=top1, top5_correct=top5))
    return values
