"""What is being done right now, on stderr: a spinner in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress

if TYPE_CHECKING:
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
        self._drawing_since: float | None = None
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

    def drawn(self, done: int, total: int) -> None:
        """How many images of the sample data are drawn."""
        if self._drawing_since is None:
            self._drawing_since = time.perf_counter()
            self._stop()
            self._start(self._bar)
            self._bar.add_task("drawing the sample images", total=total)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._stop()
            seconds = time.perf_counter() - self._drawing_since
            self.note(
                f"Drew {total:,} sample images in {seconds:.0f} s; they are kept for next time."
            )

    def unpacked(self, done: int, total: int) -> None:
        """How many images of an archive are in their folders."""
        if not self._bar.task_ids:
            self._stop()
            self._start(self._bar)
            self._bar.add_task("unpacking the images", total=total)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._stop()

    def _start(self, bar: RichProgress) -> None:
        self._running = bar
        bar.start()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None
