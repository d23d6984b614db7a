"""Is a change good enough for CI? Slower beyond doubt, predictions worse beyond chance, rows gone.

    0  nothing that was asked for is wrong
    1  `--fail-below`: a row is certainly slower than that: the upper end of its ratio's 95 %
       interval is below (without an interval the ratio itself); or a file cannot be read
    2  what was asked for cannot be judged: a row is INVALID or unlike, its records do not hold the
       same images' hits, or, with `--require-all`, a row has no partner
    3  `--fail-accuracy`: predictions of a row got worse beyond chance

The highest counts.

Whether predictions got worse is McNemar's question, for A and B saw the same images; but a record
has counts and not each image's prediction. Of the images on which A and B differ in being right,
only the difference of both sides is known, and a most: they cannot be more than the wrong ones of
both together, class by class where the records have classes; and where both were held against the
same reference, not more than those on which A or B differs from it. p is at most that of so many.
What is found so is certain; a small change may be missed. Agreement with the reference is held in
the same way, images or not: A and B cannot differ in agreeing on more images than one of them
disagrees on. And a gate (`gates.py`) that B fails and A passes is a change for the worse.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.comparing import INVALID, UNLIKE, Comparison
from fastbench.core.errors import EXIT_WRONG, UsageError
from fastbench.core.stats import mcnemar_p, mcnemar_p_at_most
from fastbench.records.gates import MCNEMAR_P, failures_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.records.accuracy import Accuracy, Parity, PerClass
    from fastbench.records.record import Record
    from fastbench.sets import SetComparison

__all__ = ["EXIT_SLOWER", "Gates", "Judgement", "judge", "median_hits", "slowdown", "worsening"]

EXIT_SLOWER: Final = 1
EXIT_UNJUDGED: Final = UsageError.exit_code

_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a comparison has to pass; nothing of it by default.

    `allow_unlike` judges rows that are unlike all the same. Raises `UsageError` for a `fail_below`
    that cannot be.
    """

    fail_below: float | None = None
    fail_accuracy: bool = False
    require_all: bool = False
    allow_unlike: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no ratio."""
        if self.fail_below is not None and not 0 < self.fail_below < float("inf"):
            raise UsageError(
                f"--fail-below is {self.fail_below}. Give a ratio above 0, such as 0.95."
            )


@dataclass(frozen=True)
class Judgement:
    """The exit code (see the module), why it is not 0, and what else to complain of."""

    code: int
    reasons: list[str]
    others: list[str]

    @property
    def complaints(self) -> list[str]:
        """Everything, in sentences."""
        return [*self.reasons, *self.others]


def judge(found: SetComparison, gates: Gates) -> Judgement:
    """Hold a comparison to the gates; a row without a partner is complained of in any case."""
    code, reasons = 0, []
    for row in found.rows:
        its_code, why = _judge(row.comparison, gates)
        code = max(code, its_code)
        reasons += [f"{row.pair.b[0].path}: {each}" for each in why]
    missing = _without_partner(found)
    if gates.require_all and missing:
        return Judgement(max(code, EXIT_UNJUDGED), [*reasons, *missing], [])
    return Judgement(code, reasons, missing)


def _without_partner(found: SetComparison) -> list[str]:
    missing = [
        f"No partner in {other} for {lone.files}: {lone.nearest}."
        for only, other in ((found.only_a, found.name_b), (found.only_b, found.name_a))
        for lone in only
    ]
    rest = len(missing) - _NAMED
    rows = "row" if rest == 1 else "rows"
    more = [f"{rest} more {rows} without a partner: see the report."] if rest > 0 else []
    return [*missing[:_NAMED], *more]


def slowdown(comparison: Comparison, fail_below: float) -> str | None:
    """Why B is too slow: its ratio is certain to be below `fail_below`; None where it is not.

    Certain means that the interval's upper bound is below. Without an interval the ratio itself
    counts, and the sentence says so.
    """
    interval = comparison.interval
    if (interval[1] if interval else comparison.ratio) >= fail_below:
        return None
    if interval is None:
        return (
            f"{comparison.verdict}. The ratio itself is below {fail_below:g}: measure both with "
            f"--windows 3 or more to know how sure that is."
        )
    return f"{comparison.verdict}: certainly below {fail_below:g}."


def worsening(comparison: Comparison) -> list[str]:
    """In what the predictions of B are worse than those of A, beyond chance; in sentences.

    Of several runs a side, those with the median of hits and of agreement count.
    """
    found = []
    a, b = median_hits(comparison.runs_a), median_hits(comparison.runs_b)
    if a and b and _same_images(comparison, a[0].num_samples, b[0].num_samples):
        found += _fewer_hits(a, b)
    of_a, of_b = _agreement(comparison.runs_a), _agreement(comparison.runs_b)
    if of_a and of_b and _same_images(comparison, of_a.num_samples, of_b.num_samples):
        found += _less_agreement(of_a, of_b)
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


def _judge(comparison: Comparison, gates: Gates) -> tuple[int, list[str]]:
    if gates.fail_below is None and not gates.fail_accuracy:
        return 0, []
    if comparison.word == INVALID:
        reason = comparison.invalid[0]
        return EXIT_UNJUDGED, [f"It cannot be judged: {reason}. Measure again."]
    if comparison.word == UNLIKE and not gates.allow_unlike:
        names = ", ".join(difference.name for difference in comparison.unlike)
        return EXIT_UNJUDGED, [
            f"It cannot be judged: the records differ in {names}. Measure them alike, or judge "
            f"all the same with --allow-unlike."
        ]
    code, why = 0, []
    if gates.fail_below is not None and (slow := slowdown(comparison, gates.fail_below)):
        code, why = EXIT_SLOWER, [slow]
    if gates.fail_accuracy:
        if worse := worsening(comparison):
            return EXIT_WRONG, [*why, *(f"{each}." for each in worse)]
        if not _is_scored(comparison):
            unscored = (
                "Its predictions cannot be judged: A and B do not both hold hits or agreement on "
                "the same images. Measure both with the same --data and --reference."
            )
            return EXIT_UNJUDGED, [*why, unscored]
    return code, why


def _is_scored(comparison: Comparison) -> bool:
    """Whether the records hold what `worsening` looks at."""
    a, b = median_hits(comparison.runs_a), median_hits(comparison.runs_b)
    of_a, of_b = _agreement(comparison.runs_a), _agreement(comparison.runs_b)
    return bool(
        (a and b and _same_images(comparison, a[0].num_samples, b[0].num_samples))
        or (of_a and of_b and _same_images(comparison, of_a.num_samples, of_b.num_samples))
    )


def _same_images(comparison: Comparison, num_a: int, num_b: int) -> bool:
    differ = any(difference.name == "image set" for difference in comparison.unlike)
    return num_a == num_b and not differ


def median_hits(runs: Sequence[Record]) -> tuple[Accuracy, Parity | None] | None:
    """Accuracy and parity of the run with the median of hits; None where no run is scored."""
    scored = [(run.accuracy, run.parity) for run in runs if run.accuracy is not None]
    if not scored:
        return None
    median = statistics.median_low(accuracy.top1_correct for accuracy, _ in scored)
    return next(each for each in scored if each[0].top1_correct == median)


def _agreement(runs: Sequence[Record]) -> Parity | None:
    """Parity of the run with the median of agreement; None where no run was held to another."""
    held = [run.parity for run in runs if run.parity is not None and not run.parity.is_reference]
    if not held:
        return None
    median = statistics.median_low(parity.num_agreeing for parity in held)
    return next(parity for parity in held if parity.num_agreeing == median)


def _fewer_hits(a: tuple[Accuracy, Parity | None], b: tuple[Accuracy, Parity | None]) -> list[str]:
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
    # Of two models, the same output may be another class.
    if of_a is None or of_b is None or _classes(of_a) != _classes(of_b):
        return _most(a.num_samples, a.top1_correct, b.top1_correct)
    return sum(map(_most, of_a.num_samples, of_a.top1_correct, of_b.top1_correct))


def _classes(found: PerClass) -> list[tuple[str, int]]:
    """Each class's name and how many samples it has."""
    return list(zip(found.names, found.num_samples, strict=True))


def _most(num: int, hits_a: int, hits_b: int) -> int:
    """The wrong ones of both, as if none were the same; or the right ones, if those are fewer."""
    return min(2 * num - hits_a - hits_b, hits_a + hits_b)


def _most_by_reference(a: Accuracy, of_a: Parity, b: Accuracy, of_b: Parity) -> list[int]:
    """The images on which A or B differs from the reference in being right.

    Nothing where the references are not known to be the same: they have to be right equally often.
    """
    sides = []
    for accuracy, parity in ((a, of_a), (b, of_b)):
        lost, won = parity.only_reference_correct, parity.only_row_correct
        if lost is None or won is None or parity.num_samples != accuracy.num_samples:
            return []
        sides.append((parity.reference, accuracy.top1_correct + lost - won, lost + won))
    (name_a, right_a, most_a), (name_b, right_b, most_b) = sides
    return [most_a + most_b] if (name_a, right_a) == (name_b, right_b) else []
