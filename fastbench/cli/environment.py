"""`fastbench env`: the machine and its software, one line for each fact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastbench.cli.output import say
from fastbench.cli.parser import add_command
from fastbench.core.units import counted, format_bytes

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    add_command(commands, "env", show_environment, "tell what this machine can do")


def show_environment(_: argparse.Namespace) -> int:
    """Print the facts."""
    from fastbench.measure.machine import describe

    say(render(describe(), _gpus()))
    return 0


def _gpus() -> dict[str, str]:
    """A line for each GPU that torch sees, also for one that fails; or why there is none."""
    import torch

    from fastbench.core.device import why_unused
    from fastbench.core.errors import DeviceError
    from fastbench.measure.machine import describe_gpus

    lines = {}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        try:
            (gpu,) = describe_gpus(torch.device("cuda", index))
        except DeviceError as error:
            lines[f"GPU {index}"] = str(error)
        else:
            lines[f"GPU {index}"] = (
                f"{gpu['name']}, {format_bytes(gpu['memory_bytes'])}, compute {gpu['capability']}, "
                f"{gpu['num_multiprocessors']} multiprocessors, {_engines(gpu['jpeg_engines'])}"
            )
    if not lines:
        why = why_unused() or "everything runs on the CPU"
        lines["GPU"] = f"none that torch can use: {why}"
    return lines


def render(facts: dict[str, Any], gpus: dict[str, str]) -> str:
    """Plain text of `machine.describe()`, with the lines of the GPUs."""
    quota = f", CPU quota of {facts['cpu_quota']:g}" if facts["cpu_quota"] else ""
    variables = facts["variables"].items()
    lines = {
        "CPU": f"{facts['cpu'] or 'unknown'}, {counted(facts['num_cores'], 'core')}{quota}",
        "instructions": facts["instruction_set"],
        "memory": format_bytes(facts["memory_bytes"]),
        **gpus,
        "NVIDIA driver": facts["driver"] or "none",
        "CUDA of torch": facts["cuda"] or "none: a CPU build",
        "operating system": facts["os"],
        "malloc": facts["allocator"] or "unknown",
        "variables": " ".join(f"{name}={value}" for name, value in variables) or "none set",
        "Python": facts["python"],
        **{name: version for name, version in facts["packages"].items() if version},
        "git": facts["git"] or "not a checkout",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def _engines(engines: dict[str, int] | None) -> str:
    if engines is None:
        return "JPEG engines unknown"
    if not engines["num_engines"]:
        return "no JPEG engine"
    return f"JPEG engines {engines['num_engines']} x {engines['num_cores_per_engine']} cores"
