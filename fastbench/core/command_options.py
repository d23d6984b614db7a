"""The options of commands besides those of a run: which rows it has, and how `tune` searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fastbench.core.config import OPTIONS
from fastbench.core.options import option
from fastbench.core.value_types import (  # noqa: TC001 - `declared` reads the annotations
    Count,
    Minutes,
)

CALL_VARIABLE: Final = "FASTBENCH_CALL"
"""The environment variable with what a Python program called, which records have as `command`."""

Preset = Literal[
    "study",
    "imagenet-classics",
    "loaders",
    "engines",
    "precision",
    "quantization",
    "resolution",
    "batch-scaling",
    "scaling",
]
"""The files in `runner/presets/`."""


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Which rows one `fastbench run` measures. No record has these options."""

    preset: Preset | None = option(
        None, "a plan that comes with fastbench; other options override it", group="common"
    )
    config: str | None = option(
        None,
        "TOML file of options by name; it overrides the preset, and options given here override it",
        "FILE",
    )
    resume: str | None = option(
        None,
        "go on with the run in DIR (default: --output, else the newest), without its finished rows",
        "DIR",
        bare="",
    )
    dry_run: bool = option(
        False, "check names, files and devices, print the rows and about how long they take, stop"
    )


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How one `fastbench tune` searches, and for what."""

    objective: Literal["throughput", "latency-p99", "cpu-seconds", "images-per-joule"] = option(
        "throughput",
        "what to look for: most images/s, least batch latency, least CPU seconds an image, or most "
        "images a joule of the GPU",
        group="common",
    )
    trials: Count = option(16, "most settings to try, the default's among them", "N")
    minutes: Minutes = option(
        15.0, "begin no trial after so many minutes; the winner is confirmed after them", "MINUTES"
    )
    resume: str | None = option(
        None, "go on with the search in this folder: its trials count, its options hold", "DIR"
    )


TUNED: Final = tuple(
    name
    for name, each in OPTIONS.items()
    if each.changes in ("pipeline", "process")
    or name in ("on_error", "min_seconds", "quick", "output")
)
"""The options of a run that `fastbench tune` takes too."""
