"""Rows that nobody measured of models by several engines, quantised and not, and of image sizes."""

from __future__ import annotations

from typing import Any

from builders import plot_rows
from fastbench.records.accuracy import Parity, ProgramCheck
from fastbench.records.engine import Calibration, Engine
from fastbench.records.record import Record

MODELS = {
    "mobilenet_v3_large": (120, 880, 5_500_000),
    "resnet18": (90, 869, 11_700_000),
    "resnet50": (38, 921, 25_600_000),
    "convnext_tiny": (27, 938, 28_600_000),
}
"""Images/s in eager float32, right ones of 1,000, and parameters."""
SPEED_UP = {"eager": 1.0, "compile": 1.18, "onnxruntime": 1.45, "openvino": 1.72}
SPEED_UP_INT8 = {"compile": 1.3, "onnxruntime": 1.9, "openvino": 2.4}
LOST = {
    "mobilenet_v3_large": (30, 9),
    "resnet18": (6, 4),
    "resnet50": (5, 3),
    "convnext_tiny": (9, 5),
}
"""Images that int8 loses and wins; the first model's are too many."""


def program(**changes: Any) -> ProgramCheck:
    made: dict[str, Any] = {
        "dtype": "float32", "num_samples": 64, "num_agreeing": 64, "max_logits": 2.1e-5,
        "mean_logits": 3e-6, "spread": 2.3, "cause": None,
    }  # fmt: skip
    return ProgramCheck(**{**made, **changes})


def row(
    model: str = "resnet50",
    engine: str = "eager",
    quantize: str = "none",
    *,
    size: int = 224,
    rate: float | None = None,
    **changes: Any,
) -> Record:
    """A row as it would be stored; a smaller image is faster and less accurate."""
    base, (eager_rate, num_right, num_parameters) = plot_rows.real(), MODELS[model]
    is_int8 = quantize != "none"
    lost, won = LOST[model] if is_int8 else (0, 0)
    num_right -= (224 - size) // 4
    rate = rate or (
        eager_rate
        * SPEED_UP[engine]
        * (SPEED_UP_INT8[engine] if is_int8 else 1)
        * (224 / size) ** 2
    )
    made: dict[str, Any] = {
        "model": model,
        "weights": "DEFAULT",
        "published": None,
        "num_parameters": num_parameters,
        "compile_mode": "default" if engine == "compile" else None,
        "config": {**base.config, "engine": engine, "quantize": quantize},
        "preprocess": {**base.preprocess, "resize": size * 256 // 224, "crop": size},
        "parity": Parity(
            reference="torchvision", is_reference=False, num_samples=1000,
            num_agreeing=1000 - 2 * (lost + won), only_reference_correct=lost,
            only_row_correct=won, pixels=None,
        ),
    }  # fmt: skip
    if engine in ("onnxruntime", "openvino"):
        steps = {"export": 4.51, **({"quantize": 3.1} if is_int8 else {})}
        made["engine"] = Engine(
            name=engine,
            number_format="float32",
            num_threads=2,
            settings={"opset": 18} if engine == "onnxruntime" else {"hint": "throughput"},
            setup_s=steps,
            weights_bytes=num_parameters * (1 if is_int8 else 4),
        )
        made["program"] = program()
    if is_int8:
        made["calibration"] = Calibration(
            root="/data/train",
            names=[f"{i}.jpg" for i in range(128)],
            digest="a" * 64,
            loader="torchvision",
        )
    return plot_rows.row(rate, top1=num_right - lost + won, **{**made, **changes})


def grid(*models: str) -> list[Record]:
    """Each model by each engine, quantised where the engine can do it."""
    return [
        row(model, engine, quantize)
        for model in models or MODELS
        for quantize in ("none", "int8")
        for engine in SPEED_UP
        if quantize == "none" or engine in SPEED_UP_INT8
    ]
