"""Ranks share the samples out, tell each other what they must, and are alone where there is one."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from builders.meeting import Scripted, lose_the_last, meet, talk, use_two_machines

from fastbench.core.errors import RankLostError
from fastbench.measure import ranks as module
from fastbench.measure.ranks import ALONE, Place, Rendezvous, join, share_of, wait_for_all


@pytest.mark.parametrize("size", range(1, 18))
def test_each_sample_is_in_one_share(size: int) -> None:
    for num_samples in range(51):
        shares = [share_of(num_samples, rank, size) for rank in range(size)]
        assert [i for share in shares for i in share] == [*range(num_samples)]
        lengths = {len(share) for share in shares}
        assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", range(1, 18))
def test_the_first_ranks_by_themselves_share_fewer_samples(size: int) -> None:
    """As `without_idle` has it: nobody is left without one."""
    for num_samples in range(1, size):
        shares = [share_of(num_samples, rank, num_samples) for rank in range(num_samples)]
        assert [[*share] for share in shares] == [[i] for i in range(num_samples)]


def test_a_rank_by_itself() -> None:
    assert (ALONE.rank, ALONE.size, ALONE.is_first, ALONE.here) == (0, 1, True, [0])
    assert ALONE.is_one_machine
    assert ALONE.gather("a") == ["a"]
    assert (ALONE.sum(2.5), ALONE.max(-1), ALONE.any(False), ALONE.any(True)) == (
        2.5,
        -1,
        False,
        True,
    )
    assert ALONE.of_first("a") == ALONE.once_a_machine(lambda: "a") == "a"
    assert ALONE.wall_s(3.0, 5.5) == 2.5
    assert ALONE.share(7) == range(7)
    assert ALONE.without_idle(1) is ALONE
    wait_for_all(ALONE.arrive(), lambda: pytest.fail("nobody is waited for"))
    with ALONE.first_here():
        pass


def test_a_place_has_the_clock_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot_id").write_text("an-id\n")
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr(module.socket, "gethostname", lambda: "a-host")
    assert Place.here(3, 1) == Place(3, 1, "a-host", "an-id")
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "none")
    assert Place.here(3, 1).clock == "a-host"


@pytest.mark.parametrize(
    ("clocks", "others", "wall_s"),
    [
        ("aa", [(2.0, 9.0)], 8.0),  # from 1 to 9
        ("aa", [(0.5, 3.0)], 3.5),
        ("ab", [(502.0, 509.0)], 7.0),  # other clocks cannot be compared
        ("ab", [(502.0, 504.0)], 3.0),
        ("aba", [(502.0, 504.0), (0.0, 2.0)], 4.0),
    ],
)
def test_a_window_lasts_from_the_first_start_to_the_last_end(
    clocks: str, others: list[tuple[float, float]], wall_s: float
) -> None:
    assert Scripted(clocks, *others).wall_s(1.0, 4.0) == wall_s


@pytest.mark.usefixtures("server")
def test_what_two_ranks_tell_each_other(tmp_path: Path) -> None:
    first, second = meet(talk, 2, tmp_path)
    assert first["were all there"] is False
    for rank, found in enumerate((first, second)):
        assert [(x.rank, x.local_rank) for x in found["places"]] == [(0, 0), (1, 1)]
        assert found["gathered"] == [[0, "ä"], [1, "ä"]]
        assert (found["sum"], found["max"], found["any"]) == (2.0, 0, (True, False))
        assert found["of first"] == "of 0"
        assert found["share"] == (range(3), range(3, 7))[rank]
        assert found["here"] == ([0, 1], True)
        assert found["wall"] == 10.0
        assert found["working"] == (2, rank, [0, 1])
        assert found["nobody idle"] is True


@pytest.mark.usefixtures("server")
def test_of_three_ranks_one_has_no_sample_of_two(tmp_path: Path) -> None:
    found = meet(talk, 3, tmp_path)
    assert [each["working"] for each in found] == [(2, 0, [0, 1]), (2, 1, [0, 1]), None]
    assert [each["nobody idle"] for each in found] == [True] * 3
    assert [each["share"] for each in found] == [range(2), range(2, 4), range(4, 7)]


@pytest.mark.usefixtures("server")
def test_what_is_done_once_a_machine(tmp_path: Path) -> None:
    found = meet(use_two_machines, 3, tmp_path)
    assert [each["here"] for each in found] == [([0, 1], False), ([0, 1], False), ([2], False)]
    assert [each["once"] for each in found] == ["a", "a", "b"]
    assert sorted((tmp_path / "calls").read_text().split()) == ["0", "2"]
    # The others of a machine come after its first, and find what it has left.
    assert [each["found it"] for each in found] == [False, True, False]
    assert [each["wall"] for each in found] == [11.0] * 3


@pytest.mark.usefixtures("server")
def test_a_rank_that_ends_is_missed_by_all_others(tmp_path: Path) -> None:
    assert meet(lose_the_last, 3, tmp_path) == ["Another rank has ended."] * 2 + ["ended"]


def test_ranks_that_do_not_come_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setattr(module, "LIMIT", datetime.timedelta(seconds=1))
    with pytest.raises(RankLostError):
        join(Rendezvous(0, 0, 2, "row", file=str(tmp_path / "store")))
