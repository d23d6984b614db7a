"""What a loader is told, and what it hands back, in few words."""

from __future__ import annotations

import dataclasses

import torch
import torchvision

from fastbench.data.dataset import Manifest
from fastbench.loaders.base import IMAGENET, Batch, Loader, LoaderSpec, Preprocess
from fastbench.loaders.shared.pixels import levels_of
from fastbench.models.torchvision import preprocess_of


def spec_of(manifest: Manifest, **changes: object) -> LoaderSpec:
    spec = LoaderSpec(
        paths=manifest.paths,
        batch_size=8,
        preprocess=IMAGENET,
        device="cpu",
        dtype="float32",
        num_threads=2,
        sizes=manifest.sizes,
    )
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def ids_of(batch: Batch) -> list[int]:
    ids: list[int] = batch.ids_N[: batch.num_valid].tolist()
    return ids


def pixels_of(loader: Loader, preprocess: Preprocess = IMAGENET) -> torch.Tensor:
    """All valid images of an epoch, back in levels of 0..255."""
    return torch.cat([levels_of(b.images_NCHW[: b.num_valid].clone(), preprocess) for b in loader])


def presets() -> list[Preprocess]:
    """Every distinct preprocessing among torchvision's classification weights."""
    names = torchvision.models.list_models(module=torchvision.models)
    weights = [w for name in names for w in torchvision.models.get_model_weights(name)]
    return list(dict.fromkeys(preprocess_of(w.transforms()) for w in weights))
