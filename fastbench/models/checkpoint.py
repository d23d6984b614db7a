"""Reading a local checkpoint, and loading it into a model that it may not fit.

A `.safetensors` file may have class names and preprocessing in its metadata. Other files are read
by `torch.load`, tensors only: a checkpoint must not run code here.
"""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from fastbench.core.errors import WeightsError, first_line
from fastbench.loaders.base import Preprocess
from fastbench.models.base import INTERPOLATIONS, triple

_WRAPPERS: Final = ("state_dict", "model", "model_state_dict", "model_ema", "module")
_PREFIXES: Final = ("module.", "_orig_mod.", "model.")
_NUM_AVERAGED: Final = "n_averaged"
"""The counter of torch's `AveragedModel`, which is no tensor of the model."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file's tensors by name, and its metadata.

    `versions` is torch's note on each module, by the module's name, None where the file has none:
    by it modules know the names of the tensors of their older versions.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Any] | None = None

    def classes(self, num_outputs: int) -> tuple[str, ...] | None:
        """The class names that the file states, by index.

        Raises `WeightsError` where they are not a name for each of the model's outputs.
        """
        if "classes" not in self.metadata:
            return None
        names = self._stated("classes")
        if (
            not isinstance(names, list)
            or not all(isinstance(name, str) for name in names)
            or len(names) != num_outputs
        ):
            raise WeightsError(
                f"The classes in the metadata of {self.path} are not a name for each of the "
                f"model's {num_outputs:,} outputs. Save a JSON list of these names, or none."
            )
        return tuple(names)

    @property
    def preprocess(self) -> Preprocess | None:
        """The preprocessing that the file states.

        Raises `WeightsError` for anything that the loaders do not have.
        """
        if "preprocess" not in self.metadata:
            return None
        stated = self._stated("preprocess")
        try:
            triples = {key: triple(stated[key]) for key in ("mean", "std")}
            preprocess = Preprocess(**{**stated, **triples})
        except (KeyError, TypeError, ValueError):
            preprocess = None
        if preprocess is None or preprocess.interpolation not in INTERPOLATIONS:
            raise WeightsError(
                f"The preprocess in the metadata of {self.path} is not one that the loaders have. "
                f"Save a JSON object with the fields of fastbench.loaders.base.Preprocess, its "
                f"interpolation {' or '.join(INTERPOLATIONS)}, or none."
            )
        return preprocess

    def _stated(self, key: str) -> Any:
        """A value of the metadata, which is JSON; None where it is not."""
        try:
            return json.loads(self.metadata[key])
        except ValueError:
            return None


def is_file_name(weights: str) -> bool:
    """Whether `--weights` names a file, not weights that have a name."""
    path = Path(weights)
    # Other suffixes where the file exists, such as model_best.pth.tar.
    return (
        os.sep in weights
        or path.suffix in (".pth", ".pt", ".safetensors", ".bin")
        or (path.suffix != "" and path.is_file())
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.safetensors`, `.pth` or `.pt` file.

    Raises `WeightsError` where it is missing or is no checkpoint.
    """
    if not path.is_file():
        raise WeightsError(f"The weights file {path} does not exist. Check --weights.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle's protocols
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's text is about its own options, and in bold.
        raise _unreadable(path, "it holds more than tensors, or no pickle at all") from error
    except Exception as error:  # a damaged pickle can raise any
        raise _unreadable(path, error) from error
    state = _state(loaded)
    tensors = {
        key: value
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and key != _NUM_AVERAGED
    }
    if not tensors:
        raise WeightsError(
            f"{path} holds no tensors by name (it is a {type(loaded).__name__}). "
            f"Save the model's state_dict() and name that file."
        )
    return _stripped(path, tensors, versions=getattr(state, "_metadata", None))


def load_into(module: torch.nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load a checkpoint, every tensor of it and of the model.

    Raises `WeightsError`, with the first names that do not fit, for another model's checkpoint.
    """
    wanted = module.state_dict()
    # A model that wraps another one has a prefix before each name, too.
    prefix = _prefix(list(wanted))
    tensors: Any = OrderedDict((prefix + key, value) for key, value in checkpoint.tensors.items())
    differing = [
        key for key, value in tensors.items() if key in wanted and value.shape != wanted[key].shape
    ]
    for key in differing:
        del tensors[key]
    if checkpoint.versions is not None:
        tensors._metadata = {
            (prefix + key).removesuffix("."): value for key, value in checkpoint.versions.items()
        }
    try:
        missing, unexpected = module.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError) as error:  # ValueError: torchvision's MNASNet
        raise WeightsError(
            f"The weights {checkpoint.path} do not fit the model {name} "
            f"({' '.join(str(error).split())}). Name the model that they belong to with --model."
        ) from error
    # BatchNorm's step counters are not used in inference, and old checkpoints lack them.
    missing = [
        key for key in missing if key not in differing and not key.endswith("num_batches_tracked")
    ]
    if missing or unexpected or differing:
        problems = [
            f"{len(keys)} {what} (first: {keys[0]})"
            for what, keys in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", differing),
            )
            if keys
        ]
        raise WeightsError(
            f"The weights {checkpoint.path} do not fit the model {name}: tensors "
            f"{', '.join(problems)}. Name the model that they belong to with --model."
        )


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    return _stripped(path, tensors, metadata=metadata)


def _unreadable(path: Path, reason: Exception | str) -> WeightsError:
    return WeightsError(
        f"{path} is not a checkpoint that can be read ({first_line(reason)}). "
        f"Save the model's state_dict() with torch.save or safetensors."
    )


def _state(loaded: object) -> Mapping[str, Any]:
    """The state dict in what was saved."""
    if not isinstance(loaded, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(loaded.get(wrapper), Mapping):
            return _state(loaded[wrapper])
    return loaded


def _stripped(
    path: Path,
    tensors: dict[str, torch.Tensor],
    *,
    metadata: Mapping[str, str] | None = None,
    versions: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """A checkpoint whose names lack the prefix of DataParallel or torch.compile."""
    prefix = _prefix(list(tensors))
    return Checkpoint(
        path=path,
        tensors={key.removeprefix(prefix): value for key, value in tensors.items()},
        metadata=metadata or {},
        versions=versions
        and {
            f"{key}.".removeprefix(prefix).removesuffix("."): value
            for key, value in versions.items()
            if f"{key}.".startswith(prefix)
        },
    )


def _prefix(names: list[str]) -> str:
    """The prefix of all names."""
    for prefix in _PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return prefix + _prefix([name.removeprefix(prefix) for name in names])
    return ""
