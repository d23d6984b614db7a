"""From the options to the images of a run: `--data`, `--classes`, `--limit` and `--on-error`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import UsageError
from fastbench.data.manifest import Manifest, scan

if TYPE_CHECKING:
    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Count

__all__ = ["find_images"]

NUM_SAMPLE_IMAGES: Final = 1000


def find_images(config: RunConfig, count: Count) -> Manifest:
    """List the images that the options name; the sample data are drawn where they are not there.

    Raises what `scan` raises, and `UsageError` for a list of classes that is none.
    """
    only = _read_classes(Path(config.classes).expanduser()) if config.classes else None
    if config.data == "sample":
        from fastbench.data.sample import ensure_sample

        source = ensure_sample(
            max(NUM_SAMPLE_IMAGES, config.limit or 0),
            on_progress=count(
                "drawing the sample images",
                "Drew {total:,} sample images in {seconds:.0f} s; they are kept for next time.",
            ),
        )
    else:
        source = Path(config.data)
    return scan(
        source,
        limit=config.limit,
        only=only,
        skip=config.on_error == "skip",
        on_progress=count("decoding every image once, to skip what is not sound"),
    )


def _read_classes(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"The list of classes {path} cannot be read ({reason}). Give --classes a text file "
            f"with a class folder a line."
        ) from error
    names = [line.strip() for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise UsageError(f"{path} names no classes. Give --classes a file with one a line.")
    return frozenset(names)
