"""The types of a record's fields, with the ranges of their numbers.

msgspec checks a record against them when it is read and before it is written, not in between. JSON
has no NaN and no infinity, so no field may hold them.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final, Required, TypedDict

import msgspec

_MOST: Final = sys.float_info.max

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Finite = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
"""Seconds, watts, images/s."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record, or a part of one; unknown fields of the JSON object are refused."""


_Scalar = bool | int | float | str | None
_Settings = dict[str, _Scalar | list[_Scalar]]


class _Gpu(TypedDict, total=False):
    name: Required[str]
    memory_bytes: Count
    capability: str
    num_multiprocessors: Count
    jpeg_engines: dict[str, Count] | None


class _Environment(TypedDict, total=False):
    cpu: str | None
    num_cores: Positive | None
    memory_bytes: Count | None
    gpus: list[_Gpu]
    driver: str | None
    cuda: str | None
    cudnn: int | None
    os: str | None
    python: str | None
    omp_wait_policy: str | None
    packages: dict[str, str | None]
    git: str | None


class _Skipped(TypedDict):
    name: str
    why: str


class _Data(TypedDict, total=False):
    root: str
    num_samples: Required[Positive]
    num_classes: Count | None
    num_bytes: Count | None
    mean_pixels: Amount
    pixels: dict[str, Count]
    largest: list[Count]
    digest: str | None
    page_cache: str | None
    page_cache_share: Share | None
    skipped: list[_Skipped]


class FreeFields(TypedDict):
    """The fields of a record that hold what a version of fastbench or a loader has to tell.

    What is known of them has a type here. Anything else may stand beside it.
    """

    config: _Settings
    environment: _Environment
    data: _Data
    preprocess: _Settings
    loader_settings: _Settings
