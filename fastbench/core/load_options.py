"""The options of `fastbench loadtest` besides those of a run: how queries arrive, and their limits.

They are declared as those of a run are (`options.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from fastbench.core.config import OPTIONS, RunConfig
from fastbench.core.options import declared, option
from fastbench.core.value_types import (  # noqa: TC001 - `declared` reads the annotations
    Count,
    Share,
)

Rate = Annotated[
    float, msgspec.Meta(gt=0, le=1e6, description="a number of queries a second above 0")
]
LimitText = Annotated[
    str, msgspec.Meta(description="a time and a percentile below 100, such as 15ms@p99")
]
Time = Annotated[str, msgspec.Meta(description="a time in ms or s, such as 2ms")]
_TIME: Final = r"(\d+(?:\.\d+)?)(ms|s)"

MLPERF_S: Final = 600.0
"""The shortest run that MLPerf Inference accepts in its data centre and edge divisions."""
QUICK_S: Final = 10.0


def seconds_of(text: str) -> float:
    """`2ms` or `0.5s` in seconds. Raises `ValueError` for another text."""
    found = re.fullmatch(_TIME, text)
    if found is None:
        raise ValueError(text)
    return float(found[1]) * (0.001 if found[2] == "ms" else 1)


def is_time(text: str) -> bool:
    """Whether it can be read as a time."""
    return re.fullmatch(_TIME, text) is not None


def limit_of(text: str) -> tuple[float, float]:
    """`15ms@p99` as (0.015, 99.0): seconds, and the percentile. Raises `ValueError`."""
    time, at, pct = text.partition("@p")
    if not at or not re.fullmatch(r"\d+(\.\d+)?", pct):
        raise ValueError(text)
    seconds, percentile = seconds_of(time), float(pct)
    if not (seconds > 0 and 0 < percentile < 100):
        raise ValueError(text)
    return seconds, percentile


def is_limit(text: str) -> bool:
    """Whether it can be read as a limit."""
    try:
        limit_of(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How queries arrive, how they are batched, and how long that goes on."""

    scenario: Literal["server", "single-stream", "multi-stream", "offline"] = option(
        "server",
        "server: queries arrive at random, at a mean rate; single-stream: one after the other; "
        "multi-stream: several images at once; offline: all at once",
        swept=True,
        group="common",
    )
    rate: Rate | None = option(
        None,
        "queries a second, for server (default: search for the highest that holds --latency)",
        "N",
        swept=True,
        group="common",
    )
    latency: LimitText = option(
        "15ms@p99",
        "limit of server: the query latency at a percentile, from the scheduled arrival to the "
        "answer",
        "TIME@pN",
        swept=True,
        group="common",
        is_valid=is_limit,
    )
    max_wait: Time = option(
        "0ms",
        "longest wait of a decoded image for others to fill its batch, while the model is free",
        "TIME",
        swept=True,
        group="common",
        is_valid=is_time,
    )
    source: Literal["file", "memory"] = option(
        "file",
        "where a query's JPEG is when it arrives: in a file, or its bytes in memory",
        swept=True,
        group="data",
    )
    images_per_query: Count = option(8, "images of a query of multi-stream", "N", swept=True)
    max_queued: Count = option(
        1000, "queries that may wait; one more is turned away, and the run is not valid", "N"
    )
    duration: Time = option(
        f"{MLPERF_S:g}s",
        "shortest run that counts; the runs of a search take a tenth of it, 60 s at most",
        "TIME",
        is_valid=is_time,
    )
    rate_tolerance: Share = option(
        0.02, "how close a search comes to the highest rate, as a share of it", "SHARE"
    )


LOAD_OPTIONS: Final = declared(LoadOptions)
"""The options of `fastbench loadtest` alone, by field."""
LOAD_SWEPT: Final = tuple(name for name, each in LOAD_OPTIONS.items() if each.swept)
OF_RUN: Final = tuple(
    name
    for name, each in OPTIONS.items()
    if each.changes in ("pipeline", "process")
    or name
    in ("reference", "reference_model", "calibration", "on_error", "tolerance", "quick", "output")
)
"""The options of a run that `fastbench loadtest` takes too."""


@dataclass(frozen=True, kw_only=True)
class LoadConfig(LoadOptions, RunConfig):
    """The options of one row of `fastbench loadtest`. Raises `UsageError` for what cannot be."""

    def __post_init__(self) -> None:
        """Read each value, and check what does not depend on the machine."""
        super().__post_init__()
        for name, each in LOAD_OPTIONS.items():
            object.__setattr__(self, name, each.read(getattr(self, name)))

    @property
    def latency_limit(self) -> tuple[float, float]:
        """The limit of the query latency: seconds, and the percentile."""
        return limit_of(self.latency)

    @property
    def duration_s(self) -> float:
        """The shortest run that counts, seconds; `--quick` lowers what was not asked for."""
        asked = seconds_of(self.duration)
        is_default = self.duration == LOAD_OPTIONS["duration"].default
        return min(asked, QUICK_S) if self.quick and is_default else asked

    @property
    def max_wait_s(self) -> float:
        """The longest wait for a batch to fill, seconds."""
        return seconds_of(self.max_wait)
