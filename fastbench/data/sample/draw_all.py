"""The drawn data set on disk: what is missing is drawn, and no unfinished set is used.

`drawing.py` draws one image from `(split, index)`; this draws all that a set lacks, in the user's
cache. It draws in threads: numpy and Pillow release Python's lock for most of the time, and threads
start at once and end with this process.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.atomic_files import (
    json_or_none,
    locked,
    meant_for,
    remove,
    write_whole,
    writing,
)
from fastbench.core.cores import num_cores
from fastbench.core.errors import OutputError, UsageError
from fastbench.core.thread_map import thread_map
from fastbench.data.folder_tree import UNFINISHED
from fastbench.data.jpeg.header import END_OF_IMAGE
from fastbench.data.listing import digest_of, walk
from fastbench.data.sample.drawing import (
    CLASS_NAMES,
    SAMPLE_VERSION,
    check_split,
    class_of,
    draw_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MARKER: Final = "fastbench-sample.json"
_MOST_THREADS: Final = 8
"""More help little: Python's lock is held for about a fifth of the drawing."""


def _name(split: str, index: int) -> str:
    return f"{CLASS_NAMES[class_of(split, index)]}/{split}_{index:05d}.jpg"


def _draw_file(root: Path, split: str, index: int) -> None:
    write_whole(root / _name(split, index), draw_image(split, index)[0])


def _sizes(root: Path) -> dict[str, int]:
    """{name: bytes} of the files in the class folders, sorted."""
    return {name: size for name, size in sorted(walk(root, CLASS_NAMES)) if size is not None}


def _read_marker(root: Path) -> dict[str, Any]:
    content = json_or_none(root / _MARKER)
    return content if isinstance(content, dict) else {}


def _is_complete(root: Path, split: str, num_images: int) -> bool:
    """Whether the marker is this set's, and the files are still those that it was written for."""
    marker = _read_marker(root)
    wanted = {"version": SAMPLE_VERSION, "split": split, "num_images": num_images}
    if any(marker.get(key) != value for key, value in wanted.items()):
        return False
    sizes = _sizes(root)
    return len(sizes) == num_images and marker.get("digest") == digest_of(sizes.items())


def _ends_as_jpeg(path: Path, size: int) -> bool:
    """Whether the file has a JPEG's end-of-image marker, which a truncated one lacks."""
    if size < 4:
        return False
    with path.open("rb") as file:
        file.seek(-2, os.SEEK_END)
        return file.read(2) == END_OF_IMAGE


def _missing(root: Path, split: str, num_images: int) -> list[int]:
    """The indices to draw. Raises `OutputError` where the root holds something foreign."""
    names = [_name(split, index) for index in range(num_images)]
    sizes = dict(walk(root, CLASS_NAMES))
    # Files that killed processes were writing; the lock keeps others away now.
    left_over = {name for name in sizes if meant_for(Path(name).name)}
    for name in left_over:
        remove(root / name)
    if foreign := sorted(sizes.keys() - {*names, *left_over, _MARKER}):
        raise OutputError(
            f"{root} holds {foreign[0]!r}, which does not belong to a sample of {num_images} "
            f"{split} images. Name an empty or a new folder."
        )
    marker = _read_marker(root)
    if marker not in ({}, UNFINISHED) and marker.get("version") != SAMPLE_VERSION:
        return list(range(num_images))
    seen = marker.get("sizes")
    if not isinstance(seen, dict):
        seen = {}
    missing = []
    for index, name in enumerate(names):
        size = sizes.get(name)
        # Files are renamed when they are whole: half a one was damaged from outside.
        if size is None or size != seen.get(name, size) or not _ends_as_jpeg(root / name, size):
            missing.append(index)
    return missing


def ensure_sample(
    num_images: int = 1000,
    *,
    split: str = "val",
    root: Path | None = None,
    num_threads: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make sure that a complete sample set lies on disk, drawing what is missing.

    The layout is `<root>/<class>/<split>_00042.jpg`. The marker `fastbench-sample.json` says
    until the end that the set is unfinished: such a set is completed, any other is returned at
    once. An interrupted call leaves whole files only, and the next one goes on from there. Nothing
    but a sample's own files is ever replaced, and no image is deleted.

    Args:
        num_images: How many images, at least 1.
        split: "val" or "train".
        root: The folder; by default one for this version, split and number in the user's cache.
        num_threads: Threads that draw; by default one for each core that this process may use, up
            to 8.
        on_progress: Called in this process with (files that are there, `num_images`), first
            before any is drawn; not called for a set that is complete already.

    Returns:
        The root.

    Raises:
        UsageError: `num_images` or `num_threads` is below 1.
        UnknownNameError: There is no such split.
        OutputError: The root cannot be written, or holds something else.
    """
    check_split(split)
    if num_images < 1:
        raise UsageError(f"A sample needs at least 1 image, not {num_images}. Ask for more.")
    if num_threads is None:
        num_threads = min(_MOST_THREADS, num_cores())
    if num_threads < 1:
        raise UsageError(f"Drawing needs at least 1 thread, not {num_threads}. Ask for more.")
    if root is None:
        import platformdirs

        cache = platformdirs.user_cache_path("fastbench")
        root = cache / f"sample-v{SAMPLE_VERSION}" / f"{split}-{num_images}"
    remedy = "Free some space there, or name a folder that you may write to."
    with writing("The sample images", root, remedy):
        if root.is_dir() and _is_complete(root, split, num_images):
            return root
        root.mkdir(parents=True, exist_ok=True)
        with locked(root):
            # Another process may have finished the set while this one waited for the lock.
            if not _is_complete(root, split, num_images):
                _complete(root, split, num_images, num_threads, on_progress)
    return root


def _complete(
    root: Path,
    split: str,
    num_images: int,
    num_threads: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Draw what is missing, then write the marker; the caller holds the lock."""
    indices = _missing(root, split, num_images)
    report = on_progress or (lambda *_: None)
    done = num_images - len(indices)
    write_whole(root / _MARKER, json.dumps(UNFINISHED).encode())
    for name in CLASS_NAMES:
        (root / name).mkdir(exist_ok=True)
    report(done, num_images)
    draw = functools.partial(_draw_file, root, split)
    with thread_map(draw, indices, num_threads, "fastbench-draw") as drawn:
        for _ in drawn:
            done += 1
            report(done, num_images)
    sizes = _sizes(root)
    marker = {
        "version": SAMPLE_VERSION,
        "split": split,
        "num_images": num_images,
        "digest": digest_of(sizes.items()),
        "sizes": sizes,  # to find the files that changed, should the digest disagree
    }
    write_whole(root / _MARKER, json.dumps(marker, indent=1).encode())
