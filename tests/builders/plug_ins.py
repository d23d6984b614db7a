"""A plug-in that is registered without being installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

LOADERS = "fastbench.loaders"
ENGINES = "fastbench.engines"
PlugIn = Callable[..., None]
"""(name, factory): a loader of that name, or with `group` what its entry points are for."""


@dataclass(frozen=True)
class FakeEntryPoint:
    """What `importlib.metadata.entry_points` gives, of the distribution `tests 1.0`."""

    name: str
    factory: object
    group: str = LOADERS
    dist: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(name="tests", version="1.0")
    )

    @property
    def value(self) -> str:
        return f"tests:{self.name}"

    def load(self) -> object:
        if isinstance(self.factory, Exception):
            raise self.factory
        return self.factory
