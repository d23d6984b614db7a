"""How an option is declared, and how its value is read.

An option is a field of a frozen dataclass, `name: type = option(default, help, ...)`. Its type says
what a value may be: a `Literal` has the choices, an `Annotated` type the range and its wording.
`Option.read` is the one place that checks a value, from the command line, a file, a record or
Python.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec

from fastbench.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Group = Literal["common", "data", "model", "loader", "measuring", "comparing", "output"]
"""Where `--help` has an option; it has the groups in this order."""


def option(default: T, text: str, metavar: str | None = None, **how: Any) -> T:
    """A field of a configuration; `how` sets further fields of its `Option`."""
    return dataclasses.field(default=default, metadata={"help": text, "metavar": metavar, **how})


@dataclass(frozen=True)
class Option:
    """What is declared of an option.

    `bare` is the value of an option that is given without one, if it may be. A `swept` option may
    be given again, and each value has rows of its own. `changes` is what the option affects: the
    pipeline, the whole process, the measurement, only what the record says, or nothing in the
    record. `is_valid` checks what the type cannot express. `group` is where `--help` has it. One
    that is `by_model` may be given again as MODEL=VALUE, once for each model.
    """

    name: str
    type: Any
    default: Any
    help: str
    metavar: str | None = None
    bare: str | None = None
    swept: bool = False
    by_model: bool = False
    group: Group = "measuring"
    changes: Literal["pipeline", "process", "measurement", "record", "nothing"] = "pipeline"
    is_valid: Callable[[Any], bool] = lambda _: True

    @functools.cached_property
    def is_tuple(self) -> bool:
        """Whether a configuration holds several values."""
        return typing.get_origin(self.type) is tuple

    @property
    def is_repeatable(self) -> bool:
        """Whether a plan may give it several values."""
        return self.is_tuple or self.swept or self.by_model

    @functools.cached_property
    def one(self) -> Any:
        """The type of one value: X of `X | None` and of `tuple[X, ...]`."""
        parts = typing.get_args(self.type)
        return parts[0] if self.is_tuple or type(None) in parts else self.type

    @functools.cached_property
    def choices(self) -> tuple[str, ...] | None:
        """The values that there are, where they are few."""
        return typing.get_args(self.one) if typing.get_origin(self.one) is Literal else None

    @functools.cached_property
    def kind(self) -> type[Any]:
        """The type of one value without its range: str, int, float or bool."""
        kind: type[Any] = str if self.choices else getattr(self.one, "__origin__", self.one)
        return kind

    def read(self, written: Any, *, several: bool = False, is_text: bool = False) -> Any:
        """The value that is written; with `several` a tuple of at least one value.

        `is_text` reads numbers and bools from text too. Raises `UsageError`, which says what to
        give.
        """
        one: Any = self.one
        wanted = Annotated[tuple[one, ...], msgspec.Meta(min_length=1)] if several else self.type
        try:
            value = msgspec.convert(written, wanted, strict=not is_text)
            refused = [each for each in (value if several else [value]) if not self.is_valid(each)]
            if not refused:
                return value
            written = refused[0]
            raise msgspec.ValidationError
        except msgspec.ValidationError as error:
            place = re.search(r"\$\[(\d+)\]", str(error))
            wrong = written[int(place[1])] if place else written
            if wrong in ("", [], ()):
                message = "is empty. Give it a value or leave it out."
            else:
                message = f"is {wrong!r}. {self._advice}"
            raise UsageError(f"{flag(self.name)} {message}") from error

    @property
    def _advice(self) -> str:
        if self.choices:
            return f"Choose one of: {', '.join(self.choices)}."
        if self.kind is bool:
            return "Give true or false."
        (meta,) = getattr(self.one, "__metadata__", (msgspec.Meta(description="text in quotes"),))
        return f"Give {meta.description}."


def declared(config_type: type[Any]) -> dict[str, Option]:
    """The options of a dataclass, by field."""
    types = typing.get_type_hints(config_type, include_extras=True)
    return {
        field.name: Option(field.name, types[field.name], field.default, **field.metadata)
        for field in dataclasses.fields(config_type)
    }


_EXAMPLES = {
    "loader_option": "LOADER.NAME=VALUE, such as dali.prefetch=3",
    "engine_option": "ENGINE.NAME=VALUE, such as openvino.hint=throughput",
}


def parse_own_option(field: str, text: str) -> tuple[str, tuple[str, str | int | float | bool]]:
    """`OWNER.NAME=VALUE` -> (owner, (name, value)), the value as a number or a bool if it is one.

    `field` is `loader_option` or `engine_option`. Raises `UsageError` for another form.
    """
    target, equals, written = text.partition("=")
    owner, _, name = target.rpartition(".")
    if not (equals and owner and name and written):
        raise UsageError(f"{flag(field)} is {text!r}. Write it as {_EXAMPLES[field]}.")
    if written in ("true", "false"):
        return owner, (name, written == "true")
    for kind in (int, float):
        try:
            return owner, (name, kind(written))
        except ValueError:
            continue
    return owner, (name, written)


def parse_loader_option(text: str) -> tuple[str, tuple[str, str | int | float | bool]]:
    """A `--loader-option` in its parts (see `parse_own_option`)."""
    return parse_own_option("loader_option", text)


def spelt(field: str) -> str:
    """How a field is spelt in a file of options: `batch-size`."""
    return field.replace("_", "-")


def flag(field: str) -> str:
    """How a field is spelt on the command line and in messages: `--batch-size`."""
    return f"--{spelt(field)}"


def field_of(text: str) -> str:
    """The field of an option, however it is spelt."""
    return text.lstrip("-").replace("-", "_")
