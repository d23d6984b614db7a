"""All files are decoded once, in threads, and what was found is remembered.

A file's verdict is kept in the user's cache folder with its size and its time of change, and
believed while these and Pillow's version are the same: the next run decodes nothing.

Not found is damage that still decodes, nor a file that changed while its size and time did not
(`fastbench data verify` decodes again).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from typing import TYPE_CHECKING, Any, Final

from fastbench.core.atomic_files import json_or_none, remove_left_over, write_whole
from fastbench.core.cores import num_cores
from fastbench.core.thread_map import thread_map
from fastbench.data.jpeg.quick_check import find_corrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fastbench.core.errors import CorruptImageError

_VERSION: Final = 2
"""Of what is judged: verdicts of another version are made anew."""


def verify(
    root: Path,
    names: Sequence[str],
    *,
    afresh: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, str | None]:
    """Decode files below `root`; for each name what is wrong with it, in words, or None.

    What was decoded before is not decoded again, unless `afresh`. `on_progress` is called with
    (files decoded, files to decode), first with none decoded; not where there are none to decode.
    What was found is kept when the work is interrupted.
    """
    import PIL

    cache = _cache_file(root)
    known = _remembered(cache, PIL.__version__)
    stamps = {name: _stamp(root / name) for name in names}
    found: dict[str, str | None] = {}
    if not afresh:
        for name, stamp in stamps.items():
            entry = known.get(name)
            if isinstance(entry, list) and len(entry) == 3 and tuple(entry[:2]) == stamp:
                found[name] = entry[2]
    todo = [name for name in names if name not in found]
    if not todo:
        return found
    if on_progress is not None:
        on_progress(0, len(todo))
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images and damaged EXIF data; neither is an error here.
            warnings.filterwarnings("ignore", module="PIL")
            _decode(root, todo, found, on_progress)
    finally:
        decoded = {name: [*stamps[name], found[name]] for name in todo if name in found}
        _remember(cache, {**known, **decoded}, root, PIL.__version__)
    return found


def _decode(
    root: Path,
    names: Sequence[str],
    found: dict[str, str | None],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    def verdict_of(name: str) -> CorruptImageError | None:
        return find_corrupt([str(root / name)])

    with thread_map(verdict_of, names, num_cores(), "fastbench-verify") as verdicts:
        for done, (name, error) in enumerate(zip(names, verdicts, strict=True), start=1):
            found[name] = None if error is None else error.what
            if on_progress is not None:
                on_progress(done, len(names))


def _stamp(path: Path) -> tuple[int, int]:
    """A file's size in bytes and its time of change in nanoseconds."""
    try:
        status = path.stat()
    except OSError:  # gone since it was listed: decoding will say so
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _cache_file(root: Path) -> Path:
    import platformdirs

    key = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return platformdirs.user_cache_path("fastbench") / "verified" / f"{key}.json"


def _remembered(cache: Path, decoder: str) -> dict[str, Any]:
    """What is known of each file; nothing without a cache of this version of Pillow."""
    stored = json_or_none(cache)
    if not isinstance(stored, dict) or (stored.get("version"), stored.get("pillow")) != (
        _VERSION,
        decoder,
    ):
        return {}
    files = stored.get("files")
    return files if isinstance(files, dict) else {}


def _remember(cache: Path, files: dict[str, Any], root: Path, decoder: str) -> None:
    content = {"version": _VERSION, "pillow": decoder, "root": str(root), "files": files}
    # Where it cannot be written, the next run decodes again, and nothing else is lost.
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(cache.parent, cache.name)
        write_whole(cache, json.dumps(content).encode())
