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
    parser = add_command(commands, "env", show_environment, "tell what this machine can do")
    parser.add_argument(
        "--check",
        action="store_true",
        help="import torch, which takes some seconds, and ask it for its GPUs and instructions; "
        "without, the GPUs are those that NVIDIA's driver shows",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print a table to be pasted into a bug report"
    )


def show_environment(arguments: argparse.Namespace) -> int:
    """Print the facts."""
    from fastbench.measure.machine import glance

    facts = glance()
    gpus = _gpus_seen(facts["gpus"])
    if arguments.check:
        from fastbench.measure.machine import describe

        facts, gpus = {**facts, **describe(), "packages": facts["packages"]}, _gpus()
    lines = describe_in_lines(facts, gpus)
    say(as_markdown(lines) if arguments.markdown else as_text(lines))
    return 0


def _gpus_seen(gpus: list[dict[str, Any]]) -> dict[str, str]:
    lines = {f"GPU {index}": _gpu_line(gpu) for index, gpu in enumerate(gpus)}
    return lines or {"GPU": "none that NVIDIA's driver shows"}


def _gpu_line(gpu: dict[str, Any]) -> str:
    return f"{gpu['name']}, {format_bytes(gpu['memory_bytes'])}, compute {gpu['capability']}"


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
                f"{_gpu_line(gpu)}, {gpu['num_multiprocessors']} multiprocessors, "
                f"{_engines(gpu['jpeg_engines'])}"
            )
    if not lines:
        why = why_unused() or "everything runs on the CPU"
        lines["GPU"] = f"none that torch can use: {why}"
    return lines


def describe_in_lines(facts: dict[str, Any], gpus: dict[str, str]) -> dict[str, str]:
    """`machine.glance()` in words, with the lines of the GPUs."""
    quota = f", CPU quota of {facts['cpu_quota']:g}" if facts["cpu_quota"] else ""
    governor = f", governor {facts['governor']}" if facts["governor"] else ""
    variables = facts["variables"].items()
    asked = {"instructions": facts["instruction_set"]} if "instruction_set" in facts else {}
    return {
        "CPU": f"{facts['cpu'] or 'unknown'}, {counted(facts['num_cores'], 'core')}{quota}"
        f"{governor}",
        **asked,
        "memory": format_bytes(facts["memory_bytes"]),
        **gpus,
        "NVIDIA driver": facts["driver"] or "none",
        "CUDA of torch": facts["cuda"] or "none: a CPU build",
        "operating system": facts["os"],
        "container": facts["container"] or "none seen",
        "glibc": facts["glibc"] or "another C library",
        "malloc": facts["allocator"] or "unknown",
        "variables": " ".join(f"{name}={value}" for name, value in variables) or "none set",
        "Python": facts["python"],
        **facts["packages"],
        "git": facts["git"] or "not a checkout",
    }


def as_text(lines: dict[str, str]) -> str:
    """A line a fact."""
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def as_markdown(lines: dict[str, str]) -> str:
    """A table, in which no value can break a cell."""
    cells = ((name, " ".join(text.split()).replace("|", "\\|")) for name, text in lines.items())
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in cells)])


def _engines(engines: dict[str, int] | None) -> str:
    if engines is None:
        return "JPEG engines unknown"
    if not engines["num_engines"]:
        return "no JPEG engine"
    return f"JPEG engines {engines['num_engines']} x {engines['num_cores_per_engine']} cores"
