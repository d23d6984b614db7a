"""The gates of `fastbench compare` for CI, and its exit code. The highest counts:

0  nothing that was asked for is wrong
1  `--fail-below`: a row is certainly slower than that: the upper end of its ratio's 95 %
   interval is below (without an interval the ratio itself); or a file cannot be read or written
2  what was asked for cannot be judged: a row is INVALID or unlike, its records do not hold the
   same images' hits, with `--require-all` a row has no partner, or with `--fail-unsure` a slowdown
   to that ratio is not ruled out
3  `--fail-accuracy`: predictions of a row got worse beyond chance (see `worsening.py`)

A row under load counts as the others do: its ratio is that of its speed (see `load_comparison.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import EXIT_WRONG, UsageError
from fastbench.core.units import counted
from fastbench.report.compare.pair_comparison import INVALID_PAIR, UNLIKE, PairComparison
from fastbench.report.compare.worsening import find_worsening, is_scored

if TYPE_CHECKING:
    from fastbench.report.compare.load_comparison import ComparedLoad
    from fastbench.report.compare.set_comparison import SetComparison

EXIT_SLOWER: Final = 1
EXIT_UNJUDGED: Final = UsageError.exit_code

_NAMED: Final = 3
_ALIKE_OR_ALLOWED: Final = "Measure them alike, or judge all the same with --allow-unlike."


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a comparison has to pass; `allow_unlike` judges unlike rows too.

    Raises `UsageError` for a `fail_below` that is no ratio, and `fail_unsure` without it.
    """

    fail_below: float | None = None
    fail_unsure: bool = False
    fail_accuracy: bool = False
    require_all: bool = False
    allow_unlike: bool = False

    def __post_init__(self) -> None:
        """Check the ratio."""
        if self.fail_below is not None and not 0 < self.fail_below < float("inf"):
            raise UsageError(
                f"--fail-below is {self.fail_below}. Give a ratio above 0, such as 0.95."
            )
        if self.fail_unsure and self.fail_below is None:
            raise UsageError("--fail-unsure needs a ratio. Give --fail-below too, such as 0.95.")


@dataclass(frozen=True)
class Judgement:
    """The exit code (see the module), why it is not 0, and what else to complain of.

    `unsure` are slowdowns that are not ruled out, where that fails nothing.
    """

    code: int
    reasons: list[str]
    others: list[str]
    unsure: tuple[str, ...] = ()

    @property
    def complaints(self) -> list[str]:
        """Everything, in sentences."""
        return [*self.reasons, *self.unsure, *self.others]


def judge(found: SetComparison, gates: Gates) -> Judgement:
    """Hold a comparison to the gates; a row without a partner is complained of in any case."""
    code, reasons, unsure = 0, [], []
    for row in found.rows:
        its_code, why = _judge(row.comparison, gates)
        code = max(code, its_code)
        reasons += [f"{row.pair.b[0].path}: {each}" for each in why]
        if not why and (missed := _unsure(row.comparison, gates)):
            unsure.append(f"{row.pair.b[0].path}: {missed}")
    for under_load in found.under_load.rows:
        its_code, why, open_ = _judge_load(under_load, gates)
        code = max(code, its_code)
        reasons += [f"{under_load.b.path}: {each}" for each in why]
        unsure += [f"{under_load.b.path}: {each}" for each in open_]
    if gates.fail_unsure and unsure:
        code, reasons, unsure = max(code, EXIT_UNJUDGED), [*reasons, *unsure], []
    missing = _without_partner(found)
    if gates.require_all and missing:
        code, reasons, missing = max(code, EXIT_UNJUDGED), [*reasons, *missing], []
    return Judgement(code, reasons, missing, tuple(unsure))


def _without_partner(found: SetComparison) -> list[str]:
    missing = [
        f"No partner in {other} for {lone.files}: {lone.nearest}."
        for only, other in ((found.only_a, found.name_b), (found.only_b, found.name_a))
        for lone in only
    ]
    missing += [
        f"No partner in {other} for {row.path}: no row under load there is like it."
        for rows, other in (
            (found.under_load.only_a, found.name_b),
            (found.under_load.only_b, found.name_a),
        )
        for row in rows
    ]
    rest = len(missing) - _NAMED
    more = [f"{counted(rest, 'more row')} without a partner: see the report."] if rest > 0 else []
    return [*missing[:_NAMED], *more]


def slowdown(comparison: PairComparison, fail_below: float) -> str | None:
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


def _judge_load(row: ComparedLoad, gates: Gates) -> tuple[int, list[str], list[str]]:
    """The code of a row under load, why, and what is not ruled out."""
    if gates.fail_below is None and not gates.fail_accuracy:
        return 0, [], []
    if row.invalid:
        return EXIT_UNJUDGED, [f"It cannot be judged: {row.invalid[0]}. Measure again."], []
    if row.unlike and not gates.allow_unlike:
        names = ", ".join(difference.name for difference in row.unlike)
        why = f"It cannot be judged: the records differ in {names}."
        return EXIT_UNJUDGED, [f"{why} {_ALIKE_OR_ALLOWED}"], []
    if gates.fail_accuracy and row.worse:
        return EXIT_WRONG, [f"{each}." for each in row.worse], []
    if gates.fail_below is not None and not row.is_one_figure:
        why = f"It cannot be judged: A and B have no figure in common ({row.figure})."
        return (
            EXIT_UNJUDGED,
            [f"{why} Measure both in one --scenario, and both with --rate or both without."],
            [],
        )
    if gates.fail_below is None or row.speed is None:
        return 0, [], []
    low, high = row.interval or (row.speed, row.speed)
    below = f"of {gates.fail_below:g} times A's speed"
    if high < gates.fail_below:
        return EXIT_SLOWER, [f"{row.in_words}: certainly short {below}."], []
    if low < gates.fail_below:
        return 0, [], [f"{row.in_words}. A slowdown to short {below} is not ruled out."]
    return 0, [], []


def _unsure(comparison: PairComparison, gates: Gates) -> str | None:
    """Why a slowdown to `fail_below` may have been missed; None where it is ruled out."""
    interval = comparison.interval
    if gates.fail_below is None or interval is None or interval[0] >= gates.fail_below:
        return None
    return (
        f"A slowdown to {gates.fail_below:g} is not ruled out: the ratio's 95 % interval is "
        f"{interval[0]:.2f} to {interval[1]:.2f}. Repeat both sides more often, or on a quieter "
        f"machine."
    )


def _judge(comparison: PairComparison, gates: Gates) -> tuple[int, list[str]]:
    if gates.fail_below is None and not gates.fail_accuracy:
        return 0, []
    if comparison.word == INVALID_PAIR:
        reason = comparison.invalid[0]
        return EXIT_UNJUDGED, [f"It cannot be judged: {reason}. Measure again."]
    if comparison.word == UNLIKE and not gates.allow_unlike:
        names = ", ".join(difference.name for difference in comparison.unlike)
        return EXIT_UNJUDGED, [
            f"It cannot be judged: the records differ in {names}. {_ALIKE_OR_ALLOWED}"
        ]
    code, why = 0, []
    if gates.fail_below is not None and (slow := slowdown(comparison, gates.fail_below)):
        code, why = EXIT_SLOWER, [slow]
    if gates.fail_accuracy:
        if worse := find_worsening(comparison):
            return EXIT_WRONG, [*why, *(f"{each}." for each in worse)]
        if not is_scored(comparison):
            unscored = (
                "Its predictions cannot be judged: A and B do not both hold hits or agreement on "
                "the same images. Measure both with the same --data and --reference."
            )
            return EXIT_UNJUDGED, [*why, unscored]
    return code, why
