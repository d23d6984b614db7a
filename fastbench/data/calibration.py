"""The images that a quantised model is calibrated with: never one that is scored.

They are a folder of their own, or some of the data that are set aside, evenly spread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastbench.core.errors import UsageError
from fastbench.core.reading import user_path
from fastbench.data.dataset import find_images, frame_of, scan
from fastbench.data.set_aside import MOST, is_folder

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Count
    from fastbench.data.dataset import Known, Manifest


def find_calibration(config: RunConfig, scored: Manifest, count: Count) -> Manifest:
    """The images that a model is quantised with: those set aside, or a folder's.

    Raises what `scan` raises, and `UsageError` for one that is scored too.
    """
    assert config.calibration is not None
    known: dict[str, Known] = {}
    if is_folder(config.calibration):
        check_there(config)
        skip = config.on_error == "skip"
        apart = scan(Path(config.calibration), limit=MOST, skip=skip, known=known)
    else:
        apart = find_images(config, count, (), known, aside=True)
    check_apart(scored, apart, known)
    return apart


def check_apart(scored: Manifest, apart: Manifest, known: MutableMapping[str, Known]) -> None:
    """Raise `UsageError` if an image is in both: the same file, a link to it, or a copy.

    A copy has the same size and the same ends. `known` has files that were checked already.
    """
    links = {str(Path(path).resolve()) for path in scored.paths}
    frames = {_contents(path, known) for path in scored.paths}
    both = [
        name
        for name, path in zip(apart.names, apart.paths, strict=True)
        if str(Path(path).resolve()) in links or _contents(path, known) in frames
    ]
    if both:
        raise UsageError(
            f"{len(both):,} of the {len(apart):,} images in --calibration {apart.root} are scored "
            f"too, such as {both[0]}. A model is not scored on what it was calibrated with: give "
            f"other images, or a number of images to set aside."
        )


def check_there(config: RunConfig) -> None:
    """Raise `UsageError` for a folder of `--calibration` that is not there."""
    calibration = config.calibration
    if calibration is None or not is_folder(calibration) or user_path(calibration).exists():
        return
    raise UsageError(
        f"There is nothing at --calibration {calibration}. Give a folder of images, or how many of "
        f"the data to set aside."
    )


def _contents(path: str, known: MutableMapping[str, Known]) -> tuple[str, int]:
    frame = frame_of(Path(path), known)
    return frame.ends, frame.num_bytes
