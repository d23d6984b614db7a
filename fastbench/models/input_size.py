"""The input that options ask of a model, in place of what its weights state.

`--image-size` changes the crop, and the resize with it: their ratio stays the model's own, rounded
down to a whole pixel. `--crop-pct` is that ratio as timm writes it, crop / resize, and timm rounds
down too: 160 at 0.875 is cut out of 182 pixels. `--preprocess` changes single fields and nothing
else. Whether a model takes images of another size shows when it is tried (`base.py`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.errors import UsageError
from fastbench.core.preprocess_option import parse_preprocess
from fastbench.core.units import format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastbench.core.config import RunConfig
    from fastbench.loaders.base import Preprocess


@dataclass(frozen=True, kw_only=True)
class AskedInput:
    """What was asked for: the side of the square in pixels, crop / resize, and single fields.

    None, or a field that is not there, leaves it to the model.
    """

    image_size: int | None = None
    crop_pct: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: RunConfig) -> AskedInput:
        """What the options of a run ask for."""
        return cls(
            image_size=config.image_size,
            crop_pct=config.crop_pct,
            fields=parse_preprocess(config.preprocess),
        )

    @property
    def crop(self) -> int | None:
        """The pixels a side that a model will get; None for its own."""
        crop: int | None = self.fields.get("crop", self.image_size)
        return crop

    @property
    def size_option(self) -> str:
        """The option that asks for a size, to be left out."""
        return "--preprocess crop" if "crop" in self.fields else "--image-size"

    def change(self, own: Preprocess) -> Preprocess:
        """A model's own preprocessing with what was asked for.

        Raises `UsageError` for a crop that is larger than the resized image.
        """
        crop = self.crop or own.crop
        resize = own.resize
        if self.crop_pct is not None:
            # As it is written: 7 / 0.07 is a little less than 100 in floating point.
            resize = math.floor(crop / Fraction(str(self.crop_pct)))
        elif self.image_size is not None:
            resize = crop * own.resize // own.crop
        resize = self.fields.get("resize", resize)
        if crop > resize:
            raise UsageError(
                f"--preprocess gives a crop of {crop} pixels from images resized to {resize}. Give "
                f"both crop and resize, or --image-size, which keeps their ratio."
            )
        return dataclasses.replace(own, **{**self.fields, "crop": crop, "resize": resize})

    def said(self, own: Preprocess, new: Preprocess) -> str:
        """What has changed and by which option: `crop 160 and resize 182 by --image-size 160`."""
        by_option: dict[str, list[str]] = {}
        for name in ("crop", "resize", "interpolation", "antialias", "mean", "std"):
            value = getattr(new, name)
            if value != getattr(own, name):
                text = f"{name} {format_value(value)}"
                by_option.setdefault(self._option_of(name), []).append(text)
        return "; ".join(f"{' and '.join(what)} by {option}" for option, what in by_option.items())

    def _option_of(self, name: str) -> str:
        if name in self.fields:
            return "--preprocess"
        if name == "resize" and self.crop_pct is not None:
            return f"--crop-pct {self.crop_pct:g}"
        return f"--image-size {self.image_size}"


AS_STATED: Final = AskedInput()
"""Nothing: every model has its own."""
