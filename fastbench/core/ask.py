"""Asking what may crash or hang: plug-ins say of themselves what they are, in a child.

One child asks them all, as long as it lives; the one that ends it is named, and another child asks
the others.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from fastbench.core.child_process import ChildProcess
from fastbench.core.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastbench.core.child_process import Channel

Listed = TypeVar("Listed")


def ask(
    names: Sequence[str],
    describe: Callable[[str], Listed],
    unheard: Callable[[str, str], Listed],
    limit_s: float,
) -> Iterator[Listed]:
    """What `describe` says of each name, in this order: a dataclass of texts.

    Of a name that ended its process, or took longer than the limit, it is what `unheard` says,
    which is told why.
    """
    left = list(names)
    while left:
        why = ""
        with ChildProcess(_answer, (describe, left)) as child:
            child.next_message()  # torch has been imported
            try:
                while left and (message := child.next_message(limit_s)) is not None:
                    yield message[1]
                    del left[0]
            except TimeoutError:
                why = f"it did not answer within {format_seconds(limit_s)}"
            else:
                child.end()
                why = f"its process {child.ending} when it was asked"
        if left:
            yield unheard(left.pop(0), why)


def _answer(job: tuple[Callable[[str], Any], Sequence[str]], channel: Channel) -> None:
    describe, names = job
    channel.send("ready")
    for name in names:
        channel.send("answer", _plain(describe(name)))


def _plain(listed: Any) -> Any:
    """With plain texts: a plug-in may say of itself what the other process cannot unpickle."""
    return dataclasses.replace(
        listed,
        **{
            each.name: _plain_text(getattr(listed, each.name))
            for each in dataclasses.fields(listed)
        },
    )


def _plain_text(told: Any) -> Any:
    if told is None or type(told) is int:
        return told
    return tuple(map(str, told)) if isinstance(told, tuple | list) else str(told)
