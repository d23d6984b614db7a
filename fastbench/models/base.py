"""The interface of a model, whoever made it.

`Model` is what a plug-in or a callable may return, `LoadedModel` what every kind becomes. A model
without a preprocessing of its own gets the usual one for ImageNet, and the record says so. Whether
it was trained with that cannot be checked.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch

from fastbench.core.errors import ModelError, UsageError, errors_as
from fastbench.core.preprocess_option import INTERPOLATIONS
from fastbench.core.units import counted
from fastbench.data.labels import ClassSpace
from fastbench.loaders.base import IMAGENET, Preprocess
from fastbench.models.input_size import AS_STATED, AskedInput
from fastbench.models.logits import check_logits, is_torchscript
from fastbench.records.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

FLOATS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The dtypes of weights that float32 can stand for."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model from outside, as a callable or a plug-in returns it.

    `module` turns normalised (N, 3, H, W) images into (N, classes) logits. `preprocess` is what it
    was trained with; None stands for the usual one for ImageNet. `classes` names its outputs, by
    index; None with 1,000 outputs stands for ImageNet's.

    A module that hands its images to another engine than torch states what the record is to say:
    `engine`, such as `onnxruntime`, `number_format`, such as `int8`, `num_threads` that the engine
    uses, and `num_parameters`. What it does not state is not known. Raises `ModelError` for other
    types.
    """

    module: torch.nn.Module
    preprocess: Preprocess | None = None
    classes: Sequence[str] | None = None
    engine: str | None = None
    number_format: str | None = None
    num_threads: int | None = None
    num_parameters: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.module, torch.nn.Module):
            raise ModelError(
                f"A Model's module is of type {type(self.module).__name__}. "
                f"Give it a torch.nn.Module."
            )
        if not isinstance(self.preprocess, Preprocess | None):
            raise ModelError(
                f"A Model's preprocess is of type {type(self.preprocess).__name__}. "
                f"Give it a fastbench.loaders.base.Preprocess, or None."
            )
        if self.preprocess is not None and self.preprocess.interpolation not in INTERPOLATIONS:
            raise ModelError(
                f"A Model's preprocess has the interpolation {self.preprocess.interpolation!r}. "
                f"Give it {' or '.join(INTERPOLATIONS)}."
            )
        if self.classes is not None and (
            isinstance(self.classes, str) or not all(isinstance(x, str) for x in self.classes)
        ):
            raise ModelError("A Model's classes are not names. Give it a list of str, or None.")
        for name in ("engine", "number_format"):
            if not isinstance(stated := getattr(self, name), str | None) or stated == "":
                raise ModelError(f"A Model's {name} is {stated!r}. Give it a name, or None.")
        for name in ("num_threads", "num_parameters"):
            stated = getattr(self, name)
            if stated is not None and (type(stated) is not int or stated < 1):
                raise ModelError(
                    f"A Model's {name} is {stated!r}. Give it a whole number from 1, or None."
                )

    @property
    def foreign_engine(self) -> Engine | None:
        """What runs the module in place of torch; None if that is torch.

        A module without a parameter or a buffer of torch's leaves the work to something else, known
        or not.
        """
        states = (self.engine, self.number_format, self.num_threads)
        has_tensors = any(True for _ in (*self.module.parameters(), *self.module.buffers()))
        if states == (None, None, None) and (has_tensors or is_torchscript(self.module)):
            return None
        return Engine(
            name=self.engine, number_format=self.number_format, num_threads=self.num_threads
        )


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in float32 on the CPU, ready to be made into a `Classifier`.

    `weights` names its weights and `preprocess_source` where its preprocessing was read, both for
    the record. `published` is the top-1 and top-5 share that the weights' publisher states for
    ImageNet. `batch_sizes` is the least and the most images that a batch may have, `fixed_size` the
    pixels a side that each must have; None for any.
    `files` has the SHA-256 of the files that it was made of, by option. `notes` say in sentences
    what was chosen for the user. `engine` is what runs it in place of torch, None for torch;
    `num_parameters` is stated, None if they are to be counted. `token` is another one each time an
    object in the caller's process is named (`held.py`), and empty for all other models.

    A model that torch does not run is a `file` of a `format`, such as ONNX; `module` is then empty.
    """

    name: str
    weights: str
    module: torch.nn.Module
    preprocess: Preprocess
    preprocess_source: str
    classes: ClassSpace
    published: tuple[float, float] | None = None
    batch_sizes: tuple[int, int] | None = None
    fixed_size: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    engine: Engine | None = None
    num_parameters: int | None = None
    token: str = ""
    file: Path | None = None
    format: str | None = None

    def check_batch_size(self, batch_size: int) -> None:
        """Raise `UsageError` for a batch that the model was not exported for."""
        if self.batch_sizes is None:
            return
        least, most = self.batch_sizes
        if least <= batch_size <= most:
            return
        sizes = f"{least}" if least == most else f"{least} to {most}"
        raise UsageError(
            f"The model {self.name} was exported for batches of {sizes} "
            f"image{'' if sizes == '1' else 's'}, and not for {batch_size}. "
            f"Use --batch-size {most if batch_size > most else least}, or export it with a dynamic "
            f"batch (torch.export.Dim)."
        )

    def copy_module(self) -> torch.nn.Module:
        """Copy the module, to be cast and moved; raises `ModelError` where that fails."""
        with errors_as(
            ModelError,
            f"The model {self.name} cannot be copied",
            "fastbench keeps its float32 weights beside those that it measures: let copy.deepcopy "
            "copy it.",
        ):
            return copy.deepcopy(self.module)


def keep_outputs(model: LoadedModel, classes: ClassSpace) -> LoadedModel:
    """The same model with only the outputs of `classes`, for which nothing is published."""
    assert classes.outputs is not None
    return dataclasses.replace(model, classes=classes, published=None)


def with_input(model: LoadedModel, asked: AskedInput) -> LoadedModel:
    """The same model with the preprocessing that was asked for.

    Nothing is published for it then: a publisher's accuracy is that of his own. Raises `ModelError`
    where the model fails on images of that size, `UsageError` where it cannot be cropped so, or the
    model was exported for another size.
    """
    own = model.preprocess
    new = asked.change(own)
    if new == own:
        return model
    if new.crop != own.crop and model.fixed_size not in (None, new.crop):
        size = model.fixed_size
        raise UsageError(
            f"The model {model.name} was exported for images of {size} x {size} pixels, and "
            f"not for {new.crop} x {new.crop}. Leave out {asked.size_option}, or export it "
            f"with a dynamic height and width (torch.export.Dim)."
        )
    if new.crop != own.crop and model.format is None:  # a file is tried by its engine
        num_images = model.batch_sizes[0] if model.batch_sizes else 1
        module = model.module.eval()  # in training mode the trial would change its batch norms
        num_outputs(module, model.name, own.crop, num_images, asked=asked)
    return dataclasses.replace(
        model,
        preprocess=new,
        preprocess_source=f"{model.preprocess_source}; {asked.said(own, new)}",
        published=None,
    )


def class_space(num_classes: int, names: tuple[str, ...] | None) -> ClassSpace:
    """A model's classes; without names, 1,000 outputs are taken for ImageNet's."""
    is_imagenet = names is None and num_classes == 1000
    return ClassSpace(num_classes=num_classes, names=names, is_imagenet=is_imagenet)


def usual_preprocess(crop: int = IMAGENET.crop) -> tuple[Preprocess, str]:
    """The usual preprocessing for ImageNet at a crop, and its source in words."""
    preprocess = dataclasses.replace(
        IMAGENET, crop=crop, resize=crop * IMAGENET.resize // IMAGENET.crop
    )
    source = f"none stated: the usual for ImageNet (resize {preprocess.resize}, crop {crop})"
    return preprocess, source


def in_float32(module: torch.nn.Module, name: str) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The module for inference in float32 on the CPU, and a note if it had another dtype.

    Raises `ModelError` for numbers that float32 cannot stand for, such as float8, whose scale is
    elsewhere.
    """
    tensors = dict(module.state_dict(keep_vars=True))
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype not in FLOATS:
            raise ModelError(
                f"The model {name} has {tensor.dtype} numbers ({key}), which fastbench cannot "
                f"run. Give it float32, float16, bfloat16 or float64."
            )
    notes = dtype_notes(name, tensors.values())
    return module.eval().to("cpu", torch.float32), notes


def dtype_notes(name: str, tensors: Iterable[torch.Tensor]) -> tuple[str, ...]:
    """A sentence if some of these weights are no float32, which they are loaded as."""
    kinds = sorted({str(x.dtype).removeprefix("torch.") for x in tensors if x.dtype in FLOATS})
    others = [kind for kind in kinds if kind != "float32"]
    return (f"{name} has {' and '.join(others)} weights, loaded as float32",) if others else ()


def num_outputs(
    module: torch.nn.Module,
    name: str,
    crop: int,
    num_images: int = 1,
    *,
    asked: AskedInput = AS_STATED,
) -> int:
    """Count a model's classes, by running it on blank images in float32 on the CPU.

    `crop` is its own size in pixels; the images have it unless another was asked for. Raises
    `ModelError` where it fails, or gives something else than logits.
    """
    size = asked.crop or crop
    images_NCHW = torch.zeros((num_images, 3, size, size))
    images = f"{counted(num_images, 'blank image')} of {crop} x {crop} pixels in float32"
    what = f"The model {name} failed on {images}"
    remedy = "Mend it, or give it a preprocess with another crop."
    if size != crop:
        what = (
            f"The model {name} is made for images of {crop} x {crop} pixels, and fails on "
            f"{size} x {size}"
        )
        remedy = f"Leave out {asked.size_option}."
    with errors_as(ModelError, what, remedy), torch.no_grad():
        logits = module(images_NCHW)
    return check_logits(logits, name, num_images).shape[1]


def triple(values: Iterable[float]) -> tuple[float, float, float]:
    """The values of the three colours."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
