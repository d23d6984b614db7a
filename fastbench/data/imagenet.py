"""ImageNet-1k's classes: a wnid (`n01440764`) and a name for each of the 1,000 indices.

The order is that of the ILSVRC2012 models: wnids sorted, which torchvision's weights share.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from typing import Final

WNID: Final = re.compile(r"n\d{8}")


@functools.cache
def _classes() -> tuple[tuple[str, str], ...]:
    text = (
        importlib.resources.files(__package__).joinpath("imagenet_classes.tsv").read_text("utf-8")
    )
    return tuple(
        (wnid, name) for wnid, _, name in (line.partition("\t") for line in text.splitlines())
    )


@functools.cache
def wnid_index() -> dict[str, int]:
    """The model's class index of each wnid."""
    return {wnid: index for index, wnid in enumerate(wnids())}


@functools.cache
def wnids() -> tuple[str, ...]:
    """The 1,000 wnids, by index."""
    return tuple(wnid for wnid, _ in _classes())


@functools.cache
def class_names() -> tuple[str, ...]:
    """The 1,000 class names, by index."""
    return tuple(name for _, name in _classes())
