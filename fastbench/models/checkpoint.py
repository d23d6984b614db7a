"""Reading a local checkpoint, and loading it into a model that it may not fit.

A `.safetensors` file is read with its metadata (class names and preprocessing, where it has
them); anything else by `torch.load`, tensors only: a checkpoint must not run code here.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from fastbench.errors import WeightsError
from fastbench.loaders.base import Preprocess

__all__ = ["Checkpoint", "is_file_name", "load_into", "read_checkpoint"]

_WRAPPERS: Final = ("state_dict", "model", "model_state_dict", "model_ema", "module")
_PREFIXES: Final = ("module.", "_orig_mod.", "model.")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file's tensors by name, and its metadata."""

    path: Path
    tensors: dict[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class names that the file states, by index."""
        return tuple(json.loads(self.metadata["classes"])) if "classes" in self.metadata else None

    @property
    def preprocess(self) -> Preprocess | None:
        """The preprocessing that the file states."""
        if "preprocess" not in self.metadata:
            return None
        stated: dict[str, Any] = json.loads(self.metadata["preprocess"])
        return Preprocess(**{**stated, "mean": tuple(stated["mean"]), "std": tuple(stated["std"])})


def is_file_name(weights: str) -> bool:
    """Whether what `--weights` says is a file rather than a name of weights."""
    return os.sep in weights or Path(weights).suffix in (".pth", ".pt", ".safetensors", ".bin")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.safetensors`, `.pth` or `.pt` file.

    Raises `WeightsError` where it is missing or is no checkpoint.
    """
    if not path.is_file():
        raise WeightsError(f"The weights file {path} does not exist. Check --weights.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise _unreadable(path, error) from error
    tensors = _tensors(loaded)
    if not tensors:
        raise WeightsError(
            f"{path} holds no tensors by name (it is a {type(loaded).__name__}). "
            f"Save the model's state_dict() and name that file."
        )
    return Checkpoint(path=path, tensors=tensors)


def load_into(module: torch.nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load a checkpoint, every tensor of it and of the model.

    Raises `WeightsError`, with the first names that do not fit, for another model's checkpoint.
    """
    wanted = module.state_dict()
    # BatchNorm's step counters are not used in inference, and old checkpoints lack them.
    missing = [
        key
        for key in wanted
        if key not in checkpoint.tensors and not key.endswith("num_batches_tracked")
    ]
    unexpected = [key for key in checkpoint.tensors if key not in wanted]
    differing = [
        key
        for key, tensor in checkpoint.tensors.items()
        if key in wanted and tensor.shape != wanted[key].shape
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
    module.load_state_dict(checkpoint.tensors, strict=False)


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    return Checkpoint(path=path, tensors=_stripped(tensors), metadata=metadata)


def _unreadable(path: Path, error: Exception) -> WeightsError:
    reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return WeightsError(
        f"{path} is not a checkpoint that can be read ({reason}). "
        f"Save the model's state_dict() with torch.save or safetensors."
    )


def _tensors(loaded: object) -> dict[str, torch.Tensor]:
    if not isinstance(loaded, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(loaded.get(wrapper), Mapping):
            return _tensors(loaded[wrapper])
    return _stripped({k: v for k, v in loaded.items() if isinstance(v, torch.Tensor)})


def _stripped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names without what DataParallel and torch.compile put before every one of them."""
    for prefix in _PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            return _stripped({key.removeprefix(prefix): value for key, value in tensors.items()})
    return tensors
