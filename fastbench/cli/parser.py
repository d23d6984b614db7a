"""From the fields of a configuration to command-line options, in the groups of `--help`.

`batch_size: int | None` becomes `--batch-size N`, a bool `--compile / --no-compile`, a tuple an
option that may be given again. Libraries that read dataclasses take half a second to import,
argparse a tenth.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, get_args

from fastbench.core.errors import UsageError, did_you_mean
from fastbench.core.options import Group, declared, flag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fastbench.core.options import Option

T = TypeVar("T")


class _Formatter(argparse.HelpFormatter):
    """argparse's, with room for most options beside their help: fewer lines."""

    def __init__(self, prog: str, **how: Any) -> None:
        super().__init__(prog, **{"max_help_position": 28, **how})


class Parser(argparse.ArgumentParser):
    """argparse with our kind of error, and options that take one value once, by their whole name.

    `siblings` are the parsers of the commands beside this one, by name.
    """

    siblings: Mapping[str, argparse.ArgumentParser] = types.MappingProxyType({})

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _Formatter, **how})
        for name in (None, "store"):
            self.register("action", name, _Once)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`, where argparse exits."""
        stop = "" if message.endswith(("?", ".")) else "."
        raise UsageError(f"{message[:1].upper()}{message[1:]}{stop} See: {self.prog} --help")

    def group(self, title: str) -> argparse._ArgumentGroup:
        """The group of options with this title, made at its first use."""
        made = {group.title: group for group in self._action_groups}
        return made.get(title) or self.add_argument_group(title)

    def format_help(self) -> str:
        """As argparse's, with `--help` and `--debug` below all other options."""
        self._action_groups.sort(key=lambda group: group is self._optionals)
        return super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; an argument that is not known is an error of this very command."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(" ".join(map(self._why_unknown, _options_of(unknown))))
        return found, unknown

    def _why_unknown(self, word: str) -> str:
        flags = {*self._option_string_actions}
        word, _, _ = word.partition("=")
        if not word.startswith("-"):
            return f"The word {word!r} is no argument of {self.prog}."
        for sibling in self.siblings.values():
            if word in sibling._option_string_actions:
                return f"{word} is an option of {sibling.prog}, not of {self.prog}."
        close = did_you_mean(word, sorted(flags))
        return f"There is no option {word} of {self.prog}.{close}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            close = did_you_mean(value, list(action.choices))
            self.error(f"There is no command {value!r} of {self.prog}.{close}")
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            self.error(f"{error}.{did_you_mean(str(value), [*map(str, action.choices or ())])}")


def _options_of(unknown: Sequence[str]) -> Sequence[str]:
    """The options among words that are not known, without their values; else the words."""
    return [word for word in unknown if word.startswith("-")] or unknown


def add_command(
    commands: Any,
    name: str,
    function: Callable[[argparse.Namespace], int],
    help_: str,
    usage: str | None = None,
) -> Parser:
    """Add a command to those of `add_subparsers`; `function` runs it and returns its exit code.

    `usage` is what follows its name where argparse would write out each of many options.
    """
    parser: Parser = commands.add_parser(
        name,
        help=help_,
        description=help_[:1].upper() + help_[1:] + ".",
        usage=usage and f"%(prog)s {usage}",
    )
    parser.siblings = commands.choices
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


_AGAIN: Final = "Options with * may be given again: every combination is a row."


def add_options(
    parser: Parser,
    *config_types: type[Any],
    only: Collection[str] | None = None,
    several: Collection[str] = (),
    help_: Mapping[str, str] | None = None,
) -> None:
    """Give `parser` an option for each field of dataclasses, or only for some, group by group.

    Those in `several` may be given again, whatever their type. `help_` replaces an option's own
    help if that does not fit the command.
    """
    if several:
        parser.description = f"{parser.description} {_AGAIN}"
    options = [x for config_type in config_types for x in declared(config_type).values()]
    groups = get_args(Group)
    for option in sorted(options, key=lambda option: groups.index(option.group)):
        if only is None or option.name in only:
            said = (help_ or {}).get(option.name, option.help)
            group = parser.group(option.group)
            _add(group, dataclasses.replace(option, help=said), option.name in several)


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


def _add(parser: argparse._ArgumentGroup, option: Option, several: bool) -> None:
    # The namespace has only the options that were given; the dataclass has the defaults.
    shared: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
    text = option.help.replace("%", "%%")  # argparse fills in %(default)s and the like
    again = f"; for one of several models MODEL={option.name.upper()}" if option.by_model else ""
    shared["help"] = text + (again if several else "")
    mark = " *" if several else ""
    if option.kind is bool:
        shared["help"] += f" (default: on){mark}" if option.default else mark
        action = _BothWays if several else _Switch
        parser.add_argument(flag(option.name), action=action, **shared)
        return
    if option.bare is not None:
        shared |= {"nargs": "?", "const": option.bare}
    if "default:" not in option.help and option.default not in (None, ()):
        shared["help"] += f" (default: {option.default})"
    shared["help"] += mark
    parser.add_argument(
        flag(option.name),
        type=option.kind,
        action="append" if several or option.is_tuple else "store",
        metavar=None if option.choices else (option.metavar or option.name.upper()),
        choices=option.choices,
        **shared,
    )
