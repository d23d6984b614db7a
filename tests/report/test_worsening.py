"""Did predictions get worse beyond chance? What records hold decides, and never in doubt."""

from pathlib import Path

import msgspec
import pytest
from builders.runs import DATA, compare_records, run, text_of, written

from fastbench.cli.main import main
from fastbench.records import gates
from fastbench.records.accuracy import Accuracy, Parity, PerClass, Pixels, Published
from fastbench.records.record import Record
from fastbench.report.compare.pair_comparison import compare_runs
from fastbench.report.compare.worsening import _gate, find_worsening


def hits(top1: int, *, classes: dict[int, int] | None = None) -> Accuracy:
    """Of 1,000 images; `classes` has the hits of classes by their number of images."""
    per_class = classes and PerClass(
        outputs=list(range(len(classes))),
        wnids=None,
        names=[str(n) for n in classes],
        num_samples=list(classes),
        top1_correct=list(classes.values()),
        top5_correct=list(classes),
    )
    return Accuracy(
        num_samples=1000, top1_correct=top1, top5_correct=1000, per_class=per_class or None
    )


def agreeing(
    num: int, lost: int | None = None, won: int | None = None, **changes: object
) -> Parity:
    return Parity(
        **{
            "reference": "torchvision",
            "is_reference": False,
            "num_samples": 1000,
            "num_agreeing": num,
            "only_reference_correct": lost,
            "only_row_correct": won,
            "pixels": None,
            **changes,
        }  # type: ignore[arg-type]
    )


def pixels(**changes: object) -> Pixels:
    """Of 100 images, as the reference's but for what is said."""
    return Pixels(
        **{
            "num_samples": 100,
            "max_levels": 30.0,
            "mean_levels": 0.1,
            "share_above_one": 0.001,
            "worst_sample": "a.jpg",
            "worst_mean_levels": 1.0,
            "max_logits": 0.0,
            "mean_logits": 0.0,
            "num_agreeing": 100,
            "cause": None,
            **changes,
        }  # type: ignore[arg-type]
    )


def row(accuracy: Accuracy | None, parity: Parity | None = None, **changes: object) -> Record:
    return run(99, 100, 101, accuracy=accuracy, parity=parity, **changes)


def test_hits_alone_find_what_is_large() -> None:
    """75 and 110 wrong ones, none the same: p = 0.012. With 120: 0.0016."""
    assert find_worsening(compare_records(row(hits(925)), row(hits(890)))) == []
    (said,) = find_worsening(compare_records(row(hits(925)), row(hits(880))))
    assert said.startswith("top-1 fell from 92.50 to 88.00 %: 45 of 1,000 images fewer are right")
    assert "McNemar p at most 0.00" in said
    assert find_worsening(compare_records(row(hits(880)), row(hits(925)))) == []
    text = " ".join(text_of(compare_records(row(hits(925)), row(hits(880))), 80).split())
    assert "! top-1 fell from 92.50 to 88.00 %" in text
    assert text.endswith("; predictions got worse.")


def test_classes_tell_more() -> None:
    """Of the hard class at most 60 can differ, of the other 45: 105 in place of 185."""
    a = row(hits(925, classes={900: 895, 100: 30}))
    assert len(find_worsening(compare_records(a, row(hits(890, classes={900: 860, 100: 30}))))) == 1
    # Other classes, nothing to go by.
    assert find_worsening(compare_records(a, row(hits(890, classes={800: 770, 200: 120})))) == []


def test_classes_in_another_order_are_held_each_to_itself() -> None:
    """At most 860 images differ in being right: p = 0.04. By the places of classes 420: 0.004."""

    def of_classes(**right: int) -> Accuracy:
        total = hits(
            sum(right.values()), classes=dict(zip((500, 501), right.values(), strict=True))
        )
        found = total.per_class
        assert found is not None
        each = [500, 500]
        named = msgspec.structs.replace(
            found, names=list(right), num_samples=each, top5_correct=each
        )
        return msgspec.structs.replace(total, per_class=named)

    a, b = of_classes(cat=450, dog=150), of_classes(dog=410, cat=130)
    assert find_worsening(compare_records(row(a), row(b))) == []


def test_the_same_reference_tells_most() -> None:
    """16 hits fewer, and at most 6 + 14 images that differ: 18 against 2, p = 0.0004."""
    a = row(hits(925), agreeing(990, 0, 6))
    assert len(find_worsening(compare_records(a, row(hits(909), agreeing(985, 12, 2))))) == 1
    # A reference with other hits is another one; and one of another name.
    assert find_worsening(compare_records(a, row(hits(908), agreeing(985, 12, 2)))) == []
    other = agreeing(985, 12, 2, reference="dali")
    assert find_worsening(compare_records(a, row(hits(909), other))) == []
    assert find_worsening(compare_records(a, row(hits(909)))) == []


def test_agreement_needs_no_labels() -> None:
    """1 and 15 images that do not agree: p = 2 (1 + 16) / 2^16 = 0.0005."""
    a = row(None, agreeing(999))
    (said,) = find_worsening(compare_records(a, row(None, agreeing(985))))
    assert said == (
        "agreement with torchvision fell from 99.90 to 98.50 %: McNemar p at most 0.0005 "
        "(gate: 0.01)"
    )
    assert find_worsening(compare_records(a, row(None, agreeing(993)))) == []
    assert find_worsening(compare_records(row(None, agreeing(985)), a)) == []
    assert find_worsening(compare_records(a, row(None, agreeing(985, reference="dali")))) == []


def test_a_gate_that_only_b_fails() -> None:
    """8 lost and none won: McNemar's p is 2 / 2^8."""
    b = row(hits(925), agreeing(990, 8, 0))
    (said,) = find_worsening(compare_records(row(hits(925), agreeing(990, 1, 1)), b))
    assert said.startswith("B fails a gate that A passes: 8 images are lost and 0 won")
    assert find_worsening(compare_records(b, b)) == []


def test_a_gate_that_a_fails_hides_no_other() -> None:
    """A's images are 12 levels off in one; B's too, and it loses 8 images and wins none."""
    coarse = agreeing(990, 1, 1, pixels=pixels(worst_mean_levels=12.0))
    worse = agreeing(990, 8, 0, pixels=pixels(worst_mean_levels=11.0, worst_sample="b.jpg"))
    (said,) = find_worsening(compare_records(row(hits(925), coarse), row(hits(925), worse)))
    assert said.startswith("B fails a gate that A passes: 8 images are lost and 0 won")
    assert find_worsening(compare_records(row(hits(925), worse), row(hits(925), coarse))) == []


def test_every_gate_has_another_name() -> None:
    """It is the end of its sentence by which the gates of A and B are told apart."""
    lost = msgspec.structs.replace(
        agreeing(49_000, 400, 100, pixels=pixels(mean_levels=1.0, worst_mean_levels=12.0)),
        num_samples=50_000,
    )
    lost = msgspec.structs.replace(
        lost, pixels=msgspec.structs.replace(lost.pixels, num_agreeing=50)
    )
    few = Accuracy(num_samples=50_000, top1_correct=30_000, top5_correct=40_000)
    failures = [
        *gates.judge_parity(lost),
        *gates.judge_published(few, Published(top1=0.7, top5=0.9), "0.3"),
    ]
    assert len({_gate(failure) for failure in failures}) == len(failures) == 7


def test_of_repeats_the_median_counts() -> None:
    a, b = row(hits(925)), row(hits(880))
    assert find_worsening(compare_runs([a, a, b], [a, b, a])) == []
    assert len(find_worsening(compare_runs([a, b, a], [b, a, b]))) == 1


@pytest.mark.parametrize(
    ("b", "options", "code", "said"),
    [
        (row(hits(880)), [], 0, ""),
        (row(hits(880)), ["--fail-accuracy"], 3, "top-1 fell from 92.50 to 88.00 %"),
        (row(hits(880)), ["--fail-accuracy", "--fail-below", "0.9"], 3, "top-1 fell"),
        (row(hits(890)), ["--fail-accuracy"], 0, ""),
        (row(hits(950)), ["--fail-accuracy"], 0, ""),
        (row(None), ["--fail-accuracy"], 2, "predictions cannot be judged"),
        (row(hits(880), dtype="float16"), ["--fail-accuracy"], 2, "differ in dtype"),
        (row(hits(880), dtype="float16"), ["--fail-accuracy", "--allow-unlike"], 3, "top-1 fell"),
        (
            row(hits(880), data={**DATA, "digest": "b" * 64}),
            ["--fail-accuracy", "--allow-unlike"],
            2,
            "on the same images",
        ),
        (run(79, 80, 81, parity=None), ["--fail-accuracy", "--fail-below", "0.9"], 1, "0.80x"),
    ],
)
def test_the_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    b: Record,
    options: list[str],
    code: int,
    said: str,
) -> None:
    paths = written(tmp_path, row(hits(925)), "a.json"), written(tmp_path, b, "b.json")
    assert main(["compare", *map(str, paths), *options]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == (1 if said else 0)


def test_slower_and_wrong_is_said_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path, row(hits(925)), "a.json")
    b = written(tmp_path, run(79, 80, 81, accuracy=hits(880), parity=None), "b.json")
    argv = ["compare", str(a), str(b), "--fail-accuracy", "--fail-below", "0.9"]
    assert main(argv) == 3
    err = capsys.readouterr().err
    assert "certainly below 0.9" in err
    assert "top-1 fell" in err
