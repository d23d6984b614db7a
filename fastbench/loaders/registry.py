"""Loaders by name: the built-in ones, and plug-ins of the entry points `fastbench.loaders`, or of
`package.module:Factory`, which is looked for in the current folder first, as `python -m` does.

Whether one runs here is found by importing its module and asking its factory. None is opened for
it: a pipeline costs seconds, and a device.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastbench.core import watchdog
from fastbench.core.errors import (
    LoaderError,
    LoaderMissingError,
    UnknownNameError,
    UsageError,
    did_you_mean,
    first_line,
    kind_and_line,
)
from fastbench.core.loader_facts import BUILT_IN, BuiltInLoader
from fastbench.core.nvidia import gpu_names
from fastbench.core.reading import look_here_first
from fastbench.core.system_errors import limit_of
from fastbench.loaders.base import (
    GENERAL_OPTIONS,
    Factory,
    FactoryTraits,
    OnDemandFactory,
    Setting,
    check_option_names,
)
from fastbench.loaders.builtin import dali_package

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP: Final = "fastbench.loaders"
IMPORT_S: Final = 600.0
"""How long a loader of a row may take to be imported."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A loader as `fastbench loaders` lists it.

    A plug-in's summary is the first line of its factory's docstring. `decoder`, `device` and
    `options` are what the factory says of itself, `num_cores` is up to how many cores a built-in
    loader's threads scale (see `BuiltInLoader`), `origin` where a plug-in comes from. With
    `on_demand` it takes requests too. `why_not` is None where the loader runs here, else what is
    missing and what installs it.
    """

    name: str
    summary: str
    decoder: str | None = None
    device: str | None = None
    options: tuple[str, ...] = ()
    num_cores: int | None = None
    on_demand: bool = False
    origin: str | None = None
    why_not: str | None = None


def resolve(name: str) -> Factory:
    """The factory of a loader.

    Raises `UnknownNameError` for a name that nobody registered, `LoaderMissingError` where its
    module cannot be imported here, `LimitError` where a limit of the system keeps it from that.
    """
    check_name(name)
    try:
        with watchdog.limited(f"the loader {name!r} to be imported", IMPORT_S):
            return _load(name)
    except Exception as error:
        if (limit := limit_of(error, f"as the loader {name!r} was imported")) is not None:
            raise limit from error
        why = _why_not_imported(name, error)
        if name in BUILT_IN:
            command = _installs(name)
            remedy = f"Install it with {command}" if command else "Install its package again"
            raise LoaderMissingError(
                f"The loader {name!r} cannot run here: {why}. "
                f"{remedy}, or choose another with --loader."
            ) from error
        mend = "Mend its module" if ":" in name else "Mend or uninstall its package"
        raise LoaderMissingError(f"{title(name)} failed to import: {why}. {mend}.") from error


def on_demand_of(name: str, factory: object) -> OnDemandFactory:
    """What makes a loader's other side, which takes requests.

    Raises `LoaderError` where it has none.
    """
    made: OnDemandFactory | None = getattr(factory, "on_demand", None)
    if callable(made):
        return made
    raise takes_no_requests(name)


def takes_no_requests(name: str) -> LoaderError:
    """The error for a loader without an on-demand side, for which it need not be imported."""
    able = ", ".join(known for known, entry in BUILT_IN.items() if entry.on_demand)
    return LoaderError(
        f"{title(name)} reads its files in order, and cannot take requests: it has no "
        f"on_demand. Choose another with --loader: {able}."
    )


def check_name(name: str) -> None:
    """Raise `UnknownNameError` for a loader that nobody registered, and a module that is nowhere.

    The message has the nearest name.
    """
    if name in BUILT_IN:
        return
    known = sorted({*BUILT_IN, *installed()})
    if name in known:
        return
    module, colon, attribute = name.partition(":")
    if not colon:
        raise UnknownNameError(
            f"There is no loader {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}. "
            f"One of your own is given as module:Factory."
        )
    if not (module and attribute.isidentifier()):
        raise UnknownNameError(
            f"There is no loader {name!r}. Write a factory as package.module:Factory."
        )
    look_here_first()
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise UnknownNameError(
            f"There is no module {package!r}, for the loader {name}. It is looked for in the "
            f"current folder and among the installed packages."
        )


def describe(name: str) -> Listed:
    """What is known of a loader, and whether it runs here; its module is imported."""
    if (entry := BUILT_IN.get(name)) is None:
        return _describe_plug_in(name)
    return _listed(name, entry, why_not(name))


def _listed(name: str, entry: BuiltInLoader, lacks: str | None) -> Listed:
    return Listed(
        name=name,
        summary=entry.summary,
        decoder=entry.decoder,
        device=entry.device,
        options=entry.options,
        num_cores=entry.num_cores,
        on_demand=entry.on_demand,
        why_not=lacks,
    )


def glance(name: str) -> Listed:
    """What is known of a loader without importing it: by its packages, and the GPUs that NVML sees.

    A plug-in says what it does, and whether it runs here, only when it is imported.
    """
    if (entry := BUILT_IN.get(name)) is None:
        plug_in = installed().get(name)
        return Listed(name=name, summary="", origin=plug_in and _origin(plug_in))
    lacks = None
    if entry.packages and not any(map(_is_installed, entry.packages)):
        command = _installs(name)
        lacks = f"{entry.packages[0]} is not installed" + (f"; {command}" if command else "")
    elif entry.needs_gpu and not gpu_names():
        lacks = "it needs an NVIDIA GPU, and NVIDIA's driver shows none"
    return _listed(name, entry, lacks)


def _is_installed(package: str) -> bool:
    import importlib.metadata

    try:  # 0.0.0 is the empty wheel behind the extra cuda130
        return importlib.metadata.version(package) != "0.0.0"
    except importlib.metadata.PackageNotFoundError:
        return False


def hidden() -> list[Listed]:
    """The plug-ins that cannot be named, for a built-in loader has their name."""
    reason = "a built-in loader has this name, and is run in its place: rename it"
    return [
        Listed(name=name, summary="", origin=_origin(plug_in), why_not=reason)
        for name, plug_in in installed().items()
        if name in BUILT_IN
    ]


def unheard(name: str, why: str) -> Listed:
    """A loader that ended its process, or did not answer, when it was asked."""
    plug_in = None if name in BUILT_IN else _plug_in(name)
    return Listed(name=name, summary="", origin=plug_in and _origin(plug_in), why_not=why)


def why_not(name: str) -> str | None:
    """Why a loader cannot run here, or None; it is imported and not opened."""
    try:
        factory = _load(name)
    except Exception as error:  # noqa: BLE001 - a package may fail to import in any way
        command = _installs(name) if name in BUILT_IN else None
        return _why_not_imported(name, error) + (f"; {command}" if command else "")
    try:
        return FactoryTraits.of(factory).why_not()
    except Exception as error:  # noqa: BLE001
        return f"its why_not() raised {kind_and_line(error)}"


def title(name: str) -> str:
    """A loader at the head of a sentence; a plug-in with where it comes from."""
    plug_in = None if name in BUILT_IN else installed().get(name)
    if plug_in is not None:
        return f"The plug-in loader {name!r} ({_origin(plug_in)})"
    return f"The {'plug-in ' if ':' in name else ''}loader {name!r}"


def check_options(loader: str, options: Mapping[str, Setting]) -> None:
    """Raise `UsageError` for an option that a built-in loader does not have.

    The values of the options that every loader has are checked too. A plug-in checks its own
    options when it is opened.
    """
    for name, least in GENERAL_OPTIONS.items():
        value = options.get(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(
                f"--loader-option {loader}.{name} is {value}. Give a whole number of at least "
                f"{least}."
            )
    if loader in BUILT_IN:
        check_option_names(loader, options, [*GENERAL_OPTIONS, *BUILT_IN[loader].options])


def installed() -> dict[str, Any]:
    """The plug-in loaders that installed packages register, by name."""
    import importlib.metadata

    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def _plug_in(name: str) -> Any:
    """The entry point of a plug-in; one of our own making for `package.module:Factory`."""
    import importlib.metadata

    if (found := installed().get(name)) is not None:
        return found
    look_here_first()
    return importlib.metadata.EntryPoint(name=name, value=name, group=GROUP)


def _load(name: str) -> Factory:
    """Import a loader's factory. Raises whatever its module raises."""
    factory: Factory
    if name not in BUILT_IN:
        factory = _plug_in(name).load()
    else:
        module, _, attribute = BUILT_IN[name].target.partition(":")
        factory = getattr(importlib.import_module(module), attribute)
    return factory


def _describe_plug_in(name: str) -> Listed:
    plug_in = _plug_in(name)
    factory: Any = None
    with contextlib.suppress(Exception):  # `why_not` says it
        factory = plug_in.load()
    traits = FactoryTraits.of(factory)
    docstring = (getattr(factory, "__doc__", None) or "").strip()
    return Listed(
        name=name,
        summary=docstring.splitlines()[0].rstrip(".") if docstring else "",
        decoder=traits.decoder,
        device=traits.device,
        options=traits.options,
        on_demand=callable(getattr(factory, "on_demand", None)),
        origin=_origin(plug_in),
        why_not=why_not(name),
    )


def _installs(name: str) -> str | None:
    """What installs a built-in loader's package, where that is not here."""
    if _lacks_dali(name):
        return dali_package.how_to_install()
    extra = BUILT_IN[name].extra
    return f'pip install "fastbench[{extra}]"' if extra else None


def _lacks_dali(name: str) -> bool:
    return name in ("dali", "dali-cpu") and not dali_package.is_installed()


def _origin(plug_in: Any) -> str:
    """`package.module:Factory, of distribution 1.0`."""
    distribution = getattr(plug_in, "dist", None)
    of = f", of {distribution.name} {distribution.version}" if distribution else ""
    return f"{plug_in.value}{of}"


def _why_not_imported(name: str, error: Exception) -> str:
    """The error in words; a missing module needs no name of its error."""
    if _lacks_dali(name):  # what is left of it could be imported in part
        return "NVIDIA DALI is not installed"
    return first_line(error) if isinstance(error, ModuleNotFoundError) else kind_and_line(error)
