"""Images in archives and folders become class folders: planned in full, written whole.

The source is listed in full before a byte is written. A path that leads out of an archive, a file
twice, and an archive that was cut off end it there.

Each file gets a temporary name, then its own: an interrupted call leaves whole files only, and the
next one goes on from there. A folder that holds anything foreign is refused, and nothing of it is
overwritten or deleted. Images from a folder are hard links where the file system has them. Every
image's first and last bytes are checked. The marker says that the folder is unfinished until all
files are there; its digest is that of `dataset.scan`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.core.atomic_files import (
    json_or_none,
    locked,
    meant_for,
    remove,
    temporary_name,
    whole,
    write_whole,
    writing,
)
from fastbench.core.errors import CorruptImageError, DataError, OutputError
from fastbench.core.reading import open_regular
from fastbench.core.units import format_bytes
from fastbench.data.archive import COPY_AGAIN, open_tar, read_member, reading
from fastbench.data.folder_tree import UNFINISHED
from fastbench.data.jpeg.header import END_OF_IMAGE, START_OF_IMAGE
from fastbench.data.jpeg.quick_check import corrupt, decoding_error
from fastbench.data.listing import digest_of, walk

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Collection, Generator, Iterable, Sequence
    from pathlib import Path
    from typing import BinaryIO

_MARKER_VERSION: Final = 1
_DISK_BLOCK: Final = 4096
"""The least that a file takes on the usual file systems, in bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An image to be written: its path below the output folder, its size in bytes, its source.

    `member` is None where `source` is the image itself, not an archive that holds it.
    """

    name: str
    size: int
    source: Path
    member: tarfile.TarInfo | None = None

    @property
    def origin(self) -> str:
        """Where the image comes from, in words."""
        return f"{self.member.name} in {self.source}" if self.member else str(self.source)


def _contents(entries: Iterable[Entry]) -> Generator[tuple[Entry, bytes]]:
    for source, group in itertools.groupby(entries, key=lambda entry: entry.source):
        with open_tar(source) as tar:
            for entry in group:
                assert entry.member is not None
                yield entry, read_member(tar, entry.member)


def _check_jpeg(file: BinaryIO, entry: Entry) -> None:
    """Check an image's size against the plan, and its first and last bytes."""
    head = file.read(len(START_OF_IMAGE))
    size = file.seek(0, os.SEEK_END)
    if size != entry.size:
        raise DataError(f"{entry.origin} changed while it was read. Run again when it is at rest.")
    if head != START_OF_IMAGE:
        what = "is not a JPEG file" if size else "is empty (0 bytes)"
        raise CorruptImageError(entry.origin, what, COPY_AGAIN)
    file.seek(-len(END_OF_IMAGE), os.SEEK_END)
    if file.read() == END_OF_IMAGE:
        return
    # Some sound files have bytes after the marker: those are decoded.
    if (error := decoding_error(file)) is not None:
        what = corrupt(entry.origin, error).what
        raise CorruptImageError(entry.origin, what, COPY_AGAIN) from error


def fill(
    output: Path,
    entries: Sequence[Entry],
    *,
    allowed: Collection[str],
    marker: str,
    about: dict[str, object],
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the images that the output folder lacks, then the marker.

    `allowed` are the names of the complete set, those of `entries` among them. `about` goes into
    the marker as it is.

    Raises `CorruptImageError` for an image that is none, `OutputError` for a folder that cannot be
    written, is too small or holds something else.
    """
    twin, times = Counter(entry.name for entry in entries).most_common(1)[0]
    if times > 1:
        origins = [entry.origin for entry in entries if entry.name == twin]
        raise DataError(
            f"{origins[0]} and {origins[1]} would both become {twin}. Leave one of them out."
        )
    with writing("The images", output, "Free some space there, or name another folder."):
        output.mkdir(parents=True, exist_ok=True)
        with locked(output):
            _fill(output, entries, allowed, marker, about, on_progress)
    return output


def _fill(
    output: Path,
    entries: Sequence[Entry],
    allowed: Collection[str],
    marker: str,
    about: dict[str, object],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Write what is missing, then the marker; the caller holds the lock."""
    sizes = _listing(output, allowed, marker)
    missing = [entry for entry in entries if not _is_there(output, entry, sizes)]
    wanted = _marker_of({**sizes, **{e.name: e.size for e in entries}}, allowed, about)
    if not missing and json_or_none(output / marker) == wanted:
        return
    in_archives = [entry for entry in missing if entry.member is not None]
    files = [entry for entry in missing if entry.member is None]
    if not files or not _can_link(files[0].source, output / marker):
        _check_space(output, missing)
    write_whole(output / marker, json.dumps(UNFINISHED).encode())
    for folder in sorted({entry.name.partition("/")[0] for entry in missing}):
        (output / folder).mkdir(exist_ok=True)
    done = len(entries) - len(missing)

    def report(written: int) -> None:
        nonlocal done
        done += written
        if on_progress is not None and missing:
            on_progress(done, len(entries))

    report(0)
    with contextlib.closing(_contents(in_archives)) as contents:
        for entry, data in contents:
            _check_jpeg(io.BytesIO(data), entry)
            write_whole(output / entry.name, data)
            report(1)
    for entry in files:
        _place_file(entry, output / entry.name)
        report(1)
    # The marker is written for what lies there, not for what was meant to.
    found = _marker_of(_listing(output, allowed, marker), allowed, about)
    if found != wanted:
        raise OutputError(
            f"The files in {output} changed while they were written. "
            "Run again when nothing else writes there."
        )
    write_whole(output / marker, json.dumps(found, indent=1).encode())


def _marker_of(
    sizes: dict[str, int], allowed: Collection[str], about: dict[str, object]
) -> dict[str, object]:
    return {
        "version": _MARKER_VERSION,
        "num_images": len(sizes),
        "num_expected": len(allowed),
        "num_classes": len({name.partition("/")[0] for name in sizes}),
        "digest": digest_of(sorted(sizes.items())),
        **about,
    }


def _listing(output: Path, allowed: Collection[str], marker: str) -> dict[str, int]:
    """{name: size} of the images that are there; removes files that a killed process was writing.

    Raises `OutputError` where anything else is there.
    """
    folders = {name.partition("/")[0] for name in allowed}
    sizes: dict[str, int] = {}
    left_over: list[Path] = []
    for name, size in walk(output, folders):
        folder, slash, file = name.rpartition("/")
        meant = f"{folder}{slash}{meant_for(file)}"
        if name in allowed and size is not None:
            sizes[name] = size
        elif meant == marker or meant in allowed:
            left_over.append(output / name)
        elif name != marker:
            raise OutputError(
                f"{output} holds {name!r}, which does not belong to what is unpacked there. "
                "Name an empty or a new folder."
            )
    for path in left_over:
        remove(path)
    return sizes


def _is_there(output: Path, entry: Entry, sizes: dict[str, int]) -> bool:
    size = sizes.get(entry.name)
    # Files are renamed when they are whole, but after a loss of power one may be empty.
    if not size:
        return False
    if size != entry.size:
        raise OutputError(
            f"{output / entry.name} has {size:,} bytes, but {entry.size:,} in {entry.source}. "
            "Move it away, or name a new folder."
        )
    return True


def _check_space(output: Path, entries: Iterable[Entry]) -> None:
    needed = sum(-(-entry.size // _DISK_BLOCK) * _DISK_BLOCK for entry in entries)
    free = shutil.disk_usage(output).free
    if needed > free:
        raise OutputError(
            f"The images take {format_bytes(needed)}, and {output} has {format_bytes(free)} left. "
            "Free some space there, or name a folder on another disk."
        )


def _linked(source: Path, path: Path) -> bool:
    """Try to make `path` a hard link to `source`: they must be on one disk, and links allowed."""
    try:
        # Of the file itself: a link to a symbolic link breaks when that link's folder goes.
        os.link(os.path.realpath(source), path)
    except OSError:
        return False
    return True


def _can_link(source: Path, path: Path) -> bool:
    temporary = temporary_name(path)
    try:
        return _linked(source, temporary)
    finally:
        remove(temporary)


def _place_file(entry: Entry, path: Path) -> None:
    """Hard link an image into its class folder where possible, else copy it."""
    with reading(entry.source), open_regular(entry.source) as file:
        _check_jpeg(file, entry)
    with whole(path) as temporary:
        if not _linked(entry.source, temporary):
            with reading(entry.source):
                data = entry.source.read_bytes()
            temporary.write_bytes(data)
