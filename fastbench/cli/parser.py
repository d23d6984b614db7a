"""From the fields of a configuration to command-line options.

`batch_size: int | None` becomes `--batch-size N`, a bool `--compile / --no-compile`, a tuple an
option that may be given again. Libraries that read dataclasses take half a second to import,
argparse a tenth.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from fastbench.core.errors import UsageError
from fastbench.core.options import declared, flag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fastbench.core.options import Option

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """argparse with our kind of error, and options that take one value once."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        for name in (None, "store"):
            self.register("action", name, _Once)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`, where argparse exits."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}. See: {self.prog} --help")


def add_command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], help_: str
) -> argparse.ArgumentParser:
    """Add a command to those of `add_subparsers`; `function` runs it and returns its exit code."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help_, description=help_[:1].upper() + help_[1:] + "."
    )
    parser.set_defaults(command=function)
    add_debug(parser)
    return parser


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the option `--debug`, which `cli.main` reads before all others."""
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="log what is done, and show an error with its traceback; also FASTBENCH_DEBUG=1",
    )


def add_options(
    parser: argparse.ArgumentParser,
    config_type: type[Any],
    only: Collection[str] | None = None,
    several: Collection[str] = (),
    help_: Mapping[str, str] | None = None,
) -> None:
    """Give `parser` an option for each field of a dataclass, or only for some.

    Those in `several` may be given again, whatever their type. `help_` replaces an option's own
    help if that does not fit the command.
    """
    for name, option in declared(config_type).items():
        if only is None or name in only:
            said = (help_ or {}).get(name, option.help)
            _add(parser, dataclasses.replace(option, help=said), name in several)


def from_options(config_type: type[T], namespace: argparse.Namespace) -> T:
    """The dataclass with the parsed options. Raises `UsageError` if it refuses a value."""
    return config_type(**given_options(config_type, namespace))


def given_options(config_type: type[Any], namespace: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, by field; a tuple where one may be given again."""
    options = declared(config_type)
    found = vars(namespace).items()
    return {
        name: options[name].read(value, several=isinstance(value, list))
        for name, value in found
        if name in options
    }


class _Once(argparse.Action):
    """An option of which only one value can be meant: the first is not lost without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        given = vars(namespace).setdefault("given", {})
        if option_string is not None:
            if self.dest in given:
                parser.error(f"{option_string} is given twice, and takes one value; give it once")
            given[self.dest] = option_string
        setattr(namespace, self.dest, values)


class _Switch(argparse.BooleanOptionalAction):
    """Refuses `--quick --no-quick`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        given = vars(namespace).setdefault("given", {})
        if given.setdefault(self.dest, option_string) != option_string:
            parser.error(f"{given[self.dest]} and {option_string} are both given; leave out one")
        super().__call__(parser, namespace, values, option_string)


class _BothWays(argparse.BooleanOptionalAction):
    """Keeps each of `--compile --no-compile`, as a list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest, [])
        super().__call__(parser, namespace, values, option_string)
        setattr(namespace, self.dest, [*before, getattr(namespace, self.dest)])


def _add(parser: argparse.ArgumentParser, option: Option, several: bool) -> None:
    # The namespace has only the options that were given; the dataclass has the defaults.
    shared: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
    text = option.help.replace("%", "%%")  # argparse fills in %(default)s and the like
    shared["help"] = text + ("; repeatable" if several else "")
    if option.kind is bool:
        shared["help"] += f" (default: {'on' if option.default else 'off'})"
        action = _BothWays if several else _Switch
        parser.add_argument(flag(option.name), action=action, **shared)
        return
    if option.bare is not None:
        shared |= {"nargs": "?", "const": option.bare}
    if "default:" not in option.help and option.default not in (None, ()):
        shared["help"] += f" (default: {option.default})"
    parser.add_argument(
        flag(option.name),
        type=option.kind,
        action="append" if several or option.is_tuple else "store",
        metavar=None if option.choices else (option.metavar or option.name.upper()),
        choices=option.choices,
        **shared,
    )
