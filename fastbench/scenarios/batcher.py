"""A dynamic batcher between queries and predictions: read, decode, batch, model, top-1.

Queries wait in a queue. Threads decode them by the loader, one by one or several together, as it
says. The caller's thread, in which the model was made ready, forms a batch of what is decoded
whenever the model is free, and waits no longer than `max_wait_s` for others to fill it. What is
decoded and not yet computed is bounded, and so are the queries that wait: one more is turned away,
so that an overload ends in a verdict and not in a full memory.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from fastbench.core.errors import (
    CorruptImageError,
    FastbenchError,
    LoaderError,
    LoaderFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch

    from fastbench.loaders.base import OnDemand

TURNED_AWAY: Final = "too many queries waited"
NO_CLASS: Final = -1
"""What stands in place of the class predicted for an image that could not be answered."""
_END_S: Final = 20.0
_TICK_S: Final = 0.2
_STUCK_S: Final = 900.0


class Query:
    """One image that is asked for; `_s` are seconds of `time.monotonic()`.

    `number` is the generator's for its answer, `sample` the image's id. It was handed over at
    `arrived_s`, its decoding began at `begun_s` and ended at `decoded_s`, the model began with its
    batch at `batched_s` and its prediction was on the host at `modelled_s`. `error` says why it
    could not be answered.
    """

    __slots__ = (
        *("arrived_s", "batched_s", "begun_s", "decoded_s", "error", "modelled_s"),
        *("number", "prediction", "sample"),
    )

    def __init__(self, number: int, sample: int, arrived_s: float) -> None:
        self.number = number
        self.sample = sample
        self.arrived_s = arrived_s
        self.begun_s = self.decoded_s = self.batched_s = self.modelled_s = arrived_s
        self.prediction = NO_CLASS
        self.error: str | None = None


class Models(Protocol):
    """A model ready for batches of a few sizes."""

    largest: int

    def size_for(self, num: int) -> int:
        """The size of the batch that so many images are padded to."""
        ...

    def __call__(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, classes) logits of (N, 3, H, W) images, where N is such a size."""
        ...


@dataclass
class _Part:
    """What one call of the loader has decoded."""

    decoded: Any
    queries: list[Query]
    decoded_s: float


class Batcher:
    """Takes queries by `take` from any thread, and hands them to `answer` when they have one.

    They are computed in the thread that calls `work`, meanwhile. `scored` is called with the logits
    of each batch and its queries, while it is set. What ends a decoding thread, such as a full
    memory, is raised there. `errors` has those of images that could not be answered, by the image;
    `batches` the sizes of the batches that were formed. `max_queued` None sets no limit.
    """

    def __init__(
        self,
        loader: OnDemand,
        models: Models,
        *,
        max_wait_s: float,
        max_queued: int | None,
        answer: Callable[[Sequence[Query]], None],
    ) -> None:
        self.answer = answer
        self.max_queued = max_queued
        self.scored: Callable[[torch.Tensor, Sequence[Query]], None] | None = None
        self._failure: BaseException | None = None
        self.errors: dict[int, FastbenchError] = {}
        self.batches: list[int] = []
        self._loader, self._models, self._max_wait_s = loader, models, max_wait_s
        self._arrivals: SimpleQueue[Query | None] = SimpleQueue()
        # None: look whether the work is done.
        self._ready: SimpleQueue[_Part | None] = SimpleQueue()
        self._next: _Part | None = None
        self._decoding: set[int] = set()  # the threads that do
        # Enough for the batch that is computed, and the next one.
        self._room = threading.Semaphore(2 * models.largest + loader.num_callers)
        self._threads = [
            threading.Thread(target=self._decode_all, name=f"fastbench-request-{i}", daemon=True)
            for i in range(loader.num_callers)
        ]
        for thread in self._threads:
            thread.start()

    def take(self, asked: Iterable[tuple[int, int]]) -> list[Query]:
        """Queries that arrive now, as (number, sample); those that are turned away are answered."""
        now = time.monotonic()
        queries = [Query(number, sample, now) for number, sample in asked]
        refused = []
        for query in queries:
            if self.max_queued is not None and self._arrivals.qsize() >= self.max_queued:
                query.error = TURNED_AWAY
                refused.append(query)
            else:
                self._arrivals.put(query)
        if refused:
            self.answer(refused)
        return queries

    def work(self, is_done: Callable[[], bool], on_tick: Callable[[], None] = lambda: None) -> None:
        """Compute what is decoded, until `is_done()`; call `wake` when that may have changed.

        `on_tick` is called now and then. Raises what has ended a decoding thread, and
        `LoaderError` where nothing is decoded for a quarter of an hour.
        """
        tick_s = last_s = time.monotonic()
        while not is_done():
            if self._failure is not None:
                raise self._failure
            try:
                part = self._next or self._ready.get(timeout=_TICK_S)
                self._next = None
            except Empty:
                part = None
            now = time.monotonic()
            if now - tick_s >= _TICK_S:
                tick_s = now
                on_tick()
            if part is not None:
                self._compute(self._with_more(part))
                last_s = now
            elif self._arrivals.empty() and not self._decoding:
                last_s = now
            elif now - last_s > _STUCK_S:
                num = self._arrivals.qsize() + len(self._decoding)
                raise LoaderError(
                    f"No image was decoded for {_STUCK_S / 60:.0f} min, and {num:,} or more are "
                    f"asked for. Check that the files can be read, or choose "
                    f"another --loader."
                )

    def wake(self) -> None:
        """Have `work` look whether it is done."""
        self._ready.put(None)

    def close(self) -> None:
        """End the threads; what still waits is not answered."""
        while not self._arrivals.empty():
            self._arrivals.get()
        for _ in self._threads:
            self._arrivals.put(None)
            self._room.release(self._models.largest)  # whoever waits for room
        deadline = time.monotonic() + _END_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # ----------------------------------------------------------------------------- decoding

    def _decode_all(self) -> None:
        try:
            own = threading.get_ident()
            while (first := self._arrivals.get()) is not None:
                self._decoding.add(own)
                self._room.acquire()
                self._decode(self._with_others(first))
                self._decoding.discard(own)
        except BaseException as error:  # noqa: BLE001 - `work` raises it
            self._failure = self._failure or error
            self.wake()

    def _with_others(self, first: Query) -> list[Query]:
        """The query, and others that wait, as many as the loader decodes together."""
        found = [first]
        while len(found) < self._loader.most_at_once and self._room.acquire(blocking=False):
            try:
                other = self._arrivals.get_nowait()
            except Empty:
                self._room.release()
                break
            if other is None:  # the end, which another call has to hear of
                self._room.release()
                self._arrivals.put(None)
                break
            found.append(other)
        return found

    def _decode(self, queries: list[Query]) -> None:
        begun_s = time.monotonic()
        for query in queries:
            query.begun_s = begun_s
        try:
            decoded = self._loader.decode([query.sample for query in queries])
        except (CorruptImageError, LoaderFailedError) as error:
            if len(queries) > 1:  # the others are decoded without it
                for query in queries:
                    self._decode([query])
                return
            self._room.release()
            self.errors[queries[0].sample] = error
            queries[0].error = str(error)
            queries[0].decoded_s = time.monotonic()
            self.answer(queries)
            return
        decoded_s = time.monotonic()
        for query in queries:
            query.decoded_s = decoded_s
        self._ready.put(_Part(decoded, queries, decoded_s))

    # ----------------------------------------------------------------------------- computing

    def _with_more(self, first: _Part) -> list[_Part]:
        """The parts of a batch; the one after them, if it is there already, is the next one's."""
        parts, num = [first], len(first.queries)
        deadline = first.decoded_s + self._max_wait_s
        while num < self._models.largest:
            left_s = deadline - time.monotonic()
            try:
                part = self._ready.get(left_s > 0, left_s if left_s > 0 else None)
            except Empty:
                break
            if part is None:
                continue
            if num + len(part.queries) > self._models.largest:
                self._next = part
                break
            parts.append(part)
            num += len(part.queries)
        return parts

    def _compute(self, parts: list[_Part]) -> None:
        queries = [query for part in parts for query in part.queries]
        batched_s = time.monotonic()
        size = self._models.size_for(len(queries))
        images_NCHW = self._loader.collate([part.decoded for part in parts], size)
        logits_NK = self._models(images_NCHW)[: len(queries)]
        predictions: list[int] = logits_NK.argmax(1).tolist()  # waits for the device
        modelled_s = time.monotonic()
        if self.scored is not None:
            self.scored(logits_NK, queries)
        self._room.release(len(queries))
        self.batches.append(len(queries))
        for query, prediction in zip(queries, predictions, strict=True):
            query.batched_s, query.modelled_s = batched_s, modelled_s
            query.prediction = prediction
        self.answer(queries)


def seconds_to_answer(batcher: Batcher, samples: Sequence[int]) -> float:
    """Seconds until these images are answered, all asked for now. Raises what `work` raises."""
    left = len(samples)
    lock = threading.Lock()

    def answer(queries: Sequence[Query]) -> None:
        nonlocal left
        with lock:
            left -= len(queries)
        batcher.wake()

    batcher.answer = answer
    max_queued, batcher.max_queued = batcher.max_queued, None
    start = time.monotonic()
    batcher.take(enumerate(samples))
    batcher.work(lambda: left <= 0)
    batcher.max_queued = max_queued
    return time.monotonic() - start


def answers_of(queries: Sequence[Query]) -> np.ndarray:
    """The classes predicted, (N,) int64; `NO_CLASS` where there is none."""
    return np.array([query.prediction for query in queries], np.int64)
