"""A file that another engine than torch's runs: ONNX, OpenVINO IR, an AOTInductor package.

What it says of its input gives the batch and the size of the images. Preprocessing and classes are
in its metadata, if it has them: `fastbench.preprocess`, a JSON object with the fields of
`Preprocess`, and `fastbench.classes`, a JSON list of names. Without them the usual ones are taken,
as for other files.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.engine_facts import AOTINDUCTOR, BUILT_IN, ONNX, OPENVINO_IR, engine_of_format
from fastbench.core.errors import (
    EngineMissingError,
    ModelError,
    UnknownNameError,
    errors_as,
    first_line,
)
from fastbench.core.no_telemetry import send_nothing
from fastbench.core.preprocess_option import read_fields
from fastbench.core.reading import open_regular, user_path
from fastbench.models.aot_package import read_package
from fastbench.models.base import LoadedModel, class_space, usual_preprocess
from fastbench.models.exported import missing
from fastbench.models.input_size import AS_STATED, AskedInput
from fastbench.models.registry import program_format

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fastbench.loaders.base import Preprocess

PREPROCESS: Final = "fastbench.preprocess"
CLASSES: Final = "fastbench.classes"


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What a file says: the sizes of its input, None for any, its outputs, and its metadata.

    `batches` is the least and the most images of a batch.
    """

    batches: tuple[int, int] | None
    channels: int | None
    sizes: tuple[int | None, int | None]
    num_outputs: int | None
    metadata: Mapping[str, str] = field(default_factory=dict)


def check_name(name: str) -> None:
    """Raise `UnknownNameError` for a file that is not there."""
    path = user_path(name)
    if not path.is_file():
        raise UnknownNameError(missing(path, name))


def load_model(
    name: str,
    weights: str = "DEFAULT",
    *,
    seed: int = 0,  # noqa: ARG001
    asked: AskedInput = AS_STATED,  # noqa: ARG001 - `registry.py` applies it
) -> LoadedModel:
    """Read what a file says of its model; the engine loads the rest.

    Raises as `fastbench.models.registry.load_model` does, and `EngineMissingError` where nothing
    here can read the format.
    """
    check_name(name)
    path = user_path(name)
    kind = program_format(path)
    assert kind is not None
    if weights != "DEFAULT":
        raise UnknownNameError(
            f"The model {path.name} has its weights in its file, so there is no --weights "
            f"{weights}. Leave it out."
        )
    send_nothing()
    with errors_as(ModelError, f"The {kind} file {path} cannot be read", "Export it again."):
        facts = _READERS[kind](path)
    crop = _crop_of(facts, path.name)
    preprocess, source = _preprocess(facts, crop, path.name)
    names = _classes(facts, path.name)
    if facts.num_outputs is None:
        raise ModelError(
            f"The model {path.name} does not say how many classes it has. Export it with a fixed "
            f"number of outputs, of shape (N, classes)."
        )
    if names is not None and len(names) != facts.num_outputs:
        raise ModelError(
            f"The model {path.name} names {len(names):,} classes and has {facts.num_outputs:,} "
            f"outputs. Mend its metadata {CLASSES}."
        )
    return LoadedModel(
        name=path.name,
        weights=kind,
        module=torch.nn.Module(),
        preprocess=preprocess,
        preprocess_source=source,
        classes=class_space(facts.num_outputs, names),
        batch_sizes=facts.batches,
        fixed_size=crop,
        file=path,
        format=kind,
    )


def _crop_of(facts: _Facts, name: str) -> int | None:
    if facts.channels not in (3, None):
        raise ModelError(
            f"The model {name} takes images with {facts.channels} channels. fastbench gives a "
            f"model images of shape (N, 3, H, W): export a module that takes that."
        )
    height, width = facts.sizes
    if None not in (height, width) and height != width:
        raise ModelError(
            f"The model {name} was exported for images of {width} x {height} pixels. fastbench "
            f"crops squares: export it for one."
        )
    return height or width


def _preprocess(facts: _Facts, crop: int | None, name: str) -> tuple[Preprocess, str]:
    if PREPROCESS not in facts.metadata:
        return usual_preprocess(*([crop] if crop else []))
    remedy = f"Mend its metadata {PREPROCESS}."
    try:
        stated = json.loads(facts.metadata[PREPROCESS])
        if not isinstance(stated, dict):
            raise ValueError("it is no JSON object")
        fields = read_fields(stated)
    except ValueError as error:
        raise ModelError(
            f"The preprocessing in {name} cannot be read ({first_line(error)}). {remedy}"
        ) from error
    asked = fields.get("crop", crop)
    if crop is not None and asked != crop:
        raise ModelError(
            f"The model {name} takes images of {crop} pixels, and its metadata say a crop of "
            f"{asked}. {remedy}"
        )
    usual, _ = usual_preprocess(*([asked] if asked else []))
    if fields.get("resize", usual.resize) < usual.crop:
        raise ModelError(
            f"The model {name} takes images of {usual.crop} pixels, and its metadata say that they "
            f"are cut out of {fields['resize']}. {remedy}"
        )
    return dataclasses.replace(usual, **fields), "the file's metadata"


def _classes(facts: _Facts, name: str) -> tuple[str, ...] | None:
    if CLASSES not in facts.metadata:
        return None
    remedy = f"Mend its metadata {CLASSES}."
    with errors_as(ModelError, f"The classes in {name} cannot be read", remedy):
        stated = json.loads(facts.metadata[CLASSES])
    if not isinstance(stated, list) or not all(isinstance(each, str) for each in stated):
        raise ModelError(f"The classes in {name} are no JSON list of names. {remedy}")
    return tuple(stated)


def _read_onnx(path: Path) -> _Facts:
    try:
        import onnxruntime
    except ImportError:
        return _read_openvino(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shapes = [[_size(x) for x in node.shape] for node in session.get_inputs()]
    outputs = [[_size(x) for x in node.shape] for node in session.get_outputs()]
    return _facts(path, shapes, outputs, session.get_modelmeta().custom_metadata_map)


def _read_openvino(path: Path) -> _Facts:
    try:
        import openvino
    except ImportError as error:
        kind = ONNX if path.suffix == ".onnx" else OPENVINO_IR
        extra = BUILT_IN[engine_of_format(kind)].extra
        raise EngineMissingError(
            f"Nothing here reads {kind} files such as {path.name}. "
            f'Install what does: pip install "fastbench[{extra}]".'
        ) from error
    if path.suffix == ".xml":  # OpenVINO tries other formats too, and prints what it finds
        with open_regular(path) as file:
            if b"<net" not in file.read(_HEAD):
                raise ModelError(f"{path} is no OpenVINO IR. Export it again.")
    model = openvino.Core().read_model(str(path))
    shapes, outputs = (
        [[x.get_length() if x.is_static else None for x in port.partial_shape] for port in ports]
        for ports in (model.inputs, model.outputs)
    )
    metadata = {
        key: str(model.get_rt_info(key).value)
        for key in (PREPROCESS, CLASSES)
        if model.has_rt_info(key)
    }
    return _facts(path, shapes, outputs, metadata)


def _read_package(path: Path) -> _Facts:
    package = read_package(path)
    facts = _facts(path, [[*package.shape]], [[*package.logits]], package.metadata)
    return dataclasses.replace(facts, batches=package.batches)


_HEAD: Final = 4096
"""Bytes of an IR in which its first element is."""
_READERS: Final = {
    ONNX: _read_onnx,
    OPENVINO_IR: _read_openvino,
    AOTINDUCTOR: _read_package,
}


def _size(size: Any) -> int | None:
    """A size of an ONNX shape; None for a name, which stands for any."""
    return size if isinstance(size, int) and size > 0 else None


def _facts(
    path: Path,
    inputs: list[list[int | None]],
    outputs: list[list[int | None]],
    metadata: Mapping[str, str],
) -> _Facts:
    if len(inputs) != 1 or len(inputs[0]) != 4 or len(outputs) != 1 or len(outputs[0]) != 2:
        raise ModelError(
            f"The model {path.name} has inputs of shape {inputs} and outputs of shape {outputs}. "
            f"fastbench gives a model one input, images of shape (N, 3, H, W), and wants one "
            f"output, logits of shape (N, classes)."
        )
    batch, channels, *sizes = inputs[0]
    return _Facts(
        batches=None if batch is None else (batch, batch),
        channels=channels,
        sizes=(sizes[0], sizes[1]),
        num_outputs=outputs[0][1],
        metadata=metadata,
    )
