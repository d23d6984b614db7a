"""Names of models: the embedded sample model, and torchvision's classification models.

Importing this room imports no torch; the functions do.
"""

from __future__ import annotations

from typing import Any

from fastbench.errors import UnknownNameError, did_you_mean

__all__ = ["SAMPLE", "check_name", "known_names"]

SAMPLE = "sample"
"""The model in the package, trained on the embedded data set."""


def known_names() -> list[str]:
    """Every model's name, sorted, the sample model first."""
    return [SAMPLE, *_torchvision_names()]


def check_name(name: str) -> None:
    """Raise `UnknownNameError`, with the nearest name, where no model has this one."""
    known = known_names()
    if name not in known:
        raise UnknownNameError(
            f"There is no model {name!r}.{did_you_mean(name, known)} List them: fastbench models"
        )


def _torchvision_names() -> list[str]:
    from torchvision import models

    # The quantised models live in a module of their own and run on CPUs alone.
    names: list[Any] = models.list_models(module=models)
    return sorted(str(name) for name in names)
