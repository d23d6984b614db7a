"""The settings that `fastbench tune` tries, as options of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.options import spelt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fastbench.loaders.base import Setting

_FIELDS: Final = ("batch_size", "num_threads", "model_threads")
"""Settings that are options of a run; the others are the loader's."""


def as_options(
    settings: Mapping[str, Setting], loader: str, given: Sequence[str] = ()
) -> dict[str, Any]:
    """Settings as options of a run; those of the loader come after the `given` ones."""
    options: dict[str, Any] = {name: settings[name] for name in _FIELDS if name in settings}
    own = [f"{loader}.{x}" for x in _own_settings(settings)]
    if own:
        options["loader_option"] = (*given, *own)
    return options


def as_changes(
    settings: Mapping[str, Setting], loader: str, default: Mapping[str, Setting]
) -> Iterator[str]:
    """What `--ab` changes of the default."""
    changed = {name: x for name, x in settings.items() if x != default[name]}
    for name in _FIELDS:
        if name in changed:
            yield f"{spelt(name)}={changed[name]}"
    for text in _own_settings(changed):
        yield f"loader-option={loader}.{text}"


def _own_settings(settings: Mapping[str, Setting]) -> Iterator[str]:
    """`NAME=VALUE` of the loader's settings; one of None is left to the loader."""
    for name, value in settings.items():
        if name not in _FIELDS and value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{name}={text}"
