"""What is being done right now, on stderr: a spinner in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Progress"]


class Progress:
    """A context manager; leaving it clears the spinner."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._status = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._running: RichProgress | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False)

    def say(self, text: str) -> None:
        """What is being done now."""
        if not self._console.is_terminal:
            self.note(text)
            return
        self._stop()
        self._start(self._status)
        for task in self._status.task_ids:
            self._status.remove_task(task)
        self._status.add_task(text, total=None)

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        """Who is told (how many, of how many); the bar appears with the first call.

        `done` is a line that stays, said at the end; `{total}` and `{seconds}` are filled in.
        """
        since: list[float] = []
        tasks: list[TaskID] = []

        def show(now: int, total: int) -> None:
            if not tasks:
                since.append(time.perf_counter())
                self._stop()
                self._start(self._bar)
                tasks.append(self._bar.add_task(doing, total=total))
            self._bar.update(tasks[0], completed=now, total=total)
            if now >= total:
                self._stop()
                self._bar.remove_task(tasks.pop())
                seconds = time.perf_counter() - since.pop()
                if done:
                    self.note(done.format(total=total, seconds=seconds))

        return show

    def _start(self, bar: RichProgress) -> None:
        self._running = bar
        bar.start()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None
