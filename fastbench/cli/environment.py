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

    say(render(describe()))
    return 0


def render(facts: dict[str, Any]) -> str:
    """Plain text of `machine.describe()`."""
    gpus = [
        f"{gpu['name']}, {format_bytes(gpu['memory_bytes'])}, compute {gpu['capability']}, "
        f"{gpu['num_multiprocessors']} multiprocessors, {_engines(gpu['jpeg_engines'])}"
        for gpu in facts["gpus"]
    ]
    quota = f", CPU quota of {facts['cpu_quota']:g}" if facts["cpu_quota"] else ""
    variables = facts["variables"].items()
    lines = {
        "CPU": f"{facts['cpu'] or 'unknown'}, {counted(facts['num_cores'], 'core')}{quota}",
        "instructions": facts["instruction_set"],
        "memory": format_bytes(facts["memory_bytes"]),
        **{f"GPU {i}": text for i, text in enumerate(gpus)},
        **({} if gpus else {"GPU": "none that torch can use: everything runs on the CPU"}),
        "NVIDIA driver": facts["driver"] or "none",
        "CUDA of torch": facts["cuda"] or "none: a CPU build",
        "operating system": facts["os"],
        "allocator": facts["allocator"] or "unknown",
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
