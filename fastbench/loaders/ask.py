"""Which loaders run here: each is imported and asked in a child, which it may crash or hold up.

One child asks them all, as long as it lives; the loader that ends it is named, and another child
asks the others.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.child_process import ChildProcess
from fastbench.core.loader_facts import BUILT_IN
from fastbench.core.units import format_seconds
from fastbench.loaders import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastbench.core.child_process import Channel
    from fastbench.loaders.registry import Listed

LIMIT_S: Final = 120.0
"""How long a loader may take to be imported and to answer."""


def listing(*, check: bool = True) -> list[Listed]:
    """Every loader, sorted by name; without `check` none is imported."""
    names = [*BUILT_IN, *(name for name in registry.installed() if name not in BUILT_IN)]
    listed = [*(ask(names) if check else map(registry.glance, names)), *registry.hidden()]
    return sorted(listed, key=lambda loader: (loader.name, loader.origin or ""))


def ask(names: Sequence[str]) -> Iterator[Listed]:
    """What is known of these loaders, in this order."""
    left = list(names)
    while left:
        why = ""
        with ChildProcess(_answer, left) as child:
            child.next_message()  # torch has been imported
            try:
                while left and (message := child.next_message(LIMIT_S)) is not None:
                    yield message[1]
                    del left[0]
            except TimeoutError:
                why = f"it did not answer within {format_seconds(LIMIT_S)}"
            else:
                child.end()
                why = f"its process {child.ending} when it was asked"
        if left:
            yield registry.unheard(left.pop(0), why)


def _answer(names: Sequence[str], channel: Channel) -> None:
    channel.send("ready")
    for name in names:
        channel.send("answer", _plain(registry.describe(name)))


def _plain(listed: Listed) -> Listed:
    """With plain texts: a plug-in may say of itself what the other process cannot unpickle."""
    said = dataclasses.asdict(listed) | {"options": None}
    texts: dict[str, Any] = {x: None if told is None else str(told) for x, told in said.items()}
    return dataclasses.replace(listed, **texts | {"options": tuple(map(str, listed.options))})
