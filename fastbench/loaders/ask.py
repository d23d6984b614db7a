"""Which loaders run here: each is imported and asked in a child, which it may crash or hold up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastbench.core import ask as core_ask
from fastbench.core.loader_facts import BUILT_IN
from fastbench.loaders import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    return core_ask.ask(names, registry.describe, registry.unheard, LIMIT_S)
