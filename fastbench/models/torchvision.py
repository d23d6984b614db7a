"""torchvision's models and the sample model: weights, their preprocessing and their classes.

The preprocessing is read off the weights. A checkpoint file gets that of the torchvision weights
that it is (by its hash) or whose file name it has, else of the model's default weights. The sample
model has its own in its file.

Whether your own file was trained with that preprocessing cannot be checked; the record says where
it came from.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import Any, Final

import torch
import torchvision

from fastbench.core.errors import UnknownNameError, WeightsError, did_you_mean
from fastbench.core.reading import open_regular
from fastbench.data.labels import ClassSpace
from fastbench.loaders.base import Preprocess
from fastbench.models.base import LoadedModel, class_space, triple
from fastbench.models.checkpoint import Checkpoint, load_into, read_checkpoint
from fastbench.models.input_size import AS_STATED, AskedInput
from fastbench.models.registry import SAMPLE, known_names, torchvision_names, weights_file

SAMPLE_FILE: Final = Path(__file__).with_name("sample.safetensors")


def check_name(name: str) -> None:
    """Raise `UnknownNameError`, with the nearest name, where there is no such model."""
    if name != SAMPLE and name not in torchvision_names():
        raise UnknownNameError(
            f"There is no model {name!r}.{did_you_mean(name, known_names())} "
            f"List them: fastbench models"
        )


def load_model(
    name: str,
    weights: str = "DEFAULT",
    *,
    seed: int = 0,
    asked: AskedInput = AS_STATED,  # noqa: ARG001
) -> LoadedModel:
    """Build a model and load its weights, which may also be the name of torchvision weights.

    Raises as `fastbench.models.registry.load_model` does.
    """
    if name == SAMPLE:
        return _load_sample(weights, seed)
    check_name(name)
    if weights == "none":
        return _with_random_weights(name, seed)
    if file := weights_file(weights):
        return _load_file(name, *file)
    return _load_published(name, weights)


def preprocess_of(transforms: Any) -> Preprocess:
    """Read the preprocessing off the `transforms()` of torchvision weights."""
    (resize,), (crop,) = transforms.resize_size, transforms.crop_size
    return Preprocess(
        resize=resize,
        crop=crop,
        interpolation=transforms.interpolation.value,
        antialias=bool(transforms.antialias),
        mean=triple(transforms.mean),
        std=triple(transforms.std),
    )


def _load_published(name: str, weights: str) -> LoadedModel:
    entry = _named_weights(name, weights)
    try:
        # get_model knows each architecture's extra arguments (aux heads).
        module = torchvision.models.get_model(name, weights=entry, progress=False)
    except OSError as error:  # URLError too: no network, no such host, a full disk
        file = os.path.basename(entry.url)
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"The weights {entry} of {name} cannot be downloaded ({reason}). "
            f"Put the file {file} into {folder}, or name a local file with --weights FILE, "
            f"or use --weights none."
        ) from error
    except RuntimeError as error:  # torch.hub: the hash does not match
        raise WeightsError(
            f"The weights {entry} of {name} cannot be loaded ({error}). "
            f"Delete {os.path.basename(entry.url)} in {torch.hub.get_dir()}/checkpoints, run again."
        ) from error
    categories = tuple(entry.meta["categories"])
    return LoadedModel(
        name=name,
        weights=entry.name,
        module=module,
        preprocess=preprocess_of(entry.transforms()),
        preprocess_source=str(entry),
        classes=ClassSpace(
            num_classes=len(categories), names=categories, is_imagenet=len(categories) == 1000
        ),
        published=published_of(entry),
    )


def _load_file(name: str, path: Path, key: str) -> LoadedModel:
    checkpoint = _renamed(read_checkpoint(path, key), name)
    module = _build(name, checkpoint)
    load_into(module, checkpoint, name)
    official = _published_as(name, path)
    entry = official or _weights_for_file(name, path)
    num_classes = _num_outputs(module)
    names = checkpoint.classes(num_classes)
    return LoadedModel(
        name=name,
        weights=official.name if official else checkpoint.name,
        module=module,
        preprocess=checkpoint.preprocess or preprocess_of(entry.transforms()),
        preprocess_source=path.name if checkpoint.preprocess else str(entry),
        classes=class_space(num_classes, names),
        published=published_of(official) if official else None,
        notes=checkpoint.notes,
    )


def _load_sample(weights: str, seed: int) -> LoadedModel:
    if weights not in ("DEFAULT", "none"):
        raise UnknownNameError(
            f"The sample model has no weights {weights!r}. Use --weights DEFAULT or none, "
            f"or name another model with --model."
        )
    checkpoint = read_checkpoint(SAMPLE_FILE)
    if checkpoint.preprocess is None:
        raise WeightsError(f"{SAMPLE_FILE} lacks its preprocessing. Reinstall fastbench.")
    torch.manual_seed(seed)
    module = _build(checkpoint.metadata["architecture"], checkpoint)
    num_classes = _num_outputs(module)
    if weights == "DEFAULT":
        load_into(module, checkpoint, SAMPLE)
    return LoadedModel(
        name=SAMPLE,
        weights="embedded" if weights == "DEFAULT" else "none",
        module=module,
        preprocess=checkpoint.preprocess,
        preprocess_source=SAMPLE_FILE.name,
        classes=class_space(num_classes, checkpoint.classes(num_classes)),
    )


def _with_random_weights(name: str, seed: int) -> LoadedModel:
    torch.manual_seed(seed)
    entry = torchvision.models.get_model_weights(name).DEFAULT
    return LoadedModel(
        name=name,
        weights="none",
        module=torchvision.models.get_model(name, weights=None, **_options(name, aux=False)),
        preprocess=preprocess_of(entry.transforms()),
        preprocess_source=str(entry),
        classes=class_space(len(entry.meta["categories"]), None),
    )


def _renamed(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """DenseNet's published files have `norm.1` for `norm1`, and so on."""
    if not name.startswith("densenet"):
        return checkpoint
    pattern = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
    tensors = {pattern.sub(r"\1\2", key): value for key, value in checkpoint.tensors.items()}
    return dataclasses.replace(checkpoint, tensors=tensors)


def _build(name: str, checkpoint: Checkpoint) -> torch.nn.Module:
    """The architecture, with as many outputs as the checkpoint has."""
    aux = any(key.startswith(("aux1.", "AuxLogits.")) for key in checkpoint.tensors)
    module: torch.nn.Module = torchvision.models.get_model(
        name, weights=None, **_options(name, aux)
    )
    head = _head_key(module)
    if head in checkpoint.tensors:
        num_classes = checkpoint.tensors[head].shape[0]
        if num_classes != _num_outputs(module):
            module = torchvision.models.get_model(
                name, weights=None, num_classes=num_classes, **_options(name, aux)
            )
    return module


def _options(name: str, aux: bool) -> dict[str, Any]:
    """GoogLeNet and Inception spend a minute on initial weights unless told not to.

    Their published weights need another normalisation: with `transform_input` the model brings its
    input to it, as where torchvision loads the weights.
    """
    if name not in ("googlenet", "inception_v3"):
        return {}
    return {"init_weights": False, "aux_logits": aux, "transform_input": True}


def _head_key(module: torch.nn.Module) -> str:
    """A classifier's last matrix is its output layer (auxiliary heads come earlier)."""
    return [key for key, tensor in module.state_dict().items() if tensor.ndim >= 2][-1]


def _num_outputs(module: torch.nn.Module) -> int:
    return module.state_dict()[_head_key(module)].shape[0]


def _named_weights(name: str, weights: str) -> Any:
    known = torchvision.models.get_model_weights(name)
    if weights == "DEFAULT":
        return known.DEFAULT
    for entry in known:
        if weights in (entry.name, str(entry)):
            return entry
    names = [entry.name for entry in known]
    raise UnknownNameError(
        f"The model {name} has no weights {weights!r}.{did_you_mean(weights, names)} "
        f"Known: DEFAULT, {', '.join(names)}, none, or a .pth or .safetensors file."
    )


def _published_as(name: str, path: Path) -> Any | None:
    """The torchvision weights that a file is, by its hash, which their file's name has."""
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for entry in torchvision.models.get_model_weights(name):
        match = re.search(r"-([0-9a-f]{8,})\.", os.path.basename(entry.url))
        if match and digest.startswith(match[1]):
            return entry
    return None


def _weights_for_file(name: str, path: Path) -> Any:
    known = torchvision.models.get_model_weights(name)
    by_file = {os.path.basename(entry.url): entry for entry in known}
    return by_file.get(path.name, known.DEFAULT)


def published_of(entry: Any) -> tuple[float, float] | None:
    """The top-1 and top-5 share that torchvision's weights state for ImageNet."""
    metrics = entry.meta.get("_metrics", {}).get("ImageNet-1K")
    return (metrics["acc@1"] / 100, metrics["acc@5"] / 100) if metrics else None
