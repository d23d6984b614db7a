"""Small files of other engines: ONNX written operation by operation, and OpenVINO's IR of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

WEIGHTS = np.random.default_rng(5).normal(size=(3, 3)).astype(np.float32)
"""(channels, classes) of `write_onnx`'s model."""


def expected_logits(images_NCHW: torch.Tensor) -> torch.Tensor:
    """What `write_onnx`'s model gives."""
    return images_NCHW.mean((2, 3)) @ torch.from_numpy(WEIGHTS)


def write_onnx(
    path: Path,
    shape: Sequence[int | str] = (4, 3, 48, 48),
    *,
    dtype: str = "float32",
    outputs: Sequence[Sequence[int | str]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write the mean of each channel and a matrix, for images of a shape; a name stands for any.

    Each of `outputs` is a shape, all of the same logits.
    """
    onnx = pytest.importorskip("onnx")
    kind = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16}[dtype]
    outputs = [(shape[0], 3)] if outputs is None else outputs
    weights = np.resize(WEIGHTS, (shape[1] if isinstance(shape[1], int) else 3, 3)).astype(dtype)
    make = onnx.helper.make_node
    nodes = [
        make("GlobalAveragePool", ["images"], ["pooled"]),
        make("Flatten", ["pooled"], ["flat"]),
        make("MatMul", ["flat", "weights"], ["logits"]),
        *(make("Identity", ["logits"], [f"logits-{i}"]) for i in range(1, len(outputs))),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [value("images", kind, shape)],
        [value(f"logits-{i}" if i else "logits", kind, x) for i, x in enumerate(outputs)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9
    )
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    onnx.save(model, path)
    return path


def write_ir(path: Path, metadata: Mapping[str, str] | None = None, **options: Any) -> Path:
    """Write `write_onnx`'s model as an IR: this .xml, and a .bin beside it."""
    openvino = pytest.importorskip("openvino")
    model = openvino.convert_model(str(write_onnx(path.with_suffix(".onnx"), **options)))
    for key, text in (metadata or {}).items():
        model.set_rt_info(text, key)
    openvino.save_model(model, path, compress_to_fp16=False)
    path.with_suffix(".onnx").unlink()
    return path


def stated(**fields: Any) -> dict[str, str]:
    """Metadata with these fields of a preprocessing."""
    return {"fastbench.preprocess": json.dumps(fields)}
