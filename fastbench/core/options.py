"""How is an option declared, and how does what is written become its value?

An option is a field of a frozen dataclass, `name: type = option(default, help, ...)`. Its type is
read here and nowhere else. Its values are made here from text (argv, `--ab`), and from what has
types already (a file of options, a record, JSON).
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from fastbench.core.errors import UsageError

__all__ = [
    "Option",
    "declared",
    "field_of",
    "flag",
    "option",
    "parse_loader_option",
    "spelt",
]

_WORDS: Final = {
    str: ("text in quotes", "texts in quotes"),
    bool: ("true or false", "them"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
}

T = TypeVar("T")


def option(default: T, text: str, metavar: str | None = None, **how: Any) -> T:
    """A field of a configuration: its default, its help, and more that `Option` has."""
    return dataclasses.field(default=default, metadata={"help": text, "metavar": metavar, **how})


@dataclass(frozen=True)
class Option:
    """What is declared of an option; `kind` is the type of one value, `is_tuple` has any number.

    `bare` is the value of an option that is given without one, where that means something. One that
    is `swept` may be given again, and each of its values has rows of its own. `changes` is what
    another value of it changes first: the pipeline, how it is measured, what else its record says,
    or nothing in a row's record.
    """

    name: str
    kind: type[Any]
    is_tuple: bool
    default: Any
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    least: int | None = None
    bare: str | None = None
    swept: bool = False
    changes: Literal["pipeline", "measurement", "record", "nothing"] = "pipeline"

    @property
    def is_repeatable(self) -> bool:
        """Whether a plan may give it several values."""
        return self.is_tuple or self.swept

    def parse(self, text: str) -> Any:
        """One value from text.

        Raises `UsageError`, which says what to give, for what is none.
        """
        if self.kind is bool:
            if text not in ("true", "false"):
                raise UsageError("give true or false.")
            return text == "true"
        try:
            return self.kind(text)
        except ValueError:
            whole = "whole " if self.kind is int else ""
            raise UsageError(f"{text!r} is not a {whole}number. Give another value.") from None

    def take(self, value: Any) -> Any:
        """A value, or all of them, from what has no tuples, and may have 5 for 5.0."""
        if isinstance(value, list | tuple):
            return tuple(map(self.take, value))
        return float(value) if self.kind is float and isinstance(value, int) else value

    def take_checked(self, value: Any) -> Any:
        """As `take`, from a file that people write; a tuple for what may be given again.

        Raises `UsageError` for another type, and for an empty list.
        """
        values = value if self.is_repeatable and isinstance(value, list) else [value]
        accepted = (int, float) if self.kind is float else self.kind
        for one in values:
            # true is an int to Python, and to nobody else.
            if not isinstance(one, accepted) or (isinstance(one, bool) and self.kind is not bool):
                single, plural = _WORDS[self.kind]
                raise UsageError(
                    f"{spelt(self.name)} is {value!r}. Give {single}"
                    f"{f', or a list of {plural}' if self.is_repeatable else ''}."
                )
        if not values:
            raise UsageError(
                f"{spelt(self.name)} is an empty list. Give it a value or leave it out."
            )
        return self.take(values if self.is_repeatable else values[0])

    def check(self, value: Any) -> None:
        """Raise `UsageError` for what is no choice, or is too small."""
        for one in value if self.is_tuple else (value,):
            if one == self.default:
                continue
            if self.choices and one not in self.choices:
                raise UsageError(
                    f"{flag(self.name)} is {one!r}. Choose one of: {', '.join(self.choices)}."
                )
            if self.least is not None and one < self.least:
                raise UsageError(
                    f"{flag(self.name)} is {one}. Give a whole number of at least {self.least}."
                )


def declared(config_type: type[Any]) -> dict[str, Option]:
    """The options of a dataclass, by field."""
    hints = typing.get_type_hints(config_type)
    found = {}
    for field in dataclasses.fields(config_type):
        hint = hints[field.name]
        # The first of int | None and of tuple[int, ...] is the type of one value.
        kind = (*typing.get_args(hint), hint)[0]
        is_tuple = typing.get_origin(hint) is tuple
        found[field.name] = Option(field.name, kind, is_tuple, field.default, **field.metadata)
    return found


def parse_loader_option(text: str) -> tuple[str, tuple[str, str | int | float | bool]]:
    """`LOADER.NAME=VALUE` -> (loader, (name, value)); the value a number or a bool if it can be.

    Raises `UsageError` for another form.
    """
    target, equals, written = text.partition("=")
    loader, _, name = target.rpartition(".")
    if not (equals and loader and name and written):
        raise UsageError(
            f"--loader-option is {text!r}. Write it as LOADER.NAME=VALUE, such as dali.prefetch=3."
        )
    if written in ("true", "false"):
        return loader, (name, written == "true")
    for kind in (int, float):
        try:
            return loader, (name, kind(written))
        except ValueError:
            continue
    return loader, (name, written)


def spelt(field: str) -> str:
    """How a field is spelt in a file of options: `batch-size`."""
    return field.replace("_", "-")


def flag(field: str) -> str:
    """How a field is spelt on the command line and in messages: `--batch-size`."""
    return f"--{spelt(field)}"


def field_of(text: str) -> str:
    """The field of an option, however it is spelt."""
    return text.lstrip("-").replace("-", "_")
