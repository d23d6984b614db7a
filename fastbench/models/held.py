"""Models that are only an object in this process, by the names that they have meanwhile.

A Python program gives them; a plan, a row and its record call them by these names. `in_memory.py`
makes them ready. Importing this module imports no torch.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

_FORMS: Final = "a name, a torch.nn.Module, or a fastbench.models.base.Model"
_TWICE: Final = (
    "The name {!r} of a model is no text, or is there twice. Give each object a name of its own."
)


class Held:
    """A `torch.nn.Module` or a `Model`, as it was given.

    `token` is another one each time, so that what was found of an object is not taken for what
    would be found of the next one of this name: its code is in no digest.
    """

    def __init__(self, made: Any, module: torch.nn.Module) -> None:
        self.made = made
        self.module = module
        self.token = f"{os.getpid()}-{time.time_ns()}"

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of its structure and its tensors, in hex."""
        found = hashlib.sha256(repr(self.module).encode())
        for name, value in self.module.state_dict().items():
            found.update(f"{name} {getattr(value, 'dtype', '')}".encode())
            found.update(_content_of(value))
        return found.hexdigest()


_held: Final[dict[str, Held]] = {}


@contextlib.contextmanager
def named(models: Sequence[Any]) -> Iterator[list[str]]:
    """The names of models, in their order; those of objects hold until the block ends.

    Each is a name, a `torch.nn.Module`, a `fastbench.models.base.Model`, or a mapping from names to
    such objects; an object without a name is called after its class. Raises `UsageError` for
    anything else.
    """
    names: list[str] = []
    objects: dict[str, Held] = {}
    for given in models:
        for name, made in given.items() if isinstance(given, Mapping) else [("", given)]:
            if isinstance(made, str) and not name:
                called = made
            else:
                module = _module_of(made)
                called = name or _free_name(module, names)
                if not isinstance(called, str) or called in names:
                    raise UsageError(_TWICE.format(called))
                objects[called] = Held(made, module)
            names.append(called)
    if twice := [name for name in objects if names.count(name) > 1]:
        raise UsageError(_TWICE.format(twice[0]))
    _held.update(objects)
    try:
        yield names
    finally:
        for name in objects:
            del _held[name]


def find(name: str) -> Held | None:
    """The object of this name; None where no object has it."""
    return _held.get(name)


def _module_of(made: Any) -> torch.nn.Module:
    """The module of what was given. Raises `UsageError` for what is no model."""
    import torch

    from fastbench.models.base import Model

    module = made.module if isinstance(made, Model) else made
    if not isinstance(module, torch.nn.Module):
        called = " Call it, and give what it returns." if callable(made) else ""
        raise UsageError(
            f"A model is of type {type(made).__name__}. Give {_FORMS}, or a list of them.{called}"
        )
    if hasattr(module, "_orig_mod"):
        raise UsageError(
            "The model was compiled by torch.compile already, and would be recorded as eager. Give "
            "the module that was compiled, and compile=True."
        )
    return module


def _free_name(module: torch.nn.Module, taken: Sequence[str]) -> str:
    """The name of its class, with a number from the second on."""
    # TorchScript's modules know what they were.
    kind = str(getattr(module, "original_name", type(module).__name__))
    names = itertools.chain([kind], (f"{kind}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def _content_of(value: Any) -> Any:
    """What a tensor holds; of anything else, and of quantised and sparse ones, how it is shown."""
    import torch

    if not isinstance(value, torch.Tensor) or value.is_quantized or value.layout != torch.strided:
        return repr(value).encode()
    return value.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy()
