"""Classifiers of a bare module, or of a loaded model."""

from typing import Any

import torch

from fastbench.core.engine_facts import COMPILE, EAGER
from fastbench.data.labels import ClassSpace
from fastbench.engines.base import EngineSpec
from fastbench.engines.classifier import Classifier
from fastbench.loaders.base import IMAGENET
from fastbench.models.base import LoadedModel


class Bare(LoadedModel):
    """A model of a test: its engine gets the module itself, which the test looks at."""

    def copy_module(self) -> torch.nn.Module:
        return self.module


def loaded(module: torch.nn.Module, name: str = "model", **more: Any) -> LoadedModel:
    """A module as a loaded model, whose classes nobody counted."""
    facts = {
        "weights": "none",
        "preprocess": IMAGENET,
        "preprocess_source": "a test",
        "classes": ClassSpace(num_classes=1000, names=None, is_imagenet=False),
    }
    return Bare(name=name, module=module, **{**facts, **more})


def make_classifier(
    model: torch.nn.Module | LoadedModel,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int,
    crop: int = 224,
    engine: str | None = None,
    compile_mode: str | None = None,
    num_threads: int | None = None,
    name: str = "model",
    **more: Any,
) -> Classifier:
    """A model behind an engine: torch.compile with a `compile_mode`, else eager."""
    if isinstance(model, torch.nn.Module):
        model = loaded(model, name)
    spec = EngineSpec(
        model=model,
        batch_size=batch_size,
        crop=crop,
        device=torch.device(device),
        dtype=dtype,
        num_threads=num_threads or torch.get_num_threads(),
        compile_mode=compile_mode or "default",
        **more,
    )
    return Classifier(spec, engine or (COMPILE if compile_mode else EAGER))
