"""`--weights MODEL=WEIGHTS`: each of several models has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastbench.core.config import OPTIONS
from fastbench.core.errors import UsageError, did_you_mean
from fastbench.core.units import and_more
from fastbench.models.registry import weights_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def weights_of(options: Mapping[str, Any], models: Sequence[str]) -> dict[str, str]:
    """The weights of each model: those of its `MODEL=WEIGHTS`, else those that are given for all.

    Raises `UsageError` for a model that is not run, and for several weights of one.
    """
    found: dict[str, str] = {}
    given = options.get("weights", ())
    for text in (given,) if isinstance(given, str) else given:
        model, equals, its = text.partition("=")
        if not (equals and its and model in models):
            if equals and weights_file(text) is None:
                raise UsageError(
                    f"--weights is {text!r}, and no model {model!r} is run."
                    f"{did_you_mean(model, [*models])} Run: {and_more(models, 8)}."
                )
            model, its = "", text  # such as epoch=3.ckpt
        if found.setdefault(model, its) != its:
            of = f"of {model} " if model else ""
            raise UsageError(
                f"--weights {of}is given twice: {found[model]} and {its}. "
                f"Give it once, or once for each model: --weights MODEL=WEIGHTS"
            )
    default = found.get("", OPTIONS["weights"].default)
    return {model: found.get(model, default) for model in models}
