"""The processes of a row with several ranks, which answer as one child.

Rank 0 does the talking. If any rank fails, dies or gives no sign of life, the row has failed: the
others are ended, and the row's error names the rank and its machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, Final, Self

from fastbench.core import errors
from fastbench.core.child_process import Channel, ChildProcess, portable
from fastbench.core.errors import (
    CorruptImageError,
    CrashError,
    FastbenchError,
    LoaderFailedError,
    RankLostError,
)
from fastbench.records.record import FailedRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastbench.runner.cluster import Cluster

SILENCE_S: Final = 20.0
"""A rank that gives no sign of life for so long hangs."""
START_S: Final = 300.0
"""The same for its first sign: torch is imported before it."""
BEAT_S: Final = 2.0
"""How often a rank gives a sign of life."""
_TICK_S: Final = 1.0
_READ_S: Final = 0.01
_CAUSE_S: Final = 5.0
"""How long to wait for the cause, when all that is known is that a rank has lost another."""
_TOGETHER_S: Final = 1.0
"""Ranks that fail with the same words within this time have one error, of none in particular."""


class RankGroup:
    """`work(job, channel)` in a process for each of the ranks here, with the job of that rank.

    The interface is that of `ChildProcess`: messages are rank 0's, `status` and output those of the
    rank that has failed. `cluster` has the ranks that other processes have started.
    """

    def __init__(
        self,
        work: Callable[[Any, Channel], None],
        jobs: Mapping[int, Any],
        cluster: Cluster | None = None,
    ) -> None:
        self._cluster = cluster
        self._children: dict[int, ChildProcess] = {}
        self._failed: int | None = None
        self._is_said = self._is_told = False
        self._silent_s: float | None = None
        try:
            for rank, job in jobs.items():
                self._children[rank] = ChildProcess(work, job)
        except BaseException:
            self.__exit__()
            raise
        self._finished: set[int] = set()
        self._begun: set[int] = set()
        self._silences_s = dict.fromkeys(self._children, 0.0)
        self._lost: FastbenchError | None = None
        self._lost_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for child in self._children.values():
            child.__exit__()

    # ----------------------------------------------------------------- as ChildProcess has them

    @property
    def called(self) -> str:
        """What the process that has failed is called."""
        if self._failed is None:
            return self._shown.called
        return f"The process of {self._name(self._failed)}"

    @property
    def silent_s(self) -> float | None:
        """For how long it gave no sign of life before it was ended; None if it did not hang."""
        return self._silent_s

    @property
    def status(self) -> int:
        """The exit status of the rank that has failed, or the first that is not 0.

        It is 0 where a message has said the failure: the processes were ended for it.
        """
        if self._failed is not None:
            return 0 if self._is_said else self._shown.status
        return next((x.status for x in self._children.values() if x.status), 0)

    @property
    def is_done(self) -> bool:
        """Whether all ranks here have done their work and ended: rank 0 may be elsewhere."""
        return self.has_ended() and self._finished == {*self._children} and self._lost is None

    @property
    def fault(self) -> str:
        """What it was ended for."""
        return self._shown.fault

    @property
    def ending(self) -> str:
        """How it ended, to follow `called`."""
        return self._shown.ending

    def read_output(self) -> tuple[bytes, list[str]]:
        """What it printed."""
        return self._shown.read_output()

    def has_ended(self) -> bool:
        """Whether all have ended."""
        return all(child.has_ended() for child in self._children.values())

    def ends_within(self, seconds: float) -> bool:
        """Wait for all to end by themselves; whether they did."""
        deadline = time.monotonic() + seconds
        return all(x.ends_within(deadline - time.monotonic()) for x in self._children.values())

    def interrupt(self) -> None:
        """Send Ctrl-C to all."""
        for child in self._children.values():
            child.interrupt()

    def end(self) -> None:
        """Kill what is left of all."""
        for child in self._children.values():
            child.end()

    def next_message(self, seconds: float = math.inf) -> Any:
        """Rank 0's next message, or what a rank has failed with; None if there is no other.

        Raises `TimeoutError` if none comes within `seconds`.
        """
        if self._failed is not None:
            return None
        deadline = time.monotonic() + seconds
        while True:
            before = time.monotonic()
            if (found := self._look()) is not None:
                return found
            if self._failed is not None or self.is_done:
                return None
            left = deadline - before
            if left <= 0:
                raise TimeoutError
            signs = [each for x in self._children.values() if not x.has_ended() for each in x.signs]
            connection.wait(signs, min(left, _TICK_S))
            # At most so much: this process may have been stopped itself.
            self._grow_silent(min(time.monotonic() - before, 2 * _TICK_S))

    def tell_others(self, row: FailedRow) -> None:
        """Tell the ranks of other processes that the row has failed, if it is not they who did."""
        if self._cluster is not None and not self._is_told:
            with contextlib.suppress(RankLostError):
                self._cluster.fail_row(dataclasses.replace(row, error=portable(row.error)))

    # ------------------------------------------------------------------------------ its own

    @property
    def _shown(self) -> ChildProcess:
        rank = next(iter(self._children)) if self._failed is None else self._failed
        return self._children[rank]

    def _name(self, rank: int) -> str:
        host = self._cluster.host_of(rank) if self._cluster is not None else None
        return f"rank {rank}" if host is None else f"rank {rank} on {host}"

    def _look(self) -> Any:
        """A message for whoever listens, of those that are there; it notes what fails."""
        for rank, child in self._children.items():
            while self._failed is None and child.has_news():
                try:
                    message = child.next_message(_READ_S)
                except TimeoutError:
                    break
                if message is None:
                    if rank not in self._finished:
                        self._fail(rank)
                    break
                self._silences_s[rank] = 0.0
                match message:
                    case ("alive",):
                        self._begun.add(rank)
                    case ("finished",):
                        self._finished.add(rank)
                    case ("answer", FailedRow() as row):
                        if (error := self._cause(rank, row.error)) is not None:
                            return "answer", FailedRow(row.model, row.loader, error)
                    case ("ends", error):
                        if (error := self._cause(rank, error)) is not None:
                            return "ends", error
                    case _ if rank == 0:
                        return message
        return self._of_cluster()

    def _cause(self, rank: int, error: FastbenchError) -> FastbenchError | None:
        """The error with its rank's name; None for one that only follows from another's."""
        self._finished.add(rank)  # it says itself why it ends
        if isinstance(error, RankLostError):
            self._lost = self._lost or error
            return None
        self._failed, self._is_said = rank, True
        if self._cluster is None and self._all_say(str(error)):
            return error
        return of_rank(error, self._name(rank))

    def _all_say(self, text: str) -> bool:
        """Whether every other rank here soon fails with these words too."""
        others = {rank: x for rank, x in self._children.items() if rank != self._failed}
        deadline = time.monotonic() + _TOGETHER_S
        for child in others.values():
            same = False
            with contextlib.suppress(TimeoutError):
                while not same and (
                    message := child.next_message(max(0.0, deadline - time.monotonic()))
                ):
                    match message:
                        case ("answer", FailedRow() as row):
                            same = str(row.error) == text
                        case ("ends", error):
                            same = str(error) == text
            if not same:
                return False
        return True

    def _fail(self, rank: int) -> None:
        self._failed = rank
        for child in self._children.values():
            child.end()

    def _grow_silent(self, seconds: float) -> None:
        for rank, child in self._children.items():
            if rank in self._finished or child.has_ended():
                continue
            self._silences_s[rank] += seconds
            most_s = SILENCE_S if rank in self._begun else START_S
            if self._silences_s[rank] > most_s:
                self._silent_s = self._silences_s[rank]
                self._fail(rank)
                return

    def _of_cluster(self) -> Any:
        """What other processes' ranks have failed with; a rank's loss, if no other cause comes."""
        if self._cluster is not None and (row := self._cluster.failed_row()) is not None:
            self._failed = next(iter(self._children))
            self._is_told = self._is_said = True
            return "answer", row
        if self._lost is None:
            return None
        self._lost_s = self._lost_s or time.monotonic()
        patience_s = _CAUSE_S if self._cluster is None else SILENCE_S + _CAUSE_S
        if time.monotonic() - self._lost_s < patience_s:
            return None
        self._failed, self._is_said = next(iter(self._children)), True
        return "ends", self._lost


def of_rank(error: FastbenchError, name: str) -> FastbenchError:
    """The error with the rank's name in front, of the same class where that is ours.

    One that names a file stays as it is: every rank would say the same of it.
    """
    if isinstance(error, CorruptImageError | LoaderFailedError):
        return error
    text = f"{name[0].upper()}{name[1:]}: {error}"
    if isinstance(error, CrashError):
        return CrashError(text, error.status)
    kind = type(portable(error))
    return kind(text) if kind.__module__ == errors.__name__ else FastbenchError(text)


# ------------------------------------------------------------------------------------ the child


def give_signs_of_life(channel: Channel) -> None:
    """Send one every `BEAT_S` seconds, from a thread, as long as this process runs."""

    def beat() -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            while True:
                channel.send("alive")
                time.sleep(BEAT_S)

    threading.Thread(target=beat, name="signs-of-life", daemon=True).start()
