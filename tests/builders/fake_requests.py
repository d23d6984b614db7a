"""A loader and a model under load that can be held, and what collects the answers.

A decoded image is the number of its sample, and the model's class is that number.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import torch

from fastbench.core.errors import CorruptImageError
from fastbench.loaders.base import Setting
from fastbench.scenarios.batcher import Batcher, Query

PATIENCE_S = 20.0
"""A test that waits longer has failed."""
NUM_CLASSES = 512


def until(is_so: Callable[[], bool], what: str = "it") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.001)


class Gate:
    """Lets through whoever comes, or while it is closed so many as `let` says."""

    def __init__(self) -> None:
        self._is_open = True
        self._permits = threading.Semaphore(0)
        self.num_came = 0

    def close(self) -> None:
        self._is_open = False

    def open(self) -> None:
        self._is_open = True
        self._permits.release(1000)

    def let(self, num: int = 1) -> None:
        self._permits.release(num)

    def __call__(self) -> None:
        self.num_came += 1
        if not self._is_open:
            assert self._permits.acquire(timeout=PATIENCE_S)


class FakeLoader:
    """`corrupt` samples cannot be decoded; `calls` has the samples of each call of `decode`."""

    reads_images = True
    settings: Mapping[str, Setting] = MappingProxyType({})

    def __init__(
        self, *, num_callers: int = 1, most_at_once: int = 1, corrupt: Sequence[int] = ()
    ) -> None:
        self.num_callers, self.most_at_once = num_callers, most_at_once
        self.corrupt = corrupt
        self.gate = Gate()
        self.error: BaseException | None = None
        self.calls: list[list[int]] = []

    def decode(self, samples: Sequence[int]) -> torch.Tensor:
        self.gate()
        self.calls.append(list(samples))
        if self.error is not None:
            raise self.error
        for sample in samples:
            if sample in self.corrupt:
                raise CorruptImageError(f"{sample}.jpg", "cannot be decoded")
        return torch.tensor(samples)

    def collate(self, decoded: Sequence[torch.Tensor], size: int) -> torch.Tensor:
        samples_N = torch.cat(list(decoded))
        return torch.cat([samples_N, samples_N.new_zeros(size - len(samples_N))])

    def close(self) -> None:
        pass

    @property
    def num_decoded(self) -> int:
        return sum(map(len, self.calls))


class FakeModels:
    """The next batch of `sizes`; `sizes_seen` has those of the batches that came."""

    def __init__(self, *sizes: int, takes_s: float = 0.0) -> None:
        self.sizes = sizes or (8,)
        self.largest = max(self.sizes)
        self.takes_s = takes_s
        self.gate = Gate()
        self.error: BaseException | None = None
        self.sizes_seen: list[int] = []

    def size_for(self, num: int) -> int:
        return next(size for size in sorted(self.sizes) if size >= num)

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.gate()
        time.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        self.sizes_seen.append(len(images_NCHW))
        return torch.nn.functional.one_hot(images_NCHW, NUM_CLASSES)


class Answers:
    """The queries that were answered, in that order; `failure` is what `work` has raised."""

    def __init__(self) -> None:
        self.queries: list[Query] = []
        self.failure: BaseException | None = None
        self._lock = threading.Lock()

    def __call__(self, queries: Sequence[Query]) -> None:
        with self._lock:
            self.queries += queries

    def wait_for(self, num: int) -> list[Query]:
        until(lambda: len(self.queries) >= num, f"the answer {num}")
        assert len(self.queries) == num
        return self.queries

    def wait_for_failure(self) -> BaseException:
        until(lambda: self.failure is not None, "a failure")
        assert self.failure is not None
        return self.failure


@contextlib.contextmanager
def batching(
    loader: FakeLoader, models: FakeModels, max_wait_s: float = 0.0, max_queued: int | None = None
) -> Iterator[tuple[Batcher, Answers]]:
    """A batcher over these, which works in a thread; both are let go in the end."""
    answers, is_over = Answers(), threading.Event()
    batcher = Batcher(loader, models, max_wait_s=max_wait_s, max_queued=max_queued, answer=answers)

    def work() -> None:
        try:
            batcher.work(is_over.is_set)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            answers.failure = error

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield batcher, answers
    finally:
        loader.gate.open()
        models.gate.open()
        is_over.set()
        batcher.wake()
        worker.join(PATIENCE_S)
        assert not worker.is_alive()
        batcher.close()
