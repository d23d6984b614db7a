"""The types of the options' values: their ranges, and the words for what to give."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import msgspec

PUBLISHED_TOLERANCE: Final = "0.3"
MLPERF: Final = "mlperf"
DEVICES: Final = "auto, cpu, cuda or cuda:N"

CALIBRATION_AUTO: Final = "auto"
"""`--calibration` of a run that quantises and does not name any images."""

Name = Annotated[str, msgspec.Meta(min_length=1, description="text in quotes")]
Count = Annotated[int, msgspec.Meta(ge=1, description="a whole number of at least 1")]
Seed = Annotated[
    int, msgspec.Meta(ge=0, le=2**63 - 1, description="a whole number from 0 to 2**63 - 1")
]
Seconds = Annotated[
    float,
    msgspec.Meta(ge=0, le=sys.float_info.max, description="a number of seconds, 0 or more"),
]
Minutes = Annotated[
    float, msgspec.Meta(gt=0, le=sys.float_info.max, description="a number of minutes above 0")
]
Share = Annotated[
    float, msgspec.Meta(gt=0, le=1, description="a number above 0 and at most 1, such as 0.875")
]
Device = Annotated[str, msgspec.Meta(pattern=r"^(auto|cpu|cuda(:\d+)?)\Z", description=DEVICES)]
Percent = Annotated[str, msgspec.Meta(description="a share of up to 100 percent, such as 2%")]
Tolerance = Annotated[
    str, msgspec.Meta(description=f"a number of points from 0 to 100, such as 0.3, or {MLPERF}")
]


def share_of(percent: str) -> float:
    """`2%` or `2` as 0.02. Raises `ValueError` for another text."""
    return float(percent.removesuffix("%")) / 100


def is_share(text: str | None) -> bool:
    """Whether it can be read as one; None, for none, can."""
    try:
        return text is None or 0 < share_of(text) <= 1
    except ValueError:
        return False


def is_tolerance(text: str) -> bool:
    """Whether it is points or `mlperf`."""
    try:
        return text == MLPERF or 0 <= float(text) <= 100
    except ValueError:
        return False
