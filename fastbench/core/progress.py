"""How progress is shown: on a console, through a pipe to the parent, or in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Count(Protocol):
    """Starts to show a count; returns a function to call with (how many, of how many)."""

    def __call__(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        """`done` is a line for the end, with `{total}` and `{seconds}` to fill in."""


class Progress(Protocol):
    """Shows what is being done."""

    def say(self, text: str) -> None:
        """What is being done now."""

    def note(self, text: str) -> None:
        """A line that stays."""

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:
        """As `Count`."""


class RowProgress(Progress, Protocol):
    """Also shows which row of several is being measured."""

    def row(
        self, num_done: int, total: int, title: str, left_s: float | None, how: str = ""
    ) -> None:
        """A row begins; `left_s` is about how long it and those after it will take, if known.

        `how` is the part of the title that tells the row from others of its model and loader.
        """


class Silent:
    """A `RowProgress` that shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def row(
        self, num_done: int, total: int, title: str, left_s: float | None, how: str = ""
    ) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def count(self, doing: str, done: str = "") -> Callable[[int, int], None]:  # noqa: ARG002
        """Show nothing."""
        return lambda _now, _total: None
