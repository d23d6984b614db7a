"""OpenCV in threads: the code that people write by hand, and what its filters cost.

`cv2.imdecode` has the reference's pixels. `cv2.resize` has none of the reference's filters: `area`
averages whole pixels, which OpenCV's documentation recommends for shrinking; `linear` and `cubic`
do not antialias, which is faster. All change predictions; the row's parity says how many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import torch

from fastbench.core.errors import UsageError, did_you_mean
from fastbench.data.jpeg.quick_check import not_read
from fastbench.loaders.base import LoaderSpec, Setting, take_options
from fastbench.loaders.shared.on_demand import ThreadedOnDemand
from fastbench.loaders.shared.threads import ThreadedLoader, borrow_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

_FILTERS = {
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "linear": cv2.INTER_LINEAR,
}
_DEFAULT = "area"


class OpencvLoader(ThreadedLoader):
    """The loader `opencv`."""

    name = "opencv"

    def __init__(self, spec: LoaderSpec) -> None:
        super().__init__(spec, *_open(spec))

    @staticmethod
    def on_demand(spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None) -> ThreadedOnDemand:
        """Its images by request."""
        return ThreadedOnDemand(spec, *_open(spec, in_memory))


def _open(
    spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None = None
) -> tuple[Callable[[int], torch.Tensor], dict[str, Setting]]:
    """A function: a sample's id -> its (crop, P) uint8 levels; and the settings."""
    name = str(take_options(spec, OpencvLoader.name, filter=_DEFAULT)["filter"])
    if name not in _FILTERS:
        raise UsageError(
            f"The option opencv.filter is {name!r}.{did_you_mean(name, list(_FILTERS))} "
            f"Choose {', '.join(_FILTERS)}."
        )
    cv2.setNumThreads(1)  # an image is one thread's work
    levels_of = _make_levels_of(spec, in_memory, _FILTERS[name])
    return levels_of, {"decoder": f"OpenCV {cv2.__version__}", "filter": name}


def _make_levels_of(
    spec: LoaderSpec, in_memory: Sequence[np.ndarray] | None, interpolation: int
) -> Callable[[int], torch.Tensor]:
    paths, preprocess = spec.paths, spec.preprocess

    def levels_of(sample: int) -> torch.Tensor:
        path, held = paths[sample], None if in_memory is None else in_memory[sample]
        try:
            data = borrow_file(path) if held is None else held
            # The orientation stays as it is stored: the reference ignores EXIF.
            pixels_HWC = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except (OSError, cv2.error) as error:
            raise not_read(path, "opencv", error, held) from error
        if pixels_HWC is None:
            raise not_read(path, "opencv", "it finds no image", held)
        height, width = pixels_HWC.shape[:2]
        resized = [side * preprocess.resize // min(height, width) for side in (height, width)]
        levels_HWC = cv2.resize(pixels_HWC, resized[::-1], interpolation=interpolation)
        top, left = (round((side - preprocess.crop) / 2) for side in resized)
        bottom, right = top + preprocess.crop, left + preprocess.crop
        # OpenCV's order is blue, green, red.
        levels_HWC = cv2.cvtColor(levels_HWC[top:bottom, left:right], cv2.COLOR_BGR2RGB)
        return torch.from_numpy(levels_HWC.reshape(preprocess.crop, -1))

    return levels_of
