"""The ranks of a row: processes that each run a share of the images, at the same time.

One process is the only rank of itself, so that every pass has one path. Loaders know nothing of
ranks: each gets the share of its rank. What ranks tell each other goes through torch.distributed
(gloo), and never within a window.

A rank that waits must not stand still: its loader would fill its queue, and its next window begin
with batches for free. So where ranks meet before a window they go on with batches that are not
counted, until all have arrived (`Arrival`).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fastbench.core.errors import FastbenchError, RankLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

LIMIT: Final = datetime.timedelta(hours=2)
"""How long a rank waits for the others. Whoever started them sees earlier that one hangs."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Place:
    """Where a rank runs: its number, that on its machine, the machine's name, and its own clock's.

    Ranks of one `clock` have the same monotonic clock, cores and memory.
    """

    rank: int = 0
    local_rank: int = 0
    host: str = ""
    clock: str = ""

    @classmethod
    def here(cls, rank: int, local_rank: int) -> Place:
        """This process, as this rank."""
        try:
            clock = _BOOT_ID.read_text().strip()
        except OSError:
            clock = socket.gethostname()
        return cls(rank, local_rank, socket.gethostname(), clock)


class Arrival:
    """Whether every rank has come to the same point; made by `Ranks.arrive`."""

    def all_there(self) -> bool:
        """Whether they have, without waiting. Raises `RankLostError` if one cannot any more."""
        return True


class Ranks:
    """The one rank of a process by itself. `places` has all ranks, in their order."""

    def __init__(self, place: Place | None = None) -> None:
        self.place = place or Place.here(0, 0)
        self.places: Sequence[Place] = (self.place,)

    @property
    def rank(self) -> int:
        """The number of this rank, from 0."""
        return self.place.rank

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return len(self.places)

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which scores, compares and writes."""
        return self.rank == 0

    @property
    def here(self) -> list[int]:
        """The ranks on this machine."""
        return [each.rank for each in self.places if each.clock == self.place.clock]

    @property
    def is_one_machine(self) -> bool:
        """Whether all ranks have the same clock."""
        return len(self.here) == self.size

    def arrive(self) -> Arrival:
        """Tell the others that this rank is at this point."""
        return Arrival()

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in their order; waits for all. Raises `RankLostError`."""
        return [value]

    def group(self, ranks: Sequence[int]) -> Ranks | None:  # noqa: ARG002 - it is the only one
        """The first ranks by themselves; None for one that is not among them. All call it."""
        return self

    # ------------------------------------------------------------ by the three methods above

    def share(self, num_samples: int) -> range:
        """The samples of this rank: one stretch of all, as long as every other's but for one."""
        return share_of(num_samples, self.rank, self.size)

    def without_idle(self, num_samples: int) -> Ranks | None:
        """The ranks that have a sample; None for a rank that has none."""
        return self if num_samples >= self.size else self.group(range(num_samples))

    def sum(self, value: float) -> float:
        """The sum of every rank's value."""
        return sum(self.gather(value))

    def max(self, value: float) -> float:
        """The largest of every rank's value."""
        return max(self.gather(value))

    def any(self, value: bool) -> bool:
        """Whether it is so on any rank."""
        return any(self.gather(value))

    def of_first(self, value: T) -> T:
        """Rank 0's value, for all."""
        return self.gather(value if self.is_first else None)[0]  # type: ignore[return-value]

    def once_a_machine(self, work: Callable[[], T]) -> T:
        """The result of `work` on the machine's first rank; the others wait for it."""
        first = self.here[0]
        return self.gather(work() if self.rank == first else None)[first]  # type: ignore[return-value]

    @contextlib.contextmanager
    def first_here(self) -> Iterator[None]:
        """The block runs on the machine's first rank, then on its others at the same time.

        For what leaves files behind that the others find.
        """
        is_first = self.rank == self.here[0]
        if not is_first:
            self.gather(None)
        yield
        if is_first:
            self.gather(None)

    def wall_s(self, start_s: float, end_s: float) -> float:
        """From the first start to the last end of a window, by monotonic clocks.

        Clocks of several machines cannot be compared: there the longest of the machines counts,
        whose ranks start together but for the network's delay.
        """
        clocks: dict[str, list[tuple[float, float]]] = {}
        spans = self.gather((start_s, end_s))
        for place, span in zip(self.places, spans, strict=True):
            clocks.setdefault(place.clock, []).append(span)
        return max(max(e for _, e in spans) - min(s for s, _ in spans) for spans in clocks.values())


ALONE: Final = Ranks()


def share_of(num_samples: int, rank: int, size: int) -> range:
    """The samples of a rank among `size`, in order."""
    return range(rank * num_samples // size, (rank + 1) * num_samples // size)


@dataclass(frozen=True)
class Rendezvous:
    """How ranks find each other: by a file that all can reach, or by a store of torchrun's kind.

    `prefix` tells one row's ranks from another's. `size` ranks meet, of which this is `rank`.
    """

    rank: int
    local_rank: int
    size: int
    prefix: str
    file: str | None = None
    address: tuple[str, int] | None = None


def join(where: Rendezvous) -> Ranks:
    """Meet the other ranks. Raises `RankLostError` if they do not come.

    One machine's meet on its loopback device.
    """
    import torch.distributed as dist

    if not dist.is_available():
        raise FastbenchError(
            "This torch is built without torch.distributed, and --ranks needs it. Install "
            "another build, or leave out --ranks."
        )
    store: Any
    if where.file is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = dist.FileStore(where.file, where.size)
    else:
        assert where.address is not None
        store = dist.TCPStore(*where.address, is_master=False, wait_for_workers=False)
    with _lost():
        dist.init_process_group(
            "gloo",
            store=dist.PrefixStore(where.prefix, store),
            rank=where.rank,
            world_size=where.size,
            timeout=LIMIT,
        )
        return _Group(Place.here(where.rank, where.local_rank), None, where.size)


class _Group(Ranks):
    """Ranks by torch.distributed."""

    def __init__(self, place: Place, group: Any, size: int) -> None:
        self.place, self._group, self._size = place, group, size
        self.places = [place] * size  # until all are known
        self.places = self.gather(place)

    def arrive(self) -> Arrival:
        import torch.distributed as dist

        with _lost():
            work = dist.barrier(self._group, async_op=True)
        return _ByWork(work)

    def gather(self, value: T) -> list[T]:
        import torch.distributed as dist

        values: list[Any] = [None] * self._size
        with _lost():
            dist.all_gather_object(values, value, self._group)
        return values

    def group(self, ranks: Sequence[int]) -> Ranks | None:
        import torch.distributed as dist

        with _lost():
            group = dist.new_group([*ranks], timeout=LIMIT)
        return _Group(self.place, group, len(ranks)) if self.rank in ranks else None


class _ByWork(Arrival):
    def __init__(self, work: Any) -> None:
        self._work = work

    def all_there(self) -> bool:
        if not self._work.is_completed():
            return False
        with _lost():
            self._work.wait()
        return True


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    """Raise gloo's errors as ours. Which rank it was, and why, says whoever started them."""
    try:
        yield
    except RuntimeError as error:  # torch's DistError is one
        if "timed out" in str(error).lower():
            raise RankLostError(f"Another rank has not come within {LIMIT} hours.") from error
        raise RankLostError("Another rank has ended.") from error


def wait_for_all(arrival: Arrival, step: Callable[[], object]) -> None:
    """Go on with `step` until every rank has arrived."""
    while not arrival.all_there():
        step()
