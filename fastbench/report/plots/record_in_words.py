"""What is a record in one thing, its machine, its images, its threads? In words, field by field.

What it does not know: what a record of an old version did not keep; its words are then empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastbench.core.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastbench.records.record import Record

    Reader = Callable[[Record], str]

__all__ = [
    "HOW",
    "KEYS",
    "NAMING",
    "RATHER_NOTED",
    "SOFTWARE",
    "UNSAID",
    "image_set",
    "images",
    "is_among_all",
    "is_on_gpu",
    "machine",
    "preprocess",
    "threads",
]

_DIGITS: Final = 10
UNSAID: Final = ("", "measured in full", "all classes", "--resize fast")
"""What goes without saying."""


def is_on_gpu(record: Record) -> bool:
    """Whether the model ran on a GPU that the record knows."""
    return record.device != "cpu" and bool(record.environment.get("gpus"))


def machine(record: Record) -> str:
    """The GPU that the model ran on, or the CPU."""
    if not is_on_gpu(record):
        return _cpu(record)
    gpus, index = record.environment["gpus"], record.device.partition(":")[2]
    return str(gpus[int(index) if index and int(index) < len(gpus) else 0]["name"])


def _cpu(record: Record) -> str:
    num = record.environment.get("num_cores")
    return f"{record.environment.get('cpu') or 'unknown CPU'}{f', {num} cores' if num else ''}"


def _folder(record: Record) -> str:
    """The last two parts of the data's folder: the rest is one machine's."""
    found = [part for part in str(record.data.get("root", "")).split("/") if part]
    return "/".join(found[-2:]) or "unknown folder"


def images(record: Record) -> str:
    """Which images, how many, how large and of how many classes."""
    data = record.data
    size = data.get("num_bytes")
    mean = f" of {format_bytes(size / data['num_samples'])}" if size else ""
    classes = f", {data['num_classes']:,} classes" if data.get("num_classes") else ""
    return f"{_folder(record)}: {data['num_samples']:,} JPEGs{mean}{classes}"


def image_set(record: Record) -> str:
    """Which images: equal for equal ones, wherever they lie."""
    digest = record.data.get("digest")
    which = f"digest {digest[:_DIGITS]}" if digest else record.data.get("root")
    return f"{which}, n={record.data['num_samples']:,}"


def _cache(record: Record) -> str:
    found = record.data.get("page_cache")
    return f"{found} page cache" if found else ""


def _compile(record: Record) -> str:
    mode = record.compile_mode
    return "eager" if mode is None else "compile" if mode == "default" else f"compile {mode}"


def is_among_all(record: Record) -> bool:
    """Whether predictions are among all the model's classes, not those present in the data."""
    return record.config.get("among") != "present"


def _among(record: Record) -> str:
    return "all classes" if is_among_all(record) else "among the classes present"


NAMING: Final[dict[str, Reader]] = {
    "model": lambda record: record.model,
    "weights": lambda record: record.weights,
    "loader": lambda record: record.loader,
    "machine": machine,
    "dtype": lambda record: record.dtype,
    "compile": _compile,
    "batch": lambda record: f"batch {record.batch_size}",
    "data": lambda record: f"{_folder(record)}, {record.data['num_samples']:,} JPEGs",
    "cache": _cache,
    "among": _among,
}
"""What a row is called by, in this order."""
KEYS: Final[dict[str, Reader]] = NAMING | {"data": image_set}
"""The same, equal where rows are alike in it."""
RATHER_NOTED: Final[dict[str, Reader]] = {
    "data": lambda record: f"images {image_set(record)}",
    "cache": _cache,
    "among": _among,
}
"""Footnotes where nearly all rows are alike in them: else one row would lengthen all names."""


def preprocess(record: Record) -> str:
    """How an image was resized and cropped."""
    found = record.preprocess
    if not found:
        return ""
    antialias = "" if found.get("antialias", True) else " without antialias"
    return (
        f"resize {found.get('resize')} {found.get('interpolation')}{antialias}, "
        f"crop {found.get('crop')}"
    )


def threads(record: Record) -> str:
    """How many threads or worker processes the loader had, in words."""
    return f"{record.num_threads} thread{'s' * (record.num_threads != 1)}"


def _resize(record: Record) -> str:
    how = record.config.get("resize")
    return f"--resize {how}" if how else ""


def _quick(record: Record) -> str:
    return "measured with --quick" if record.config.get("quick") else "measured in full"


def _power_limit(record: Record) -> str:
    gpu = record.telemetry.gpu if record.telemetry else None
    return f"power limit {gpu.power_limit_w:g} W" if gpu and gpu.power_limit_w else ""


def _package(shown: str, *packages: str) -> Reader:
    def read(record: Record) -> str:
        known: dict[str, Any] = record.environment.get("packages", {})
        return next((f"{shown} {known[name]}" for name in packages if known.get(name)), "")

    return read


def _of_gpu(shown: str, name: str) -> Reader:
    def read(record: Record) -> str:
        found = record.environment.get(name) if is_on_gpu(record) else None
        return f"{shown} {found}" if found else ""

    return read


HOW: Final[dict[str, Reader]] = {
    "host": lambda record: f"GPU host {_cpu(record)}" if is_on_gpu(record) else "",
    "power limit": _power_limit,
    "threads": threads,
    "preprocess": preprocess,
    "resize": _resize,
    "quick": _quick,
}
"""What else a row may differ in, in the caption's order; `SOFTWARE` comes last."""
SOFTWARE: Final[dict[str, Reader]] = {
    "fastbench": _package("fastbench", "fastbench"),
    "torch": _package("torch", "torch"),
    "torchvision": _package("torchvision", "torchvision"),
    "DALI": _package("DALI", "nvidia-dali-cuda120", "nvidia-dali-cuda130"),
    "driver": _of_gpu("driver", "driver"),
    "CUDA": _of_gpu("CUDA", "cuda"),
}
