"""Which stage a row is in, and the wall time of each."""

from __future__ import annotations

import time
from collections import defaultdict

from fastbench.records.stages import Stages


class Stopwatch:
    """Always in one stage of `Stages`, so that no second is lost or counted twice.

    The first is `start`; it began at `since`, by `time.monotonic()` of any process.
    """

    def __init__(self, since: float | None = None) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stage = "start"
        self._since = time.monotonic() if since is None else since

    def enter(self, stage: str) -> None:
        """End the stage that it was in, and begin or go on with this one."""
        now = time.monotonic()
        self._seconds[f"{self._stage}_s"] += now - self._since
        self._stage, self._since = stage, now

    def read(self) -> Stages:
        """The seconds of each stage until now."""
        self.enter(self._stage)
        return Stages(**self._seconds)
