"""The loader of a run that names none: DALI, or another one where DALI is not installed.

It is decided here, once, and is an option of the run from then on, as if it had been given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastbench.core.loader_facts import DEFAULT_LOADER, FALLBACK_LOADER, REFERENCE_LOADER
from fastbench.core.options import parse_loader_option
from fastbench.loaders.builtin import dali_package

if TYPE_CHECKING:
    from collections.abc import Mapping


def with_loader(
    options: Mapping[str, Any], *, with_reference: bool = False
) -> tuple[dict[str, Any], str | None]:
    """The options with a loader that is installed, and a line that says so if it is not DALI.

    With `with_reference` the reference has a row beside it, as beside DALI. A loader that is asked
    for by its name, or has a setting, is left as it is. Raises `UsageError` for a setting of a
    wrong form.
    """
    settings = map(parse_loader_option, options.get("loader_option", ()))
    is_asked_for = options.get("loader") or DEFAULT_LOADER in (name for name, _ in settings)
    if is_asked_for or dali_package.is_installed():
        return dict(options), None
    line = (
        f"NVIDIA DALI is not installed, so the loader is {FALLBACK_LOADER} "
        f"({dali_package.how_to_install()})."
    )
    reference = options.get("reference", REFERENCE_LOADER) if with_reference else "none"
    loaders = [name for name in (reference, FALLBACK_LOADER) if name != "none"]
    return {**options, "loader": tuple(dict.fromkeys(loaders))}, line
