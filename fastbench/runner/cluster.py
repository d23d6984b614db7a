"""Ranks that torchrun or srun has started, each as a `fastbench run` of its own.

Rank 0 leads: it reads the options, makes the plan, and writes what is measured. The others follow:
they take each row from it, measure their share in a process of their own, as it does, and print
nothing. What leader and followers tell each other lies in torchrun's store, or under srun in one
that the leader opens.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import pickle
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastbench.core import temporary
from fastbench.core.errors import (
    CrashError,
    RankLostError,
    UsageError,
    first_line,
)
from fastbench.core.units import counted
from fastbench.measure.ranks import Rendezvous
from fastbench.records.record import FailedRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fastbench.core.config import RunConfig

BEAT_S: Final = 2.0
SILENCE_S: Final = 22.0
"""A follower that gives no sign of life for so long has died with its machine, or hangs. Longer
than a rank's own, which names the cause."""
START_S: Final = 300.0
"""How long ranks wait for each other to be started."""
_POLL_S: Final = 0.25
_END_S: Final = 10.0
_OVER: Final = b""
_PORTS: Final = range(29_500, 39_500)


class Started(NamedTuple):
    """What torchrun or srun says of this process."""

    by: str
    rank: int
    size: int
    local_rank: int
    address: tuple[str, int]
    has_store: bool
    attempt: str = "0"
    """torchrun may start all anew, with what was told before still in its store."""


def started_by(environment: Mapping[str, str]) -> Started | None:
    """What the environment says; None for a process that nobody started as one of several.

    Raises `UsageError` where it contradicts itself.
    """
    get = environment.get
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= {*environment}:
        by, names = "torchrun", ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
        given = [get("RANK"), get("WORLD_SIZE"), get("LOCAL_RANK", "0"), get("MASTER_PORT")]
        host = environment["MASTER_ADDR"]
    # A batch script has SLURM_PROCID too, and is no task of a step.
    elif "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        by = "srun"
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "MASTER_PORT")
        job = f"{get('SLURM_JOB_ID')}.{get('SLURM_STEP_ID')}"
        port = _PORTS[sum(map(ord, job)) * 997 % len(_PORTS)]
        given = [*map(get, names[:3]), get("MASTER_PORT", str(port))]
        host = get("MASTER_ADDR") or first_host(get("SLURM_STEP_NODELIST", "localhost"))
    else:
        return None
    if not all(x is not None and x.isdecimal() for x in given):
        told = ", ".join(f"{name}={value}" for name, value in zip(names, given, strict=True))
        raise UsageError(
            f"The environment says that {by} started this process, and has {told}. "
            f"Unset them, or start it with {by}."
        )
    rank, size, local_rank, port = (int(x) for x in given if x is not None)
    if size == 1:
        return None
    if rank >= size:
        raise UsageError(f"{by} says that this is rank {rank} of {size}. Ranks count from 0.")
    has_store = get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = get("TORCHELASTIC_RESTART_COUNT", "0")
    return Started(by, rank, size, local_rank, (host, port), has_store, attempt)


def first_host(nodes: str) -> str:
    """The first of Slurm's nodes: `gpu[07-12,20]-ib,cpu1` -> `gpu07-ib`."""
    found = re.match(r"([^\[,]*)(?:\[([0-9]+)[^\]]*\]([^\[,]*))?", nodes)
    assert found is not None
    return "".join(part or "" for part in found.groups())


@functools.cache
def here() -> Cluster | None:
    """The ranks that this process was started with; None if it was started by itself."""
    started = started_by(os.environ)
    return None if started is None else Cluster(started)


def refuse(command: str) -> None:
    """Raise `UsageError` if this process is one of several: the command is for one."""
    if (cluster := here()) is not None:
        raise UsageError(
            f"`fastbench {command}` measures in one process, and {cluster.started.by} started "
            f"{cluster.size}. Start it by itself."
        )


def meet_here(size: int) -> list[Rendezvous]:
    """How so many ranks on this machine find each other, for one row."""
    file = os.path.join(temporary.run_folder(), f"ranks-{time.monotonic_ns()}")
    return [Rendezvous(rank, rank, size, "row", file=file) for rank in range(size)]


class Cluster:
    """Leader and followers, from the view of one of them."""

    def __init__(self, started: Started) -> None:
        self.started = started
        self.size = started.size
        self._number = 0
        self._num_in_row = 0
        self._beats: dict[int, tuple[int, float]] = {}
        self._silent: set[int] = set()
        self._name = ("", "")
        self._connected: Any = None
        self._hosts: dict[int, str] = {}

    @property
    def _prefix(self) -> str:
        return f"fastbench/{self.started.attempt}"

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.started.rank == 0

    # ------------------------------------------------------------------------------- rows

    def begin_row(
        self, make_rows: Any, config: RunConfig, folder: Path, names: Sequence[tuple[str, str]]
    ) -> list[Rendezvous]:
        """Give the row to the followers; how this process's rank meets the others.

        Raises `UsageError` for more ranks than there are.
        """
        if config.ranks > self.size:
            raise UsageError(
                f"--ranks is {config.ranks}, and {self.started.by} started "
                f"{counted(self.size, 'process', 'processes')}. Start more, or lower it."
            )
        self._num_in_row, self._name = config.ranks, names[0]
        self._beats.clear()
        if self.leads:
            self._number += 1
            self._set(f"row/{self._number}", pickle.dumps((make_rows, config, folder, names)))
        started = self.started
        return [
            Rendezvous(
                started.rank,
                started.local_rank,
                config.ranks,
                prefix=f"{self._prefix}/row/{self._number}",
                address=started.address,
            )
        ]

    def fail_row(self, row: FailedRow) -> None:
        """Tell all others that this rank has ended the row, unless another did before."""
        if self._add(f"failures/{self._number}", 1) == 1:
            self._set(f"failed/{self._number}", pickle.dumps(row))

    def failed_row(self) -> FailedRow | None:
        """What another process's rank has ended this row with; None if none did.

        The leader also sees that a follower's whole process, or its machine, has died.
        """
        key = f"failed/{self._number}"
        if self._has(key):
            row: FailedRow = pickle.loads(self._get(key))
            return row
        if self.leads and (rank := self._silent_rank()) is not None:
            name, host = f"Rank {rank}", self.host_of(rank)
            where = name if host is None else f"{name} on {host}"
            error = CrashError(
                f"{where} gave no sign of life for {SILENCE_S:.0f} s: its process or its machine "
                f"has died, or hangs. Look at it, and go on with --resume."
            )
            return FailedRow(*self._name, error)
        return None

    def host_of(self, rank: int) -> str | None:
        """The name of a rank's machine; None if it is not known yet."""
        if rank == self.started.rank:
            return socket.gethostname()
        if rank not in self._hosts and self._has(f"host/{rank}"):
            self._hosts[rank] = self._get(f"host/{rank}").decode()
        return self._hosts.get(rank)

    def _silent_rank(self) -> int | None:
        """A follower of this row whose process gives no sign of life; None if all do."""
        now = time.monotonic()
        for rank in range(1, self._num_in_row):
            beat = self._add(f"beat/{rank}", 0)
            last, since = self._beats.get(rank, (None, now))
            if beat != last:
                self._beats[rank] = (beat, now)
            elif now - since > SILENCE_S:
                self._silent.add(rank)
                return rank
        return None

    # ------------------------------------------------------------------------ leading, following

    @contextlib.contextmanager
    def leading(self) -> Iterator[None]:
        """Rows may begin within the block; after it the followers end."""
        self._wait_for("started", self.size, START_S)
        try:
            yield
        finally:
            with contextlib.suppress(RankLostError):  # they have ended before
                self._number += 1
                self._set(f"row/{self._number}", _OVER)
                if not self.started.has_store:  # the store ends with this process
                    self._wait_for("over", self.size - 1 - len(self._silent), _END_S)

    def rows(self) -> Iterator[tuple[Any, RunConfig, Path, Sequence[tuple[str, str]]]]:
        """What `begin_row` was given for each row in which this follower has a part."""
        self._set(f"host/{self.started.rank}", socket.gethostname().encode())
        self._add("started", 1)
        threading.Thread(target=self._beat, name="signs-of-life", daemon=True).start()
        while True:
            self._number += 1
            key = f"row/{self._number}"
            while not self._has(key):
                time.sleep(_POLL_S)
            job = self._get(key)
            if job == _OVER:
                self._add("over", 1)
                return
            row = pickle.loads(job)
            if self.started.rank < row[1].ranks:
                yield row

    def _beat(self) -> None:
        store = self._connect()
        with contextlib.suppress(RuntimeError):  # the leader has ended
            while True:
                store.add(f"beat/{self.started.rank}", 1)
                time.sleep(BEAT_S)

    # -------------------------------------------------------------------------------- the store

    def _connect(self, *, opens: bool = False) -> Any:
        """A connection to the store. Raises `RankLostError` if it is not there."""
        from torch.distributed import PrefixStore, TCPStore

        host, port = self.started.address
        try:
            store = TCPStore(
                host, port, is_master=opens, wait_for_workers=False,
                timeout=datetime.timedelta(seconds=START_S),
            )  # fmt: skip
        except RuntimeError as error:
            raise RankLostError(
                f"The store of {self.started.by} at {host}:{port} cannot be "
                f"{'opened' if opens else 'reached'} ({first_line(error)}). "
                f"Set MASTER_ADDR and MASTER_PORT to a machine and a port that all ranks reach."
            ) from error
        return PrefixStore(self._prefix, store)

    @property
    def _store(self) -> Any:
        if self._connected is None:
            self._connected = self._connect(opens=self.leads and not self.started.has_store)
            if self.leads:
                self._connected.add("started", 1)
        return self._connected

    def _set(self, key: str, value: bytes) -> None:
        with _leader_lost():
            self._store.set(key, value)

    def _get(self, key: str) -> bytes:
        with _leader_lost():
            value: bytes = self._store.get(key)
            return value

    def _add(self, key: str, num: int) -> int:
        """A counter after `num` was added to it."""
        with _leader_lost():
            value: int = self._store.add(key, num)
            return value

    def _has(self, key: str) -> bool:
        with _leader_lost():
            return bool(self._store.check([key]))

    def _wait_for(self, key: str, num: int, seconds: float) -> None:
        """Wait until so many have counted themselves; at last it goes on without them."""
        deadline = time.monotonic() + seconds
        while self._add(key, 0) < num and time.monotonic() < deadline:
            time.sleep(_POLL_S)


@contextlib.contextmanager
def _leader_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(
            f"Rank 0 has ended, and the others with it ({first_line(error)}). See what it said."
        ) from error
