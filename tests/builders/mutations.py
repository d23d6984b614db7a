"""A record of JSON with one thing changed, many times: what a file from elsewhere may hold."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mutation:
    """`record` with what lies at `path` changed, as `what` says."""

    path: Path
    what: str
    record: Any

    @property
    def name(self) -> str:
        """The field without the numbers of lists: `throughput.windows.wall_s`."""
        return ".".join(part for part in self.path if isinstance(part, str))


def mutations(record: Any) -> Iterator[Mutation]:
    """Each number otherwise, each text a number, each field gone, and one that nobody knows."""
    for path, value in _places(record):
        if isinstance(value, dict):
            yield _with(record, (*path, "unknown"), "unknown field", 7)
        for what, other in _others(value):
            yield _with(record, path, what, other)
        if path and isinstance(path[-1], str):
            yield Mutation(path, "removed", _changed(record, path, None, remove=True))


def _places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """What lies where; of a list only its first, second and last."""
    yield path, value
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, min(1, len(value)), len(value) - 1} & {*range(len(value))}):
            yield from _places(value[index], (*path, index))


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool | str):
        yield from (("a number", 7), ("null", None), ("a list", []))
    elif isinstance(value, int | float):
        yield from (("text", "7"), ("null", None), ("true", True), ("10**40", 10**40))
        numbers = {
            "0": 0,
            "-1": -1,
            "+1": value + 1,
            "x2": 2 * value,
            "x1000": 1000 * value,
            "1e308": 1e308,
        }
        yield from ((what, other) for what, other in numbers.items() if other != value)
    elif isinstance(value, list):
        yield from (("empty", []), ("one more", [*value, *value[:1]]), ("text", "7"))
    elif isinstance(value, dict):
        yield from (("null", None), ("a list", []), ("empty", {}))
    else:
        yield from (("a number", 7), ("text", "7"))


def _with(record: Any, path: Path, what: str, value: Any) -> Mutation:
    return Mutation(path, what, _changed(record, path, value))


def _changed(record: Any, path: Path, value: Any, *, remove: bool = False) -> Any:
    """A copy of the containers on the way to `path`, with another value there."""
    if not path:
        return value
    made = copy.copy(record)
    if len(path) == 1 and remove:
        del made[path[0]]
    elif len(path) == 1:
        made[path[0]] = value
    else:
        made[path[0]] = _changed(made[path[0]], path[1:], value, remove=remove)
    return made
