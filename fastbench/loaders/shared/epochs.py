"""The base of the built-in loaders: one stream of batches, handed out by epochs.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch

from fastbench.core.errors import LoaderError, LoaderFailedError
from fastbench.core.units import and_more, format_seconds
from fastbench.data.jpeg.quick_check import find_corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastbench.loaders.base import Batch, LoaderSpec, Setting


LEAST_LIMIT_S: Final = 300.0
"""No wait for a batch is given up before that."""
STOP_S: Final = 20.0
"""How long `close()` waits for threads. One that is stuck in a decoder ends with the process."""
_TIMES_LONGEST: Final = 20
"""How many times the longest wait so far a wait may take."""


class EpochLoader(ABC):
    """A loader whose batches come one after the other, epoch after epoch.

    An epoch that was left early is finished, unseen, by the next `iter()`. A subclass has
    `_take`, which waits for the next batch, and `_hand_over`, which makes a `Batch` of it. What is
    waited for in `_take` is waited for at most `_limit_s` seconds; then `_too_late` is raised.
    """

    name: ClassVar[str]
    reads_images = True
    settings: Mapping[str, Setting]

    def __init__(self, spec: LoaderSpec) -> None:
        self._spec = spec
        self._device = torch.device(spec.device)
        self._dtype: torch.dtype = getattr(torch, spec.dtype)
        self._position = 0  # in its epoch, of the batch that is taken next
        self._longest_wait_s = 0.0
        self._closed = False

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches."""
        while self._position:
            self._next()
        for position in range(self._spec.num_batches):
            taken = self._next()
            try:
                yield self._hand_over(taken, self._spec.ids(position))
            finally:
                self._let_go(taken)

    def close(self) -> None:
        """Free all that the loader holds."""
        if not self._closed:
            self._closed = True
            self._free()

    def _next(self) -> Any:
        if self._closed:
            raise RuntimeError("the loader is closed")
        position = self._position
        self._position = (position + 1) % self._spec.num_batches
        start = time.monotonic()
        taken = self._take(position)
        self._longest_wait_s = max(self._longest_wait_s, time.monotonic() - start)
        return taken

    @property
    def _limit_s(self) -> float:
        """How long a batch may be waited for."""
        return max(LEAST_LIMIT_S, _TIMES_LONGEST * self._longest_wait_s)

    def _too_late(self, position: int) -> LoaderError:
        """The error that says for what the loader has waited, and how long."""
        paths = [self._spec.paths[i] for i in self._spec.ids(position)]
        return LoaderError(
            f"The loader {self.name!r} has waited {format_seconds(self._limit_s)} for batch "
            f"{position} of its epoch ({and_more(paths, 2)}); the longest wait before was "
            f"{format_seconds(self._longest_wait_s)}. Check that these files can be read, or use "
            f"another --loader or fewer --num-threads."
        )

    @abstractmethod
    def _take(self, position: int) -> Any:
        """Wait for the next batch, which is at this position of its epoch."""

    @abstractmethod
    def _hand_over(self, taken: Any, ids: range) -> Batch:
        """Make what was taken a batch of these samples, on the model's device."""

    def _let_go(self, taken: Any) -> None:  # noqa: B027 - few loaders need it
        """The consumer asks for the next batch, or leaves the epoch."""

    def _free(self) -> None:  # noqa: B027 - few loaders need it
        """Free all that the loader holds; called once."""

    def _blame(self, position: int, why: str, num_batches: int = 1) -> Exception:
        """The error that names the first damaged file of some batches; else what is known.

        `why` is what the decoder said at the batch at `position` of its epoch.
        """
        spec = self._spec
        last = min(position + num_batches, spec.num_batches)
        paths = [spec.paths[i] for batch in range(position, last) for i in spec.ids(batch)]
        return find_corrupt(paths) or LoaderFailedError(
            f"The loader {self.name!r} failed at batch {position}: {why}. Pillow reads its files, "
            f"{and_more(paths, 3)}. Use another --loader, or remove the file at fault.",
            why,
        )
