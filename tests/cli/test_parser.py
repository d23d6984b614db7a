"""An option that is given again: every value counts, or the second is refused by name."""

import argparse
from collections.abc import Iterator

import pytest
from builders.paths import REPOSITORY

from fastbench.cli.main import make_parser
from fastbench.core.config import OPTIONS, SWEPT
from fastbench.core.errors import UsageError
from fastbench.core.options import flag


def every_option(
    parser: argparse.ArgumentParser, *commands: str
) -> Iterator[tuple[tuple[str, ...], argparse.Action]]:
    """Each option with a value or two spellings, and the commands that it belongs to."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from every_option(command, *commands, name)
        elif action.option_strings and (action.nargs != 0 or len(action.option_strings) > 1):
            yield commands, action


def values_of(action: argparse.Action) -> tuple[str, ...]:
    if action.choices:
        return tuple(map(str, action.choices))[:2]
    return ("1", "2") if action.type in (int, float) else ("cpu", "cuda:1")


def given_twice(commands: tuple[str, ...], action: argparse.Action) -> object:
    """What the parser has of an option that is given with two values."""
    command = make_parser()
    for name in commands:
        (choices,) = (
            action.choices
            for action in command._actions
            if isinstance(action, argparse._SubParsersAction)
        )
        assert choices is not None
        command = choices[name]
    arguments = [x for value in values_of(action) for x in (action.option_strings[0], value)]
    if action.nargs == 0:
        arguments = [*action.option_strings]
    for other in command._actions:
        if other is not action and not other.option_strings:
            arguments += ["x"] * (0 if other.nargs in ("*", "?") else 1)
        elif other.required and other.dest != action.dest:
            arguments += [other.option_strings[0], "x"]
    return getattr(command.parse_args(arguments), action.dest)


@pytest.mark.parametrize(
    ("commands", "action"),
    [
        pytest.param(commands, action, id=" ".join((*commands, action.option_strings[0])))
        for commands, action in every_option(make_parser())
        if not {"-h", "--debug"} & {*action.option_strings}
    ],
)
def test_every_option_keeps_both_values_or_refuses_the_second(
    commands: tuple[str, ...], action: argparse.Action
) -> None:
    if commands in (("run",), ("loadtest",)) and action.dest in OPTIONS:
        keeps = OPTIONS[action.dest].is_repeatable
    else:
        keeps = "Append" in type(action).__name__
    if keeps:
        found = given_twice(commands, action)
        assert isinstance(found, list)
        assert len(found) == 2
        return
    refused = "is given twice, and takes one value" if action.nargs != 0 else "are both given"
    with pytest.raises(UsageError, match=rf"{action.option_strings[-1]} {refused}"):
        given_twice(commands, action)


def test_the_readme_lists_what_may_be_given_again() -> None:
    text = (REPOSITORY / "docs/many-runs.md").read_text()
    (_, after) = text.split("Give an option again, and every combination is a row:")
    listed = after.split("That holds for")[1].split(".")[0]
    assert {flag(name) for name in ("model", "loader", *SWEPT)} == {
        word for word in listed.replace("`", " ").replace(",", " ").split() if "--" in word
    }
