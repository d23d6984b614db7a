"""When a batch was done: host time on a CPU, CUDA events on a GPU.

A window is synchronised before its start and at its end, with the stream on which the model runs. A
loader works ahead on streams of its own: waiting for these would end a window after its last step,
and begin the next one with batches for free. In between, `mark()` notes that a batch has been
submitted. On a GPU it records an event and waits for the batch `MAX_IN_FLIGHT` before, so that the
host cannot run away from the device. Waiting sleeps until the driver wakes the thread, some tens of
microseconds late: it would burn a core otherwise, which the loader needs and which would count as
the run's CPU time.
"""

from __future__ import annotations

import time
from typing import Any, Final

import torch

MAX_IN_FLIGHT: Final = 4
"""Batches submitted and not finished: enough to keep a GPU busy, few enough to bound memory."""


class Clock:
    """One timed window: `start()`, a `mark()` a batch, `stop()`. All times in seconds.

    This one is for the CPU, where a call returns when its work is done.
    """

    def __init__(self) -> None:
        self._marks: list[float] = []
        self._start = 0.0

    def start(self) -> None:
        """Open the window, after the work that was submitted."""
        self._marks = []
        self._start = time.perf_counter()

    def mark(self) -> None:
        """Note the end of a batch."""
        self._marks.append(time.perf_counter())

    def elapsed(self) -> float:
        """Host seconds since the start, without waiting for the device."""
        return time.perf_counter() - self._start

    def stop(self) -> float:
        """The window's wall seconds, up to its last mark: the work was done then.

        A second reading would add what a busy machine keeps the process waiting between the two.
        """
        return self._marks[-1] - self._start if self._marks else self.elapsed()

    def step_times(self) -> list[float]:
        """Seconds from each mark to the next, the first from the start. After `stop()`."""
        starts = [self._start, *self._marks]
        return [end - start for start, end in zip(starts, self._marks, strict=False)]


class CudaClock(Clock):
    """For a CUDA device: events on the current stream, read after the window."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._events: list[Any] = []

    def start(self) -> None:
        """Wait for the current stream, and open the window."""
        self._record().synchronize()
        self._start = time.perf_counter()
        self._events = [self._record()]

    def mark(self) -> None:
        """Note the end of a batch, and wait for the one `MAX_IN_FLIGHT` before."""
        self._events.append(self._record())
        if len(self._events) > MAX_IN_FLIGHT:
            self._events[-1 - MAX_IN_FLIGHT].synchronize()

    def stop(self) -> float:
        """Wait for the current stream; wall seconds of the window."""
        self._record().synchronize()
        return self.elapsed()

    def step_times(self) -> list[float]:
        """Seconds between the events; their resolution is about 0.5 microseconds."""
        pairs = zip(self._events, self._events[1:], strict=False)
        return [start.elapsed_time(end) / 1e3 for start, end in pairs]

    def _record(self) -> Any:
        event = torch.cuda.Event(enable_timing=True, blocking=True)
        event.record(torch.cuda.current_stream(self._device))
        return event


def kernel_s() -> float | None:
    """Seconds since the machine started, in steps of 0.01 s; None where the kernel does not say.

    They are read from a file, so a clock that is changed in this process does not change them.
    """
    try:
        with open("/proc/uptime", "rb") as file:
            return float(file.read().split()[0])
    except OSError:
        return None


def make_clock(device: torch.device) -> Clock:
    """The clock that fits a device."""
    return CudaClock(device) if device.type == "cuda" else Clock()
