"""What an AOTInductor package takes. It does not say, so it is tried on blank images.

Its runtime checks images against those that it was compiled for, where it is asked to, and names
what it wants: a size, or a stride. Without that check it reads images of another order as if they
were in its own, and says nothing.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from fastbench.core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_CHECKS: Final = "AOTI_RUNTIME_CHECK_INPUTS"
_TRIED: Final = ((5, 229), (7, 233))
"""Batches and sizes that few packages are made for: of what one has, it does not complain."""
_MANY: Final = 1 << 20
_USUAL_SIZE: Final = 224
_MOST_TRIES: Final = 9
_DIM: Final = re.compile(
    r"dim value (?:at|is too (?P<wrong>small|large) at) (?P<dim>\d), "
    r"expected(?: it)?(?: to be [<>]=|:) (?P<size>\d+)"
)


@dataclass(frozen=True, kw_only=True)
class AotPackage:
    """What a package takes and gives.

    `shape` are the sizes of its images (N, C, H, W), None for any, and `batches` the least and the
    most images of a batch, None for any. Without `is_channels_last` it reads them in order.
    `logits` is the shape of its logits. `metadata` are those of `aot_inductor.metadata`, given as
    it was compiled.
    """

    shape: tuple[int | None, ...]
    batches: tuple[int, int] | None
    is_channels_last: bool
    logits: tuple[int, ...]
    metadata: Mapping[str, str]


def read_package(path: Path) -> AotPackage:
    """Load a package and try it.

    Raises `ModelError` for one that is made for another device or dtype, and what torch raises for
    one that it cannot load or run.
    """
    metadata = _metadata(path)
    device = metadata.get("AOTI_DEVICE_KEY", "cpu")
    if device != "cpu" and not torch.cuda.is_available():
        raise ModelError(
            f"The AOTInductor package {path.name} is made for {device}, and there is none. Make "
            f"one for the CPU."
        )
    with _checking():
        run = torch._inductor.aoti_load_package(str(path))
        return _try(run, path.name, device, metadata)


def _metadata(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("_metadata.json")]
        if not names:
            raise ModelError(f"The AOTInductor package {path} has no metadata. Compile it again.")
        stored = json.loads(archive.read(names[0]))
    return {key: str(value) for key, value in stored.items()}


def _try(run: Any, name: str, device: str, metadata: Mapping[str, str]) -> AotPackage:
    fixed: dict[int, int] = {}

    def fit(shape: list[int]) -> list[int]:
        """The nearest shape that is taken."""
        for _ in range(_MOST_TRIES):
            # All values are one number in memory: after the sizes their strides are refused.
            blank_NCHW = torch.zeros((1, 1, 1, 1), device=device).expand(shape)
            found = _DIM.search(_complaint(run, blank_NCHW, name) or "")
            if found is None:
                break
            dim, size = int(found["dim"]), int(found["size"])
            shape[dim] = size
            if not found["wrong"]:
                fixed[dim] = size
        return shape

    for batch, size in _TRIED:
        fit([batch, 3, size, size])
    batch, channels, *sizes = fit([1, 3, _USUAL_SIZE, _USUAL_SIZE])
    most = fit([_MANY, channels, *sizes])[0]
    images_NCHW = torch.zeros((batch, channels, *sizes), device=device)
    given_NCHW = images_NCHW.contiguous(memory_format=torch.channels_last)
    is_channels_last = _complaint(run, given_NCHW, name) is None
    logits = run(given_NCHW if is_channels_last else images_NCHW)
    return AotPackage(
        shape=(fixed.get(0), channels, fixed.get(2), fixed.get(3)),
        batches=None if most == _MANY else (batch, most),
        is_channels_last=is_channels_last,
        logits=tuple(logits.shape),
        metadata=metadata,
    )


def _complaint(run: Any, images_NCHW: torch.Tensor, name: str) -> str | None:
    """What a package says of the shape and the strides of its images; None where it runs."""
    try:
        run(images_NCHW)
    except RuntimeError as error:
        if "unmatched dtype" in str(error):
            raise ModelError(
                f"The AOTInductor package {name} takes images in another dtype than float32. "
                f"Compile it for float32 images."
            ) from error
        if "dim value" not in str(error) and "stride value" not in str(error):
            raise
        return str(error)
    return None


@contextlib.contextmanager
def _checking() -> Iterator[None]:
    """Let packages that are loaded now check their images, and not print what is wrong."""
    before = os.environ.get(_CHECKS)
    os.environ[_CHECKS] = "1"
    sys.stderr.flush()
    shown, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        os.close(nothing)
        if before is None:
            del os.environ[_CHECKS]
        else:
            os.environ[_CHECKS] = before
