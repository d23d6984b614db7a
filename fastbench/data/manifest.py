"""Which images are measured? One sorted list of files, made once and shared by every loader.

No loader scans folders itself: two that disagree on order or on a hidden file would be scored
on different data. A sample's id is its index in this list. Every file's header and last bytes are
read here, so what is no JPEG or was cut off is named before any time is measured.

What it does not know: whether the bytes between are sound. A loader finds that out, and says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.data.jpeg import END_OF_IMAGE, START_OF_IMAGE, read_header
from fastbench.errors import CorruptImageError, DataError, DataNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["JPEG_SUFFIXES", "Manifest", "find_corrupt", "scan", "spread"]

JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"RIFF", "a WebP"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The ordered samples of a run.

    `names[i]` is the path of sample i below `root` with forward slashes, `folders[i]` its class
    folder (None in a flat folder of images), `num_bytes[i]` its file size, `sizes[i]` its (width,
    height) in pixels. `digest` is the SHA-256 over names and file sizes, in hex.
    """

    root: Path
    names: tuple[str, ...]
    folders: tuple[str | None, ...]
    num_bytes: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    digest: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def paths(self) -> tuple[str, ...]:
        """The samples' absolute paths, in order."""
        root = str(self.root)
        return tuple(os.path.join(root, name) for name in self.names)

    @property
    def largest(self) -> tuple[int, int]:
        """The largest width and the largest height, which need not be one image's."""
        return max(width for width, _ in self.sizes), max(height for _, height in self.sizes)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the class folders, sorted; empty for a flat folder."""
        return tuple(sorted({folder for folder in self.folders if folder is not None}))


def scan(root: Path, *, limit: int | None = None) -> Manifest:
    """List the JPEGs below `root`: one sub-folder a class, or a flat folder without labels.

    With `limit`, that many samples, evenly spread over the list: the first ones would all be
    of the first classes.

    Raises `DataNotFoundError` where there is no folder or no JPEG in it, `CorruptImageError`
    for a file that is empty, cut off or of another format, `DataError` for a folder that has
    images both beside and inside its class folders.
    """
    root = root.expanduser()
    if not root.exists():
        raise DataNotFoundError(
            f"The data folder {root} does not exist. Name a folder of JPEGs with --data, "
            f"or leave it out to use the sample data."
        )
    if not root.is_dir():
        raise DataNotFoundError(
            f"{root} is a file, not a folder. Give --data the folder that holds the images."
        )
    root = root.resolve()
    names = sorted(_jpegs_below(root))
    if not names:
        raise DataNotFoundError(f"No JPEG files below {root}{_what_is_there(root)}.")
    folders = tuple(name.split("/", 1)[0] if "/" in name else None for name in names)
    if None in folders and any(folders):
        loose = names[folders.index(None)]
        raise DataError(
            f"{root} has images both inside class folders and beside them (for example {loose}). "
            f"Move them into class folders, or give --data a folder of one kind."
        )
    kept = spread(len(names), limit)
    names = [names[i] for i in kept]
    frames = [_check_frame(root / name) for name in names]
    digest = hashlib.sha256()
    for name, (num_bytes, _) in zip(names, frames, strict=True):
        digest.update(f"{name}\0{num_bytes}\n".encode("utf-8", "surrogateescape"))
    return Manifest(
        root=root,
        names=tuple(names),
        folders=tuple(folders[i] for i in kept),
        num_bytes=tuple(num_bytes for num_bytes, _ in frames),
        sizes=tuple(size for _, size in frames),
        digest=digest.hexdigest(),
    )


def find_corrupt(paths: Iterable[str]) -> CorruptImageError | None:
    """Decode files one by one; the error that names the first that does not decode, or None.

    For after a loader's failure, when it did not say which file of its batch was to blame.
    """
    from PIL import Image

    for path in paths:
        try:
            with Image.open(path) as image:
                image.load()
        # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and others.
        except Exception as error:  # noqa: BLE001
            return corrupt(path, error)
    return None


def corrupt(path: str | Path, reason: object) -> CorruptImageError:
    """The error for one file that cannot be decoded, with the decoder's own reason."""
    text = str(reason).replace(str(path), "the file").strip().rstrip(".") or type(reason).__name__
    return CorruptImageError(
        f"{path} cannot be decoded ({text.splitlines()[0]}). Replace or remove the file."
    )


def _jpegs_below(root: Path) -> Iterable[str]:
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_unreadable):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        below = os.path.relpath(folder, root)
        prefix = "" if below == "." else below.replace(os.sep, "/") + "/"
        for name in files:
            if os.path.splitext(name)[1].lower() in JPEG_SUFFIXES and not name.startswith("."):
                yield prefix + name


def _unreadable(error: OSError) -> None:
    raise DataError(
        f"The folder {error.filename} cannot be read ({error.strerror}). Check its permissions."
    ) from error


def _what_is_there(root: Path) -> str:
    suffixes = Counter(
        path.suffix.lower() or "without a suffix" for path in root.rglob("*") if path.is_file()
    )
    if not suffixes:
        return ": the folder is empty. Name a folder of JPEGs with --data"
    found = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(3))
    return (
        f" (it holds files of other kinds: {found}). Convert them to JPEG, or name another folder"
    )


def spread(num_samples: int, limit: int | None) -> list[int]:
    """Indices of at most `limit` samples, evenly spread; all of them without a limit."""
    if limit is None or limit >= num_samples:
        return list(range(num_samples))
    return [i * num_samples // limit for i in range(limit)]


def _check_frame(path: Path) -> tuple[int, tuple[int, int]]:
    """Hold a file's header and last bytes against a JPEG's; its size in bytes and in pixels."""
    header = None
    try:
        with open(path, "rb") as file:
            head = file.read(12)
            num_bytes = os.fstat(file.fileno()).st_size
            file.seek(max(0, num_bytes - 2))
            tail = file.read(2)
            if head.startswith(START_OF_IMAGE):
                with contextlib.suppress(ValueError):  # the decoder says what is wrong, below
                    header = read_header(file)
    except OSError as error:
        raise CorruptImageError(
            f"{path} cannot be read ({error.strerror}). Check its permissions or remove it."
        ) from error
    if num_bytes == 0:
        raise CorruptImageError(f"{path} is empty (0 bytes). Replace or remove the file.")
    if not head.startswith(START_OF_IMAGE):
        kind = next((kind for magic, kind in _SIGNATURES if head.startswith(magic)), None)
        what = f"is {kind} file with a JPEG's name" if kind else "is not a JPEG file"
        raise CorruptImageError(f"{path} {what}. Convert it to JPEG, or remove it.")
    # Most files end with the marker. Some have bytes after it and are sound: those are decoded.
    if (tail != END_OF_IMAGE or header is None) and (found := find_corrupt([str(path)])):
        raise found
    return num_bytes, (header.width, header.height) if header else _size_by_pillow(path)


def _size_by_pillow(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as image:
        return image.size
