"""Models that are only an object in this process (see `held.py`).

What is measured is a copy: the caller's own stays as it is. A copy is made ready as what a callable
returns is (`callable.py`), with the usual preprocessing for ImageNet where none is stated.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

from fastbench.core.errors import ModelError, UnknownNameError, errors_as
from fastbench.models import held
from fastbench.models.callable import finish
from fastbench.models.input_size import AS_STATED, AskedInput

if TYPE_CHECKING:
    from fastbench.models.base import LoadedModel


def check_name(name: str) -> None:
    """Nothing is left to check: who named the object did."""


def load_model(
    name: str,
    weights: str = "DEFAULT",
    *,
    seed: int = 0,  # noqa: ARG001
    asked: AskedInput = AS_STATED,
) -> LoadedModel:
    """Copy the object, and load a checkpoint into the copy if `weights` is a file.

    Raises as `fastbench.models.registry.load_model` does.
    """
    found = held.find(name)
    assert found is not None
    if weights == "none":
        raise UnknownNameError(
            f"The model {name} has its own weights, so there is no --weights none. "
            f"Leave it out, or name a file."
        )
    remedy = "fastbench measures a copy, and not the model itself: let copy.deepcopy copy it."
    with errors_as(ModelError, f"The model {name} cannot be copied", remedy):
        made = copy.deepcopy(found.made)
    remedy = "Let it be put into inference mode, and moved to the CPU and to float32."
    with errors_as(ModelError, f"The model {name} cannot be made ready", remedy):
        loaded = finish(made, name, weights, asked)
    return dataclasses.replace(loaded, token=found.token)
