"""Are the predictions of B worse than those of A beyond chance? Hits, agreement and gates.

A and B saw the same images, so McNemar's test applies; but a record has counts, not each image's
prediction. It gives the difference in hits, and at most how many images A and B differ on: not
more than are wrong in both together, class by class where the records have classes; and where both
were held against the same reference, not more than those on which A or B differs from it. p is at
most that of so many. What is found is certain; a small change may be missed.

Agreement is tested in the same way: A and B cannot differ in agreeing on more images than one of
them disagrees on. A gate (`gates.py`) that B fails and A passes is worse too.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final, Protocol

from fastbench.core.stats import mcnemar_p, mcnemar_p_at_most
from fastbench.records.facts import FACTS
from fastbench.records.gates import MCNEMAR_P, failures_of
from fastbench.records.validity import contradictions_of_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.records.accuracy import Accuracy, Parity
    from fastbench.records.differences import Difference
    from fastbench.records.load import LoadRecord
    from fastbench.records.record import Record

    _Hits = tuple[Accuracy, Parity | None]

_OF_IMAGES: Final = tuple(FACTS[name].heading for name in ("images", "digest", "contents"))


class Scored(Protocol):
    """The runs of two sides, of either kind, and what must not differ in them and does."""

    @property
    def runs_a(self) -> Sequence[Record | LoadRecord]:
        """A's, at least one."""

    @property
    def runs_b(self) -> Sequence[Record | LoadRecord]:
        """B's, at least one."""

    @property
    def unlike(self) -> list[Difference]:
        """The differences that make the two unlike."""


def find_worsening(comparison: Scored) -> list[str]:
    """How the predictions of B are worse than those of A beyond chance, in sentences.

    Of several runs a side, those with the median of hits and of agreement count.
    """
    hits, agreement = _on_the_same_images(comparison)
    found = [*(_fewer_hits(*hits) if hits else ())]
    found += _less_agreement(*agreement) if agreement else ()
    failed = {_gate(failure) for run in comparison.runs_a for failure in failures_of(run)}
    failing = [
        failure
        for run in comparison.runs_b
        for failure in failures_of(run)
        if _gate(failure) not in failed
    ]
    found += [f"B fails a gate that A passes: {failure}" for failure in failing[:1]]
    return found


def _gate(failure: str) -> str:
    """Which gate a failure is of: its sentence ends with what the gate asks for."""
    return failure.rpartition("gate: ")[2]


def is_scored(comparison: Scored) -> bool:
    """Whether the records hold hits or agreement on the same images."""
    return any(_on_the_same_images(comparison))


def _on_the_same_images(
    comparison: Scored,
) -> tuple[tuple[_Hits, _Hits] | None, tuple[Parity, Parity] | None]:
    """Hits, and agreement, of A and B; None where they are not of the same images."""
    if any(x.name in _OF_IMAGES for x in comparison.unlike):
        return None, None
    a, b = median_hits(comparison.runs_a), median_hits(comparison.runs_b)
    of_a, of_b = _agreement(comparison.runs_a), _agreement(comparison.runs_b)
    return (
        (a, b) if a and b and a[0].num_samples == b[0].num_samples else None,
        (of_a, of_b) if of_a and of_b and of_a.num_samples == of_b.num_samples else None,
    )


def median_hits(runs: Sequence[Record | LoadRecord]) -> _Hits | None:
    """Accuracy and parity of the run with the median of hits; None where no run is scored."""
    scored = [(run.accuracy, run.parity) for run in _countable(runs) if run.accuracy]
    if not scored:
        return None
    median = statistics.median_low(accuracy.top1_correct for accuracy, _ in scored)
    return next(each for each in scored if each[0].top1_correct == median)


def _agreement(runs: Sequence[Record | LoadRecord]) -> Parity | None:
    """Parity of the run with the median of agreement; None where no run was held to another."""
    held = [run.parity for run in _countable(runs) if run.parity and not run.parity.is_reference]
    if not held:
        return None
    median = statistics.median_low(parity.num_agreeing for parity in held)
    return next(parity for parity in held if parity.num_agreeing == median)


def _countable(runs: Sequence[Record | LoadRecord]) -> list[Record | LoadRecord]:
    """The runs whose counts can be: tests refuse others."""
    return [run for run in runs if not contradictions_of_predictions(run)]


def _fewer_hits(a: _Hits, b: _Hits) -> list[str]:
    (of_a, parity_a), (of_b, parity_b) = a, b
    lost = of_a.top1_correct - of_b.top1_correct
    if lost <= 0:
        return []
    bounds = [_most_by_class(of_a, of_b)]
    if parity_a and parity_b:
        bounds += _most_by_reference(of_a, parity_a, of_b, parity_b)
    p = mcnemar_p_at_most(lost, max(lost, min(bounds)))
    if p > MCNEMAR_P:
        return []
    return [
        f"top-1 fell from {100 * of_a.top1:.2f} to {100 * of_b.top1:.2f} %: {lost:,} of "
        f"{of_a.num_samples:,} images fewer are right, McNemar p at most {p:.1g} "
        f"(gate: {MCNEMAR_P})"
    ]


def _less_agreement(a: Parity, b: Parity) -> list[str]:
    lost_a, lost_b = a.num_samples - a.num_agreeing, b.num_samples - b.num_agreeing
    if a.reference != b.reference or lost_b <= lost_a or mcnemar_p(lost_a, lost_b) > MCNEMAR_P:
        return []
    return [
        f"agreement with {b.reference} fell from {100 * a.agreement:.2f} to "
        f"{100 * b.agreement:.2f} %: McNemar p at most {mcnemar_p(lost_a, lost_b):.1g} "
        f"(gate: {MCNEMAR_P})"
    ]


def _most_by_class(a: Accuracy, b: Accuracy) -> int:
    """The most images on which A and B can differ in being right, by their hits alone."""
    of_a, of_b = a.per_class, b.per_class
    # The same output of two models may be another class.
    if of_a and of_b and (of_a.names, of_a.num_samples) == (of_b.names, of_b.num_samples):
        return sum(map(_most, of_a.num_samples, of_a.top1_correct, of_b.top1_correct))
    return _most(a.num_samples, a.top1_correct, b.top1_correct)


def _most(num: int, hits_a: int, hits_b: int) -> int:
    """The wrong ones of both, as if none were the same; or the right ones, if those are fewer."""
    return min(2 * num - hits_a - hits_b, hits_a + hits_b)


def _most_by_reference(a: Accuracy, of_a: Parity, b: Accuracy, of_b: Parity) -> list[int]:
    """The images on which A or B differs from the reference in being right.

    Nothing where the references are not known to be the same: they have to be right equally often.
    """
    sides = []
    for accuracy, parity in ((a, of_a), (b, of_b)):
        if parity.discordant is None or parity.num_samples != accuracy.num_samples:
            return []
        lost, won = parity.discordant
        sides.append((parity.reference, accuracy.top1_correct + lost - won, lost + won))
    (name_a, right_a, most_a), (name_b, right_b, most_b) = sides
    return [most_a + most_b] if (name_a, right_a) == (name_b, right_b) else []
