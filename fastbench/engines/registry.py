"""Engines by name: the built-in ones, and plug-ins of the entry points `fastbench.engines`.

Importing this module imports no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.engine_facts import BUILT_IN, UNNAMED
from fastbench.core.errors import (
    EngineMissingError,
    UnknownNameError,
    UsageError,
    did_you_mean,
    kind_and_line,
)
from fastbench.core.nvidia import gpu_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastbench.engines.base import Factory

GROUP: Final = "fastbench.engines"
LIMIT_S: Final = 120.0
"""How long an engine may take to be imported."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An engine as `fastbench engines` lists it.

    `formats` are the files of models that it runs, `quantizes` the values of `--quantize` that it
    has, `origin` is where a plug-in comes from. `why_not` is None where the engine runs here, else
    what is missing and what installs it; `lacks` says so of what it can do besides.
    """

    name: str
    summary: str
    formats: tuple[str, ...] = ()
    quantizes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    origin: str | None = None
    why_not: str | None = None
    lacks: tuple[str, ...] = ()


def installed() -> dict[str, Any]:
    """The plug-in engines that installed packages register, by name."""
    import importlib.metadata

    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def known_names() -> list[str]:
    """Every engine, the built-in ones first."""
    return [*BUILT_IN, *sorted(name for name in installed() if name not in BUILT_IN)]


def check_name(name: str) -> None:
    """Raise `UnknownNameError` for an engine that nobody registered, with the nearest name."""
    if name in BUILT_IN or name == UNNAMED:
        return
    known = known_names()
    if name not in known:
        raise UnknownNameError(
            f"There is no engine {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )


def check_options(engine: str, options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an option that a built-in engine does not have.

    A plug-in checks its own options when it is made.
    """
    known = BUILT_IN[engine].options if engine in BUILT_IN else ()
    for name in options:
        if engine in BUILT_IN and name not in known:
            raise UsageError(
                f"The engine {engine!r} has no option {name!r}.{did_you_mean(name, list(known))} "
                f"It has: {', '.join(known) or 'none'}."
            )


def missing(name: str, modules: Sequence[str]) -> str | None:
    """Which of a built-in engine's modules is not installed, and what installs it; None for none.

    They are looked for and not imported.
    """
    entry = BUILT_IN[name]
    for module in modules:
        if importlib.util.find_spec(module) is None:
            command = f'pip install "fastbench[{entry.extra}]"' if entry.extra else entry.install
            return f"{module} is not installed; {command}"
    return None


def resolve(name: str) -> Factory:
    """The factory of an engine.

    Raises `UnknownNameError` for a name that nobody registered, `EngineMissingError` where it
    cannot be imported here, or what it needs is not installed.
    """
    check_name(name)
    entry = BUILT_IN.get(name)
    if entry is not None and (why := missing(name, entry.modules)) is not None:
        raise EngineMissingError(f"The engine {name!r} cannot run here: {why}.")
    try:
        factory: Factory = _load(name)
    except Exception as error:
        mend = "Install its package again" if entry else "Mend or uninstall its package"
        raise EngineMissingError(
            f"{title(name)} failed to import: {kind_and_line(error)}. {mend}."
        ) from error
    return factory


def title(name: str) -> str:
    """An engine at the head of a sentence; a plug-in with where it comes from."""
    if name in BUILT_IN:
        return f"The engine {name!r}"
    return f"The plug-in engine {name!r} ({_origin(installed()[name])})"


def images_dtype(factory: Factory, dtype: str) -> str:
    """The dtype in which an engine wants its images, where the model computes in `dtype`."""
    ask = getattr(factory, "images_dtype", None)
    return dtype if ask is None else str(ask(dtype))


def listing(*, check: bool = False) -> list[Listed]:
    """Every engine, the built-in ones first; with `check` each is imported, in a child."""
    names = known_names()
    if check:
        from fastbench.core.ask import ask

        return [*ask(names, describe, unheard, LIMIT_S), *hidden()]
    return [*map(glance, names), *hidden()]


def glance(name: str) -> Listed:
    """What is known of an engine without importing it: by its packages, and the GPUs of the driver.

    A plug-in says what it does, and whether it runs here, only when it is imported.
    """
    if (entry := BUILT_IN.get(name)) is None:
        return Listed(name=name, summary="", origin=_origin(installed()[name]))
    why = missing(name, entry.modules)
    if why is None and entry.needs_gpu and not gpu_names():
        why = "it needs an NVIDIA GPU, and NVIDIA's driver shows none"
    besides = {"takes files alone": entry.to_export, "does not quantise": entry.to_quantize}
    lacks = {doing: missing(name, modules) for doing, modules in besides.items()}
    return Listed(
        name=name,
        summary=entry.summary,
        formats=entry.formats,
        quantizes=entry.quantizes,
        options=entry.options,
        why_not=why,
        lacks=() if why else tuple(f"{doing}: {it}" for doing, it in lacks.items() if it),
    )


def describe(name: str) -> Listed:
    """What is known of an engine, and whether it runs here; what it needs is imported."""
    listed = glance(name)
    if listed.why_not is not None:
        return listed
    try:
        factory: Any = _load(name)
        for module in BUILT_IN[name].modules if name in BUILT_IN else ():
            importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a package may fail to import in any way
        return replace(listed, why_not=kind_and_line(error))
    if name in BUILT_IN:
        return listed
    docstring = (getattr(factory, "__doc__", None) or "").strip()
    options = getattr(factory, "options", ())
    return replace(
        listed,
        summary=docstring.splitlines()[0].rstrip(".") if docstring else "",
        options=tuple(map(str, options)) if isinstance(options, tuple | list) else (),
    )


def hidden() -> list[Listed]:
    """The plug-ins that cannot be named, for a built-in engine has their name."""
    reason = "a built-in engine has this name, and is run in its place: rename it"
    return [
        Listed(name=name, summary="", origin=_origin(plug_in), why_not=reason)
        for name, plug_in in installed().items()
        if name in (*BUILT_IN, UNNAMED)
    ]


def unheard(name: str, why: str) -> Listed:
    """An engine that ended its process, or did not answer, when it was asked."""
    return replace(glance(name), why_not=why)


def _load(name: str) -> Any:
    """Import an engine's factory. Raises whatever its module raises."""
    if name not in BUILT_IN:
        return installed()[name].load()
    module, _, attribute = BUILT_IN[name].target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _origin(plug_in: Any) -> str:
    """`package.module:Factory, of distribution 1.0`."""
    distribution = getattr(plug_in, "dist", None)
    of = f", of {distribution.name} {distribution.version}" if distribution else ""
    return f"{plug_in.value}{of}"
