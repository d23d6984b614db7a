"""Engines by name: the built-in ones, and plug-ins of the entry points `fastbench.engines`.

Whether one runs here is found by importing what it needs. Importing this module imports no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.engine_facts import BUILT_IN, UNNAMED
from fastbench.core.errors import (
    EngineMissingError,
    UnknownNameError,
    UsageError,
    did_you_mean,
    first_line,
    kind_and_line,
)
from fastbench.core.nvidia import gpu_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastbench.engines.base import Factory

GROUP: Final = "fastbench.engines"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An engine as `fastbench engines` lists it.

    `formats` are the files of models that it runs, `quantizes` the values of `--quantize` that it
    has, `origin` is where a plug-in comes from. `why_not` is None where the engine runs here, else
    what is missing and what installs it.
    """

    name: str
    summary: str
    formats: tuple[str, ...] = ()
    quantizes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    origin: str | None = None
    why_not: str | None = None


def installed() -> dict[str, Any]:
    """The plug-in engines that installed packages register, by name."""
    import importlib.metadata

    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def known_names() -> list[str]:
    """Every engine, the built-in ones first."""
    return [*BUILT_IN, *sorted(name for name in installed() if name not in BUILT_IN)]


def check_name(name: str) -> None:
    """Raise `UnknownNameError` for an engine that nobody registered, with the nearest name."""
    known = known_names()
    if name not in (*known, UNNAMED):
        raise UnknownNameError(
            f"There is no engine {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )


def check_options(engine: str, options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an option that a built-in engine does not have."""
    known = BUILT_IN[engine].options if engine in BUILT_IN else ()
    for name in options:
        if engine in BUILT_IN and name not in known:
            raise UsageError(
                f"The engine {engine!r} has no option {name!r}.{did_you_mean(name, list(known))} "
                f"It has: {', '.join(known) or 'none'}."
            )


def why_not(name: str) -> str | None:
    """Why an engine cannot run here, or None: what is missing, and what installs it.

    A built-in engine's packages are looked for and not imported; a plug-in is imported.
    """
    if (entry := BUILT_IN.get(name)) is None:
        try:
            installed()[name].load()
        except Exception as error:  # noqa: BLE001 - a package may fail to import in any way
            return kind_and_line(error)
        return None
    lacks = [module for module in entry.modules if importlib.util.find_spec(module) is None]
    if lacks:
        command = f'pip install "fastbench[{entry.extra}]"' if entry.extra else entry.install
        return f"{lacks[0]} is not installed; {command}"
    if entry.needs_gpu and not gpu_names():
        return "it needs an NVIDIA GPU, and NVIDIA's driver shows none"
    return None


def resolve(name: str) -> Factory:
    """The factory of an engine.

    Raises `UnknownNameError` for a name that nobody registered, `EngineMissingError` where what it
    needs is not here.
    """
    check_name(name)
    if (why := why_not(name)) is not None:
        raise EngineMissingError(f"The engine {name!r} cannot run here: {why}.")
    try:
        factory: Factory
        if name in BUILT_IN:
            module, _, attribute = BUILT_IN[name].target.partition(":")
            factory = getattr(importlib.import_module(module), attribute)
        else:
            factory = installed()[name].load()
    except Exception as error:
        raise EngineMissingError(
            f"The engine {name!r} failed to import: {first_line(error)}. Install its package again."
        ) from error
    return factory


def images_dtype(factory: Factory, dtype: str) -> str:
    """The dtype in which an engine wants its images, where the model computes in `dtype`."""
    ask = getattr(factory, "images_dtype", None)
    return dtype if ask is None else str(ask(dtype))


def describe(name: str) -> Listed:
    """What is known of an engine, and whether it runs here."""
    if (entry := BUILT_IN.get(name)) is not None:
        return Listed(
            name=name,
            summary=entry.summary,
            formats=entry.formats,
            quantizes=entry.quantizes,
            options=entry.options,
            why_not=why_not(name),
        )
    plug_in = installed()[name]
    why = why_not(name)
    docstring = "" if why else (plug_in.load().__doc__ or "").strip()
    of = f", of {plug_in.dist.name} {plug_in.dist.version}" if plug_in.dist else ""
    return Listed(
        name=name,
        summary=docstring.splitlines()[0].rstrip(".") if docstring else "",
        origin=f"{plug_in.value}{of}",
        why_not=why,
    )
