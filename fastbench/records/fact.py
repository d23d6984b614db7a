"""What a fact is: how it is read from a record or a configuration, and worded (see `facts.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.config import OPTIONS, RunConfig
from fastbench.core.units import counted, format_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.records.record import Described

RUN: Final = "what was run"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact, and how it is read and worded.

    `read` takes it from a record, None if the record does not know it. `show` makes the text of a
    cell, `template` or `unit` (which is counted) that of a sentence, and `unsaid` is the value that
    a sentence leaves out. `options` are the options that it comes from; `plan` takes it from a
    configuration, by default as the value of the first. `default` stands for an option that a
    record lacks. `within` names facts in which rows must be alike to be told apart by this one:
    other weights of another model are not worth saying.
    """

    name: str
    heading: str
    meaning: str
    read: Callable[[Any], Any]
    topic: str = RUN
    show: Callable[[Any], str] = format_value
    template: str = "{}"
    unit: str = ""
    unsaid: Any = None
    options: tuple[str, ...] = ()
    plan: Callable[[RunConfig], Any] | None = None
    default: Any = None
    within: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def of(self, row: Described | RunConfig) -> Any:
        """The row's value; None where it is not known."""
        if isinstance(row, RunConfig):
            return self._planned(row)
        value = self.read(row)
        return self.default if value is None else value

    def _planned(self, config: RunConfig) -> Any:
        if self.plan is not None:
            return self.plan(config)
        value = getattr(config, self.options[0]) if self.options else None
        if value is None:
            return "auto" if self.options and self.default is None else self.default
        return value

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        kinds = [OPTIONS[name].kind for name in self.options]
        return bool(self.unit) or any(kind in (int, float) for kind in kinds)

    def words(self, value: Any) -> str:
        """A value in a sentence; empty for the one that is left out."""
        if value == self.unsaid:
            return ""
        if self.unit:
            return counted(value, self.unit) if isinstance(value, int) else f"{value} {self.unit}s"
        return self.template.format(self.show(value))

    def text(self, row: Described | RunConfig) -> str:
        """The row's value in a sentence; empty if it is not known."""
        value = self.of(row)
        return "" if value is None else self.words(value)
