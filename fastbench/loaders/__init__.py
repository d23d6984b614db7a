"""Names of loaders: the built-in ones here, others through the entry points `fastbench.loaders`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastbench.errors import LoaderMissingError, UnknownNameError, did_you_mean
from fastbench.loaders.base import Loader, LoaderSpec

__all__ = ["BUILT_IN", "Entry", "Factory", "installed", "resolve"]

Factory = Callable[[LoaderSpec], Loader]
GROUP: Final = "fastbench.loaders"


@dataclass(frozen=True)
class Entry:
    """Where a built-in loader lives, what it does, and the module that it cannot do without."""

    target: str
    summary: str
    needs: str


BUILT_IN: Final = {
    "dali": Entry(
        "fastbench.loaders.dali:DaliLoader",
        "NVIDIA DALI: decode, resize, crop, normalise on the GPU, or all of it on the CPU",
        "nvidia.dali",
    ),
    "synthetic": Entry(
        "fastbench.loaders.synthetic:SyntheticLoader",
        "random images, made once and resident on the device: the model's ceiling",
        "torch",
    ),
    "torchvision": Entry(
        "fastbench.loaders.torchvision:TorchvisionLoader",
        "the reference: the weights' own transforms on PIL images, DataLoader workers",
        "torchvision",
    ),
}


def resolve(name: str) -> Factory:
    """The factory of a loader.

    Raises `UnknownNameError` for a name that nobody registered, `LoaderMissingError` where its
    module cannot be imported here.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].target.partition(":")
        try:
            factory: Factory = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise LoaderMissingError(
                f"The loader {name!r} cannot run here: {error}. "
                f"Install its package, or choose another with --loader."
            ) from error
        return factory
    plug_ins = installed()
    if name in plug_ins:
        try:
            plugged: Factory = plug_ins[name].load()
        except Exception as error:
            raise LoaderMissingError(
                f"The plug-in loader {name!r} ({plug_ins[name].value}) failed to import: "
                f"{type(error).__name__}: {error}. Mend or uninstall its package."
            ) from error
        return plugged
    known = sorted({*BUILT_IN, *plug_ins})
    raise UnknownNameError(
        f"There is no loader {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
    )


def installed() -> dict[str, Any]:
    """The plug-in loaders that installed packages register, by name."""
    import importlib.metadata

    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
