"""Facts of a record that are more than one of its fields: what `facts.py` reads and words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from fastbench.core.engine_facts import COMPILE, EAGER, UNNAMED
from fastbench.core.units import counted, format_bytes
from fastbench.records.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastbench.core.config import RunConfig
    from fastbench.records.load import LoadRecord
    from fastbench.records.record import Described, Record

PROCESSES: Final = {"own": "a process of its own", "caller": "the caller's process"}
"""What a row ran in, in words."""
NOT_QUANTIZED: Final = "none"
DIGITS: Final = 10
"""Of a digest or a commit: more of them tell nothing more to people."""


def device_name(record: Described) -> str | None:
    """The name of the GPU that the model ran on, or of the CPU where it ran there."""
    kind, _, index = record.device.partition(":")
    if kind == "cpu":
        cpu: str | None = record.environment.get("cpu")
        return cpu
    names: list[str] = [gpu["name"] for gpu in record.environment.get("gpus", [])]
    if len(names) == 1:
        return names[0]  # the run's own; older records have all of the machine's
    number = int(index) if index.isdecimal() else 0
    return names[number] if number < len(names) else None


def folder_of(record: Described) -> str:
    """The last two parts of the data's folder; the others differ from machine to machine."""
    found = [part for part in str(record.data.get("root", "")).split("/") if part]
    return "/".join(found[-2:])


def images_of(record: Described) -> list[str]:
    """How many images there are, how large, and of how many classes, in words."""
    num = record.data["num_samples"]
    found = [counted(num, "JPEG")]
    if num_bytes := record.data.get("num_bytes"):
        found.append(f"{format_bytes(num_bytes / num)} each")
    if num_classes := record.data.get("num_classes"):
        found.append(counted(num_classes, "class", "classes"))
    return found


def _engine_of(record: Described) -> Engine | None:
    """What runs the model in place of torch; None if torch does."""
    # A record before version 6 says nothing of it; a model without parameters is not torch's.
    unknown = record.engine is None and getattr(record, "num_parameters", None) == 0
    return Engine() if unknown else record.engine


def engine_name(record: Record | LoadRecord) -> str | None:
    """What runs the model, with torch.compile's mode; None where that is not known."""
    engine = _engine_of(record)
    if engine is None or engine.name == COMPILE:
        return compilation(record.compile_mode)
    if engine.name and record.compile_mode:
        return f"{engine.name}, {compilation(record.compile_mode)}"
    return engine.name


def planned_engine(config: RunConfig) -> str:
    """The engine of a row that is not measured yet."""
    name = config.engine_name
    if name == COMPILE:
        return compilation(config.compile_mode)
    return EAGER if name == UNNAMED else name


def quantized(record: Described) -> str:
    """What the model was quantised to by fastbench; `none` for none."""
    return str(record.config.get("quantize") or NOT_QUANTIZED)


def is_quantized(record: Described) -> bool:
    """Whether fastbench quantised the model."""
    return quantized(record) != NOT_QUANTIZED


def setup_s(record: Record) -> float | None:
    """Seconds to make the model ready: an engine's steps, torch.compile's; None for eager."""
    steps = dict(record.engine.setup_s) if record.engine else {}
    if record.compile_mode:
        steps.setdefault(COMPILE, record.warm_up.compile_s)
    return math.fsum(steps.values()) if steps else None


def has_asked_size(record: Described) -> bool:
    """Whether the image size was asked for; the model's own goes without saying."""
    return record.config.get("image_size") is not None


def weights_bytes(record: Record) -> int | None:
    """The size of the weights that are run."""
    engine = _engine_of(record)
    if engine is not None:
        return engine.weights_bytes
    if is_quantized(record):
        return None  # its weights are narrower than its dtype
    width = {"float32": 4, "float16": 2, "bfloat16": 2}.get(record.dtype)
    return record.num_parameters * width if record.num_parameters and width else None


def number_format(record: Record) -> str | None:
    """The format that the model computes in, as its engine states it.

    Of a model that fastbench quantised the one that it had before: `quantize` is a fact by itself.
    """
    engine = None if is_quantized(record) else _engine_of(record)
    return engine.number_format if engine else record.dtype


def engine_threads(record: Record) -> int | None:
    """Threads that run the model on the CPU."""
    engine = _engine_of(record)
    threads: int | None = record.environment.get("torch_threads")
    return engine.num_threads if engine else threads


def cpu_quota(record: Described) -> str | None:
    """`none`, `0.5 cores`."""
    if "cpu_quota" not in record.environment:
        return None
    quota = record.environment["cpu_quota"]
    return "none" if quota is None else f"{quota:g} cores"


def variables(record: Described) -> str | None:
    """All in one text: which of them are set is part of the fact."""
    known = record.environment.get("variables")
    if known is None:
        return None
    return " ".join(f"{name}={value}" for name, value in known.items()) or "none set"


def compilation(mode: str | None) -> str:
    """`eager` or `compile`, with torch.compile's mode if it is not the default one."""
    return {None: "eager", "default": "compile"}.get(mode, f"compile {mode}")


def of_loader(given: Sequence[str], loader: str) -> str:
    """The part of `--loader-option` that is for this loader."""
    return ", ".join(sorted(x for x in given if x.partition("=")[0].rpartition(".")[0] == loader))


def power_limit(record: Record) -> str | None:
    """`700 W`."""
    gpu = record.telemetry.gpu if record.telemetry else None
    return f"{gpu.power_limit_w:g} W" if gpu and gpu.power_limit_w else None


def commit(record: Described) -> str | None:
    """The first digits, and `+changes` where the checkout was edited."""
    commit, plus, changes = (record.environment.get("git") or "").partition("+")
    return commit[:DIGITS] + plus + changes or None


def time(created: str) -> str:
    """To the second: it tells rows of the same configuration apart."""
    return created[:19].replace("T", " ")
