"""The processes of a row with several ranks: one that fails ends all, and is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from builders import stub_ranks

from fastbench.core.errors import CorruptImageError, CrashError, DataError, OutOfMemoryError
from fastbench.records.record import FailedRow
from fastbench.runner import rank_group
from fastbench.runner.rank_group import RankGroup, of_rank

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life come, and are missed, sooner."""
    monkeypatch.setattr(rank_group, "SILENCE_S", 2 * rank_group.BEAT_S)
    monkeypatch.setattr(rank_group, "_CAUSE_S", 1.0)


class Elsewhere:
    """Ranks that other processes have started."""

    def __init__(self, row: FailedRow | None = None) -> None:
        self.row = row
        self.told: list[FailedRow] = []

    def failed_row(self) -> FailedRow | None:
        return self.row

    def fail_row(self, row: FailedRow) -> None:
        self.told.append(row)

    def host_of(self, rank: int) -> str:
        return f"node{rank}"


def group(*does: str, cluster: Any = None, first: int = 0) -> RankGroup:
    jobs = {first + number: (each, f"rank {first + number}") for number, each in enumerate(does)}
    return RankGroup(stub_ranks.rank, jobs, cluster)


def messages(ranks: RankGroup) -> Iterator[Any]:
    while (message := ranks.next_message(60)) is not None:
        yield message


def test_the_first_rank_does_the_talking() -> None:
    with group("answer", "answer", "answer") as ranks:
        assert [*messages(ranks)] == [("say", "rank 0 is at work"), ("answer", "rank 0")]
        assert ranks.has_ended()
        assert ranks.status == 0


@pytest.mark.parametrize(
    ("does", "ending"),
    [("die", "was killed by SIGKILL"), ("leave", "ended with exit code 0")],
)
def test_a_rank_that_dies_ends_all_and_is_named(does: str, ending: str) -> None:
    with group("wait", does, "wait") as ranks:
        pids = [child._pid for child in ranks._children.values()]
        assert ("answer", "rank 0") not in [*messages(ranks)]
        assert ranks.called == "The process of rank 1"
        assert ranks.ending == ending
        assert ("the last words" in ranks.read_output()[1]) == (does == "die")
    assert not any(map(psutil.pid_exists, pids))


def test_a_rank_that_hangs_is_ended() -> None:
    with group("wait", "stop") as ranks:
        began = time.monotonic()
        assert [*messages(ranks)] == [("say", "rank 0 is at work")]
        assert ranks.called == "The process of rank 1"
        assert ranks.silent_s is not None
        assert ranks.silent_s > rank_group.SILENCE_S
        assert time.monotonic() - began < 30


def test_an_error_has_the_name_of_its_rank() -> None:
    with group("wait", "fail") as ranks:
        *_, (_, row) = messages(ranks)
    assert isinstance(row.error, OutOfMemoryError)
    assert str(row.error) == "Rank 1: Out of memory."


def test_an_error_of_all_ranks_has_no_rank() -> None:
    with group("refuse", "refuse", "refuse") as ranks:
        *_, (name, error) = messages(ranks)
    assert (name, type(error), str(error)) == ("ends", DataError, "There are no images.")


def test_the_cause_is_said_and_not_what_follows_from_it() -> None:
    with group("lose", "fail") as ranks:
        *_, (_, row) = messages(ranks)
    assert str(row.error) == "Rank 1: Out of memory."


def test_a_loss_without_a_cause_is_said_at_last() -> None:
    with group("lose", "wait") as ranks:
        *_, (name, error) = messages(ranks)
    assert (name, str(error)) == ("ends", "Another rank has ended.")


def test_ranks_of_other_processes_hear_of_it() -> None:
    others = Elsewhere()
    with group("fail", cluster=others, first=2) as ranks:
        *_, (_, row) = messages(ranks)
        ranks.tell_others(row)
    assert str(row.error) == "Rank 2 on node2: Out of memory."
    assert [str(x.error) for x in others.told] == [str(row.error)]


def test_what_ranks_of_other_processes_fail_with_ends_this_one() -> None:
    failed = FailedRow("a model", "a loader", CrashError("Rank 1 on node1 died."))
    others = Elsewhere(failed)
    with group("wait", cluster=others) as ranks:
        assert [*messages(ranks)][-1] == ("answer", failed)
        ranks.tell_others(failed)  # it was they who said it
    assert not others.told


def test_errors_keep_their_class() -> None:
    assert isinstance(of_rank(CrashError("It died.", -11), "rank 3"), CrashError)
    assert of_rank(CrashError("It died.", -11), "rank 3").status == -11  # type: ignore[attr-defined]
    file = CorruptImageError("a.jpg", "is cut off")
    assert of_rank(file, "rank 3") is file
