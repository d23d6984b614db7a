"""INT8 of an ONNX model, by ONNX Runtime's static quantisation: QDQ, one scale a channel."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastbench.core.cores import has_vnni
from fastbench.core.errors import ModelError, errors_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from fastbench.engines.base import EngineSpec


def quantize(spec: EngineSpec, path: Path, *, symmetric: bool) -> Path:
    """A quantised copy of an ONNX file, in a temporary folder of the run.

    `symmetric` activations in int8 are what GPUs want. A CPU is faster with them in uint8; one
    without VNNI adds such products in 16 bits, so its weights keep to 7 bits.

    Raises `ModelError` where that fails.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._batches = _batches(spec, name)

        def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
            return next(self._batches, None)

    folder = Path(tempfile.mkdtemp(prefix="quantize-"))
    prepared, quantized = folder / "prepared.onnx", folder / "quantized.onnx"
    name = onnx.load(path, load_external_data=False).graph.input[0].name
    what = f"ONNX Runtime cannot quantise the model {spec.model.name}"
    with errors_as(ModelError, what, "Try another --engine."), _quiet():
        quant_pre_process(str(path), str(prepared))
        quantize_static(
            str(prepared),
            str(quantized),
            Reader(name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            reduce_range=not symmetric and not has_vnni(),
            extra_options={"ActivationSymmetric": symmetric},
        )
    prepared.unlink()
    return quantized


def _batches(spec: EngineSpec, name: str) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    for images_NCHW in spec.calibration:
        yield {name: images_NCHW.contiguous().numpy()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the tool prints and logs from the screen."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
