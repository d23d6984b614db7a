"""How long a GPU batch must live: until the device is done with it, not until Python is.

A batch shares its memory with the decoder. The host lets go of it when the model's work has been
*submitted*; if the decoder then wrote the next images there, queued work would read them. So the
owners of a batch are held until an event has passed, which is recorded when the consumer asks for
the next batch. Waiting for that event bounds the work in flight, and does not synchronise the
device.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def _record_event(device: torch.device) -> Any:
    event = torch.cuda.Event(blocking=True)  # who waits for it sleeps
    event.record(torch.cuda.current_stream(device))
    return event


class InFlight:
    """Holds the owners of at most `depth` batches whose work has been submitted.

    On a CPU, where a call returns when its work is done, it holds nothing.
    """

    def __init__(
        self,
        device: torch.device,
        depth: int = 8,
        *,
        record_event: Callable[[torch.device], Any] = _record_event,
    ) -> None:
        self._device = device
        self._depth = depth
        self._record_event = record_event
        self._held: deque[tuple[Any, tuple[object, ...]]] = deque()

    def hold(self, *owners: object) -> None:
        """Keep `owners` until all work submitted so far on the current stream is done."""
        if self._device.type != "cuda":
            return
        self._held.append((self._record_event(self._device), owners))
        while self._held:
            event, _ = self._held[0]
            if len(self._held) > self._depth:
                event.synchronize()
            elif not event.query():
                break
            self._held.popleft()

    def drain(self) -> None:
        """Wait for what is held, and let go of it."""
        while self._held:
            event, _ = self._held[0]
            event.synchronize()
            self._held.popleft()
