"""Per class, confused with what, and on the way: counted by hand."""

from fastbench.data.labels import ClassSpace
from fastbench.measure.per_class import count_classes, count_confusions, running_values
from fastbench.records.accuracy import Confusion, Running

CLASSES = ClassSpace(num_classes=4, names=("ant", "bee", "cow", "dog"))
LABELS = [0, 0, 2, 2, 2, 3]
BEST = [[0, 1], [1, 0], [2, 0], [0, 3], [0, 2], [0, 1]]


def test_each_class_that_has_samples() -> None:
    found = count_classes(BEST, LABELS, CLASSES)
    assert (found.outputs, found.wnids, found.names) == ([0, 2, 3], None, ["ant", "cow", "dog"])
    assert found.num_samples == [2, 3, 1]
    assert found.top1_correct == [1, 1, 0]
    assert found.top5_correct == [2, 2, 0]


def test_classes_of_imagenet_have_their_wnid() -> None:
    imagenet = ClassSpace(num_classes=1000, is_imagenet=True).keep([5, 281])
    found = count_classes([[1], [0]], [1, 1], imagenet)
    assert (found.outputs, found.wnids, found.names) == ([281], ["n02123045"], ["tabby"])


def test_the_most_frequent_confusions_come_first() -> None:
    found = count_confusions([best[0] for best in BEST], LABELS, CLASSES)
    assert found[0] == Confusion(
        label=2, label_name="cow", predicted=0, predicted_name="ant", count=2
    )
    assert [(x.label, x.predicted, x.count) for x in found[1:]] == [(0, 1, 1), (3, 0, 1)]


def test_values_on_the_way_end_with_all() -> None:
    assert running_values(BEST, LABELS, 4) == [
        Running(num_samples=4, top1_correct=2, top5_correct=3),
        Running(num_samples=6, top1_correct=2, top5_correct=4),
    ]
