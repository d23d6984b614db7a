"""How many images are set aside for `--calibration`, and not scored."""

from __future__ import annotations

from typing import Final

from fastbench.core.errors import UsageError
from fastbench.core.value_types import CALIBRATION_AUTO

_SHARE: Final = 5
MOST: Final = 128
"""Images, where nobody says how many."""


def num_set_aside(calibration: str | None, num_images: int) -> int:
    """How many of the images are not scored. Raises `UsageError` where none would be left."""
    if calibration is None or not (calibration == CALIBRATION_AUTO or calibration.isdecimal()):
        return 0
    if calibration == CALIBRATION_AUTO:
        if num_images < 2:
            raise UsageError(
                "A model is calibrated with other images than those that it is scored on, and "
                "there is one. Give more, or a folder to --calibration."
            )
        return min(MOST, max(1, num_images // _SHARE))
    num = int(calibration)
    if not 0 < num < num_images:
        raise UsageError(
            f"--calibration {calibration} sets aside {num:,} of {num_images:,} images, and at "
            f"least one is needed on either side. Give another number, or a folder."
        )
    return num


def is_folder(calibration: str | None) -> bool:
    """Whether the images are of their own."""
    if calibration is None or calibration == CALIBRATION_AUTO:
        return False
    return not calibration.isdecimal()
