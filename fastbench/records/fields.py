"""The types of a record's fields, with the ranges of their numbers.

msgspec checks a record against them when it is read and before it is written, not in between. JSON
has no NaN and no infinity, so no field may hold them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NotRequired, Required, TypedDict

import msgspec

_MOST: Final = 1e12
_MOST_COUNTED: Final = 2**53
"""Beyond it floats, in which counts are divided, no longer tell two counts apart."""

Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST_COUNTED)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=_MOST_COUNTED)]
Finite = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
"""Seconds, watts, images/s."""
Duration = Annotated[float, msgspec.Meta(ge=1e-9, le=_MOST)]
"""Seconds of something that was done."""
Deviation = Annotated[float, msgspec.Meta(ge=0, le=1e41)]
"""Of pixels or logits: a faulty loader or model makes them as large as float32 allows."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Celsius = Annotated[float, msgspec.Meta(ge=-100, le=1000)]


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record, or a part of one; unknown fields of the JSON object are refused."""


_Scalar = bool | int | float | str | None
Settings = dict[str, _Scalar]


class _Gpu(TypedDict, total=False):
    name: Required[str]
    memory_bytes: Positive
    capability: str
    num_multiprocessors: Positive
    jpeg_engines: dict[str, Count] | None


class _Environment(TypedDict, total=False):
    cpu: str | None
    num_cores: Positive | None
    memory_bytes: Positive | None
    gpus: list[_Gpu]
    driver: str | None
    cuda: str | None
    cudnn: Count | None
    os: str | None
    python: str | None
    omp_wait_policy: str | None
    affinity: str
    cpu_quota: Amount | None
    governor: str | None
    instruction_set: str
    allocator: str | None
    freed_memory: Literal["keep", "system"]
    variables: dict[str, str]
    torch_threads: Positive
    interop_threads: Positive
    matmul_precision: str
    cudnn_tf32: bool | None
    cudnn_benchmark: bool | None
    cudnn_deterministic: bool | None
    packages: dict[str, str | None]
    git: str | None


class _Skipped(TypedDict):
    name: str
    why: str
    loader: NotRequired[str | None]


class _Data(TypedDict, total=False):
    root: str
    num_samples: Required[Positive]
    num_classes: Count | None
    num_bytes: Positive | None
    mean_pixels: Annotated[float, msgspec.Meta(ge=1, le=_MOST)]
    pixels: dict[str, Count]
    largest: Annotated[list[Positive], msgspec.Meta(min_length=2, max_length=2)]
    digest: str | None
    contents: str
    identity: str
    page_cache: str | None
    page_cache_share: Share | None
    skipped: list[_Skipped]
    not_used: dict[str, Count]


_OF_CHANNELS: Final = msgspec.Meta(min_length=3, max_length=3)


class _Preprocess(TypedDict, total=False):
    resize: Positive
    crop: Positive
    interpolation: str
    antialias: bool
    mean: Annotated[list[Finite], _OF_CHANNELS]
    std: Annotated[list[Amount], _OF_CHANNELS]
    source: str


class FreeFields(TypedDict):
    """The fields of a record whose entries differ from version to version, and from loader to
    loader. Those that fastbench reads have a type here; others may stand beside them.
    """

    config: dict[str, _Scalar | list[_Scalar] | dict[str, _Scalar]]
    environment: _Environment
    data: _Data
    preprocess: _Preprocess
    loader_settings: Settings
