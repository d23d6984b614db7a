"""Models by name: what may be given as --model, and which file here makes it.

    sample                      the model in the package, trained on the sample data
    resnet50                    torchvision's (torchvision.py)
    mine                        a plug-in's, of the entry points `fastbench.models` (callable.py)
    package.module:callable     your own callable's (callable.py)
    timm:resnet50.a1_in1k       timm's, with timm's preprocessing (timm.py)
    path/to/model.pt2           TorchScript, or an archive of `torch.export` (exported.py)
    path/to/model.onnx          ONNX, OpenVINO IR (.xml) or AOTInductor (.pt2) (program_file.py)

A Python program may also give an object, which has a name meanwhile (held.py, in_memory.py). Each
of these files has `check_name` and `load_model` for its kind of name. Importing this module imports
no torch; the functions do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.engine_facts import AOTINDUCTOR, ONNX, OPENVINO_IR
from fastbench.core.reading import open_regular, user_path
from fastbench.models import held
from fastbench.models.input_size import AS_STATED, AskedInput

if TYPE_CHECKING:
    from fastbench.models.base import LoadedModel

SAMPLE: Final = "sample"
TIMM: Final = "timm:"

HINT: Final = (
    "Also: timm:NAME, package.module:callable, or a file: TorchScript, torch.export or AOTInductor "
    "(.pt2), ONNX (.onnx), OpenVINO IR (.xml)."
)
"""The forms of --model that `fastbench models` does not list."""

GROUP: Final = "fastbench.models"
_SUFFIXES: Final = frozenset(
    (
        ".bin",
        ".ckpt",
        ".jit",
        ".onnx",
        ".pt",
        ".pt2",
        ".pth",
        ".safetensors",
        ".torchscript",
        ".ts",
        ".xml",
    )
)


_WEIGHTS_SUFFIXES: Final = (".pth", ".pt", ".safetensors", ".bin")


def known_names() -> list[str]:
    """Every model that has a name, sorted, the sample model first and plug-ins last."""
    built_in = [SAMPLE, *torchvision_names()]
    return [*built_in, *sorted(name for name in installed() if name not in built_in)]


def check_name(name: str) -> None:
    """Raise `UnknownNameError`, with the nearest name, where no model has this one.

    Raises `ModelError` for a package that is missing or fails to import, and for a file that holds
    no model. Nothing is loaded.
    """
    _kind(name).check_name(name)


def load_model(
    name: str, weights: str = "DEFAULT", *, seed: int = 0, asked: AskedInput = AS_STATED
) -> LoadedModel:
    """Make a model of any kind, with its weights, preprocessing and classes.

    `weights` is `DEFAULT`, a `.pth`, `.pt` or `.safetensors` file (`FILE:KEY` is one of several
    sets in it), `none` for random weights drawn from `seed`, or a name that the model's kind knows.
    `asked` is what options want of its preprocessing.

    Raises `UnknownNameError` for an unknown model or weights, `WeightsError` where the weights
    cannot be had or do not fit, `ModelError` where the model cannot be made, gives no logits, or
    fails on images of the size that is asked for, `UsageError` for a crop that cannot be.
    """
    from fastbench.models.base import with_input

    loaded: LoadedModel = _kind(name).load_model(name, weights, seed=seed, asked=asked)
    return with_input(dataclasses.replace(loaded, files=files_of(name, weights)), asked)


def installed() -> dict[str, Any]:
    """The models that installed packages register, by name."""
    import importlib.metadata

    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def torchvision_names() -> list[str]:
    """torchvision's classification models, sorted."""
    from torchvision import models

    # Not the quantised models, which run on CPUs alone.
    names: list[Any] = models.list_models(module=models)
    return sorted(str(name) for name in names)


def weights_file(weights: str) -> tuple[Path, str] | None:
    """The file that `--weights` names and what follows it as `:KEY`; None for a name of weights.

    A file whose whole name is there needs no suffix of weights, and may have a colon in its name.
    """
    whole = user_path(weights)
    before, _, key = weights.rpartition(":")
    file = user_path(before)
    if key and not whole.is_file() and (file.is_file() or file.suffix in _WEIGHTS_SUFFIXES):
        return file, key
    is_file = whole.suffix in _WEIGHTS_SUFFIXES or (whole.suffix != "" and whole.is_file())
    return (whole, "") if is_file or os.sep in weights else None


def files_of(model: str, weights: str) -> dict[str, str]:
    """The SHA-256, in hex, of the files that `--model` and `--weights` name, by option.

    Of a callable that is the file of its module, if it is below the current folder; of an object in
    memory, its tensors; of an OpenVINO IR, both its files, one after the other. A file that cannot
    be read is left out: loading it says why.
    """
    module, colon, _ = model.partition(":")
    named = {"model": user_path(module.replace(".", os.sep) + ".py" if colon else model)}
    named["weights"], _ = weights_file(weights) or (user_path(weights), "")
    found = {}
    for option, path in named.items():
        with contextlib.suppress(OSError):
            found[option] = _digest_of(path)
    if (thing := held.find(model)) is not None:
        found["model"] = thing.digest
    return found


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    for each in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        with open_regular(each) as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def _kind(name: str) -> Any:
    """The module that makes a model of this name; torchvision.py for an unknown one."""
    if held.find(name) is not None:
        kind = "in_memory"
    elif name.startswith(TIMM):
        kind = "timm"
    elif _is_file_name(name):
        kind = "exported" if program_format(user_path(name)) is None else "program_file"
    elif ":" in name or (name in installed() and name not in (SAMPLE, *torchvision_names())):
        kind = "callable"
    else:
        kind = "torchvision"
    return importlib.import_module(f"{__package__}.{kind}")


def program_format(path: Path) -> str | None:
    """The format of a file that another engine than torch's runs; None for any other file.

    A `.pt2` is AOTInductor's or torch.export's, which its contents tell.
    """
    if path.suffix in (".onnx", ".xml"):
        return {".onnx": ONNX, ".xml": OPENVINO_IR}[path.suffix]
    if not path.is_file():  # opening a pipe waits for ever
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    return AOTINDUCTOR if any("data/aotinductor/" in f"/{name}" for name in names) else None


def _is_file_name(model: str) -> bool:
    return os.sep in model or Path(model).suffix in _SUFFIXES
