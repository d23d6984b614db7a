"""Models that a callable makes: `package.module:callable`, and plug-ins that packages register.

The callable is called without arguments, after torch's seed was set, and returns a
`torch.nn.Module` or a `Model`. Modules are looked for in the current folder first, as `python -m`
does. `--weights FILE` replaces the model's own weights; the preprocessing and classes that the file
states come before those of the `Model`. The model is run on a blank image to count its classes. A
`Model` may state what runs it in place of torch: see `fastbench.models.base`.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.errors import (
    ModelError,
    UnknownNameError,
    did_you_mean,
    errors_as,
    kind_and_line,
)
from fastbench.core.reading import look_here_first, user_path
from fastbench.models.base import (
    LoadedModel,
    Model,
    class_space,
    in_float32,
    num_outputs,
    usual_preprocess,
)
from fastbench.models.checkpoint import load_into, read_checkpoint
from fastbench.models.input_size import AS_STATED, AskedInput
from fastbench.models.registry import GROUP, installed, weights_file

if TYPE_CHECKING:
    from collections.abc import Callable

OWN: Final = "its own"
"""What the record calls the weights that the callable gave its model."""


def check_name(name: str) -> None:
    """Import the callable.

    Raises `UnknownNameError` where it or its module is missing, `ModelError` where the module fails
    to import or what is found cannot be called without arguments.
    """
    _callable(name)


def load_model(
    name: str, weights: str = "DEFAULT", *, seed: int = 0, asked: AskedInput = AS_STATED
) -> LoadedModel:
    """Call the callable, and load a checkpoint into what it returned if `weights` is a file.

    Raises as `fastbench.models.registry.load_model` does.
    """
    make = _callable(name)
    if weights == "none":
        raise UnknownNameError(
            f"The model {name} makes its own weights, so there is no --weights none. "
            f"Leave it out, or name a file."
        )
    torch.manual_seed(seed)
    with errors_as(ModelError, f"The model {name} cannot be made", "Mend its callable."):
        made = make()
    if not isinstance(made, torch.nn.Module | Model):
        raise ModelError(
            f"The callable {name} returned a value of type {type(made).__name__}. Let it return a "
            f"torch.nn.Module, or a fastbench.models.base.Model."
        )
    return finish(made, name, weights, asked)


def finish(
    made: torch.nn.Module | Model,
    name: str,
    weights: str = "DEFAULT",
    asked: AskedInput = AS_STATED,
) -> LoadedModel:
    """What somebody made, ready to be loaded; it is changed: to float32, in inference mode.

    It is tried on a blank image of the size that is asked for.
    Raises as `load_model` does.
    """
    model = made if isinstance(made, Model) else Model(module=made)
    module = model.module
    checkpoint = None
    if weights != "DEFAULT":
        checkpoint = read_checkpoint(*(weights_file(weights) or (user_path(weights), "")))
        load_into(module, checkpoint, name)
    module, notes = in_float32(module, name)
    preprocess, source = usual_preprocess()
    if checkpoint is not None and checkpoint.preprocess is not None:
        preprocess, source = checkpoint.preprocess, checkpoint.path.name
    elif model.preprocess is not None:
        preprocess, source = model.preprocess, name
    names = None if model.classes is None else tuple(model.classes)
    num_classes = num_outputs(module, name, preprocess.crop, asked=asked)
    if names is not None and len(names) != num_classes:
        raise ModelError(
            f"The model {name} names {len(names):,} classes and has {num_classes:,} outputs. "
            f"Give its Model a name for each output, in their order, or none."
        )
    if checkpoint is not None:
        names = checkpoint.classes(num_classes) or names
    return LoadedModel(
        name=name,
        weights=OWN if checkpoint is None else checkpoint.name,
        module=module,
        preprocess=preprocess,
        preprocess_source=source,
        classes=class_space(num_classes, names),
        notes=(*notes, *(() if checkpoint is None else checkpoint.notes)),
        engine=model.foreign_engine,
        num_parameters=model.num_parameters,
    )


def _callable(name: str) -> Callable[[], Any]:
    found = _imported(name) if ":" in name else _plugged_in(name)
    if isinstance(found, torch.nn.Module):
        raise ModelError(
            f"{name} is a model, and fastbench needs a callable that makes one: each run begins "
            f"with a fresh model. Name a callable that returns it."
        )
    if not callable(found):
        raise ModelError(
            f"{name} is a value of type {type(found).__name__}, which cannot be called. "
            f"Name a callable that returns a torch.nn.Module."
        )
    if needed := _needed_arguments(found):
        raise ModelError(
            f"The callable {name} needs arguments ({', '.join(needed)}), and is called without "
            f"any. Name one that needs none, such as a function that calls it."
        )
    return found


def _imported(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute.isidentifier():
        raise UnknownNameError(
            f"There is no model {name!r}. Write a callable as package.module:callable."
        )
    look_here_first()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and _is_or_holds(error.name, module_name):
            raise UnknownNameError(
                f"There is no module {module_name!r}, for the model {name}."
                f"{did_you_mean(name, _candidates(attribute))} It is looked for in the current "
                f"folder and among the installed packages."
            ) from error
        raise ModelError(
            f"The module {module_name} of the model {name} failed to import "
            f"({kind_and_line(error)}). Mend it, or install what it needs."
        ) from error
    if not hasattr(module, attribute):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise UnknownNameError(
            f"The module {module_name} has no {attribute!r}.{did_you_mean(attribute, known)} "
            f"Name a callable in {getattr(module, '__file__', None) or module_name}."
        )
    return getattr(module, attribute)


def _plugged_in(name: str) -> Any:
    entry = installed()[name]
    what = f"The plug-in model {name!r} ({GROUP}: {entry.value}) failed to import"
    with errors_as(ModelError, what, "Mend or uninstall its package."):
        return entry.load()


def _is_or_holds(missing: str | None, module: str) -> bool:
    """Whether the missing module is the wanted one or a package around it."""
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def _candidates(attribute: str) -> list[str]:
    """Names that may have been meant: of the modules of the current folder, and of timm."""
    here = [module.name for module in pkgutil.iter_modules([os.getcwd()])]
    return [f"{module}:{attribute}" for module in [*here, "timm"]]


def _needed_arguments(make: Callable[..., Any]) -> list[str]:
    """The arguments without a default; none where the callable does not tell."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
