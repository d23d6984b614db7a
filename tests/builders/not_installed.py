"""Python modules that are not installed, as far as anybody who looks for them can tell."""

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from fastbench.core.engine_facts import BUILT_IN

EVERY = {
    module
    for engine in BUILT_IN.values()
    for module in (*engine.modules, *engine.to_export, *engine.to_quantize)
}
"""All that the engines need."""


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Of what the engines need these modules are not installed, and all others are."""
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        if name in modules:
            return None
        found = real(name, package)
        return found or (ModuleSpec(name, None) if name in EVERY else None)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
