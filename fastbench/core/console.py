"""Progress on stderr: two live lines in a terminal, plain lines elsewhere.

If there are several rows, the upper line says how many are done, for how long, and about how long
the others will take; the lower line says what the current row is doing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from fastbench.core import terminal
from fastbench.core.units import format_about

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Task

REFRESHES_PER_S = 4
"""Few: each takes time from the measurement."""


class ConsoleProgress:
    """A `core.progress.RowProgress`; as a context manager it clears the live lines at its end."""

    def __init__(self, console: Console | None = None) -> None:
        # In a notebook rich would make an output of its own of each line.
        self._console = console or terminal.console(stderr=True, force_jupyter=False)
        self._rows = Progress(
            TextColumn("{task.completed} of {task.total} rows"),
            BarColumn(),
            TimeElapsedColumn(),
            _LeftColumn(),
            console=self._console,
        )
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._status = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._row: TaskID | None = None
        self._how = ""
        self._noted: set[str] = set()
        self._live = Live(console=self._console, transient=True, refresh_per_second=REFRESHES_PER_S)

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """A line that stays; it is printed once, though every row may send it."""
        if text not in self._noted:
            self._noted.add(text)
            self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def row(
        self, num_done: int, total: int, title: str, left_s: float | None, how: str = ""
    ) -> None:
        """As `RowProgress.row`."""
        if total == 1:
            return
        if not self._console.is_terminal:
            left = "" if left_s is None else f", {format_about(left_s)} left"
            self._print(f"Row {num_done + 1} of {total}: {title}{left}")
            return
        self._how = f" ({how})" if how else ""
        if self._row is None:
            self._row = self._rows.add_task("", total=total)
        until = None if left_s is None else time.monotonic() + left_s
        self._rows.update(self._row, completed=num_done, until=until)

    def say(self, text: str) -> None:
        """What is being done now."""
        if not self._console.is_terminal:
            self._print(text)
            return
        for task in self._status.task_ids:
            self._status.remove_task(task)
        self._status.add_task(text + self._how, total=None)
        self._show(self._status)

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        """As `core.progress.Count`."""
        since: list[float] = []
        tasks: list[TaskID] = []

        def show(now: int, total: int) -> None:
            if not tasks:
                since.append(time.perf_counter())
                tasks.append(self._bar.add_task(doing, total=total))
                self._show(self._bar)
            self._bar.update(tasks[0], completed=now, total=total)
            if now >= total:
                self._show(self._status)
                self._bar.remove_task(tasks.pop())
                seconds = time.perf_counter() - since.pop()
                if done:
                    self.note(done.format(total=total, seconds=seconds))

        return show

    def _show(self, lower: Progress) -> None:
        if self._console.is_terminal:
            self._live.start()
            shown = Group(self._rows, lower) if self._row is not None else lower
            self._live.update(shown, refresh=True)


class _LeftColumn(ProgressColumn):
    """About how long the other rows will take; empty before the first is done."""

    def render(self, task: Task) -> Text:
        until = task.fields.get("until")
        if until is None:
            return Text("")
        return Text(f"{format_about(max(0.0, until - time.monotonic()))} left")
