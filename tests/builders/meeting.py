"""Ranks of tests: processes that meet, do what a function says, and tell what it returned."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastbench.core.child_process import Channel, ChildProcess
from fastbench.core.errors import RankLostError
from fastbench.measure.ranks import Place, Ranks, Rendezvous, join, wait_for_all

Work = Callable[[Ranks, Path], Any]


def meet(work: Work, size: int, folder: Path) -> list[Any]:
    """What `work(ranks, folder)` returns on each rank; `folder` is an empty one for their files."""
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(ChildProcess(_meet, (work, place, folder)))
            for place in _places(size, folder)
        ]
        found = []
        for child in children:
            message = child.next_message(60)
            assert message is not None, child.read_output()[1]
            name, what = message
            assert name == "found", what
            found.append(what)
    return found


class Scripted(Ranks):
    """The first of several on made-up machines: `others` are what the others say."""

    def __init__(self, clocks: str, *others: object) -> None:
        self.places = [Place(i, 0, f"host {clock}", clock) for i, clock in enumerate(clocks)]
        self.place = self.places[0]
        self.others = others

    def gather(self, value: object) -> list[object]:  # type: ignore[override]
        return [value, *self.others]


def _places(size: int, folder: Path) -> Iterator[Rendezvous]:
    for rank in range(size):
        yield Rendezvous(rank, rank, size, "row", file=str(folder / "store"))


def _meet(job: tuple[Work, Rendezvous, Path], channel: Channel) -> None:
    work, place, folder = job
    channel.send("found", work(join(place), folder))


def _wait_for(path: Path) -> None:
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} does not come")


# -------------------------------------------------------------------------- what they may do


def talk(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """One call of each method."""
    asked = folder / "asked"
    if not ranks.is_first:
        _wait_for(asked)  # until the first has seen that it is alone
    arrival = ranks.arrive()
    were_there = arrival.all_there() if ranks.is_first else None
    asked.touch()
    wait_for_all(arrival, lambda: time.sleep(0.001))
    working = ranks.without_idle(2)
    return {
        "places": ranks.places,
        "were all there": were_there,
        "gathered": ranks.gather([ranks.rank, "ä"]),
        "sum": ranks.sum(0.5 + ranks.rank),
        "max": ranks.max(-ranks.rank),
        "any": (ranks.any(ranks.rank == 1), ranks.any(False)),
        "of first": ranks.of_first(f"of {ranks.rank}"),
        "share": ranks.share(7),
        "here": (ranks.here, ranks.is_one_machine),
        "wall": ranks.wall_s(100.0 + ranks.rank, 110.0 - ranks.rank),
        "working": working and (working.size, working.rank, working.gather(ranks.rank)),
        "nobody idle": ranks.without_idle(ranks.size) is ranks,
    }


def use_two_machines(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Ranks 0 and 1 on one machine, 2 on another, as far as their places say."""
    ranks.places = [replace(each, clock="aab"[each.rank]) for each in ranks.places]
    ranks.place = ranks.places[ranks.rank]
    mark = folder / ranks.place.clock

    def work() -> str:
        with (folder / "calls").open("a") as file:
            file.write(f"{ranks.rank}\n")
        return ranks.place.clock

    with ranks.first_here():
        is_first = ranks.rank == ranks.here[0]
        found_it = mark.exists()
        if is_first:
            time.sleep(0.2)
            mark.touch()
    starts = (100.0, 101.0, 5.0)  # of two clocks
    start_s = starts[ranks.rank]
    return {
        "here": (ranks.here, ranks.is_one_machine),
        "once": ranks.once_a_machine(work),
        "found it": found_it,
        "wall": ranks.wall_s(start_s, start_s + 10.0),
    }


def lose_the_last(ranks: Ranks, folder: Path) -> str:
    """The last rank ends, and the first two wait for it, each in its own way."""
    if ranks.rank == ranks.size - 1:
        return "ended"
    try:
        if ranks.is_first:
            wait_for_all(ranks.arrive(), lambda: time.sleep(0.001))
        else:
            ranks.gather(None)
    except RankLostError as error:
        return str(error)
    return "nothing was lost"
