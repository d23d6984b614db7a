"""The JPEGs below a folder, and a count of all else that lies there.

Each real file is listed once, whatever links lead to it: folders and files are told apart by device
and inode. Real folders are walked before links to folders, so that a file keeps the name that it
has in its own folder, and folders that link to each other come to an end.

Where the class folders lie further down, in a folder such as `val`, the names begin there. Where
several such folders lie side by side, their images would be mixed: that is an error.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fastbench.core.atomic_files import json_or_none
from fastbench.core.errors import DataError, DataNotFoundError
from fastbench.core.units import and_more, counted
from fastbench.data.imagenet import WNID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})

_ENDING: Final = re.compile(r"\.[a-z][a-z0-9]{0,7}")
UNFINISHED: Final = {"is_finished": False}
"""What our marker holds while a folder is filled."""
_OUR_MARKER: Final = re.compile(r"fastbench-[a-z]+\.json")
_SPLIT: Final = re.compile(r"(train|training|val|valid|validation|test|testing)\d*", re.IGNORECASE)
_MOST_KINDS: Final = 6


class _File(NamedTuple):
    """A file by its path below the root. `is_link`: it is a link, or lies in a linked folder."""

    name: str
    inode: int
    is_link: bool


def jpegs_below(root: Path) -> tuple[Path, list[str], dict[str, int]]:
    """The folder whose sub-folders are the classes, the paths of its JPEGs, and what is not used.

    The paths are relative to that folder, sorted, with forward slashes. What is not used are
    numbers by kind: an ending (`.png`), `hidden file`, `hidden folder`, `other file`, and
    `repeated file` and `repeated folder` for those that are listed under another name.

    Raises `DataNotFoundError` without JPEGs; `DataError` for a folder that cannot be read, that
    `fastbench data` has not filled to the end, and where data sets such as `train` and `val` lie
    side by side.
    """
    not_used: Counter[str] = Counter()
    files = list(_walk(root, not_used))
    if not files:
        there = f" (it holds {in_words(not_used)}). Convert them to JPEG, or name another folder"
        empty = ": there are no files in it. Name a folder of JPEGs with --data"
        raise DataNotFoundError(f"No JPEG files below {root}{there if not_used else empty}.")
    names = _each_once(root, files, not_used)
    start = _start_of_classes(root, names)
    return root / start, [name.removeprefix(start) for name in names], dict(not_used)


def in_words(not_used: Mapping[str, int]) -> str:
    """The kinds of what is not used, the most frequent first: `8 .png files, 1 hidden folder`."""
    kinds = sorted(not_used.items(), key=lambda item: (-item[1], item[0]))
    return and_more(
        [counted(num, f"{kind} file" if kind.startswith(".") else kind) for kind, num in kinds],
        _MOST_KINDS,
    )


def has_jpegs_name(name: str) -> bool:
    """Whether a file's name ends as those of JPEGs do."""
    return os.path.splitext(name)[1].lower() in JPEG_SUFFIXES


def identity(path: str | Path) -> tuple[int, int] | None:
    """A file's or a folder's device and inode, of what a link leads to; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def named_twice(paths: Iterable[Path]) -> tuple[Path, Path] | None:
    """The first two paths that are one file, be it by a link or spelt otherwise."""
    first: dict[tuple[int, int], Path] = {}
    for path in paths:
        found = identity(path)
        if found in first:
            return first[found], path
        if found is not None:
            first[found] = path
    return None


def _walk(root: Path, not_used: Counter[str]) -> Iterator[_File]:
    """The files with a JPEG's name; counts the others."""
    seen = set()
    real, links = [""], list[str]()
    in_link = False
    while real or links:
        in_link = in_link or not real
        below = real.pop() if real else links.pop(0)
        folder = os.path.join(root, below)
        if (found := identity(folder)) in seen:
            not_used["repeated folder"] += 1
            continue
        seen.add(found)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"The folder {folder} cannot be read ({error.strerror}). Check its permissions."
            ) from error
        for entry in entries:
            name, is_link = f"{below}{entry.name}", entry.is_symlink()
            if _holds(entry.is_dir):
                if entry.name.startswith("."):
                    not_used["hidden folder"] += 1
                elif is_link and _leads_back(entry.path):
                    not_used["repeated folder"] += 1
                else:
                    (links if is_link else real).append(f"{name}/")
            elif (kind := _kind(entry)) is None:
                yield _File(name, entry.inode(), is_link or in_link)
            elif not _OUR_MARKER.fullmatch(entry.name):
                not_used[kind] += 1
            elif json_or_none(Path(entry.path)) == UNFINISHED:
                raise DataError(
                    f"{folder.rstrip(os.sep)} is unfinished: the command that filled it was "
                    f"interrupted. Run it again, which goes on there, or delete {entry.name} to "
                    f"use the folder as it is."
                )


def _kind(entry: os.DirEntry[str]) -> str | None:
    """What a file that is not used is counted as; None for a JPEG."""
    if entry.name.startswith("."):
        return "hidden file"
    # A link that leads nowhere is listed, so that the check of the files names it.
    if not _holds(entry.is_file) and identity(entry.path) is not None:
        return "other file"
    if has_jpegs_name(entry.name):
        return None
    ending = os.path.splitext(entry.name)[1].lower()
    return ending if _ENDING.fullmatch(ending) else "other file"


def _holds(is_so: Callable[[], bool]) -> bool:
    """What an entry of a folder says of itself; False for a link that leads to itself."""
    try:
        return is_so()
    except OSError:
        return False


def _leads_back(folder: str) -> bool:
    """Whether a linked folder is one that the link lies in: all beside it would be listed too."""
    return f"{os.path.realpath(os.path.dirname(folder))}/".startswith(
        os.path.join(os.path.realpath(folder), "")
    )


def _each_once(root: Path, files: Sequence[_File], not_used: Counter[str]) -> list[str]:
    """The sorted names; of several names of one file the first that is not a link's."""
    # Usual folders need no call for each file, which is slow on a network.
    if len({file.inode for file in files}) == len(files) and not any(f.is_link for f in files):
        return sorted(file.name for file in files)
    first: dict[object, str] = {}
    for file in sorted(files, key=lambda file: (file.is_link, file.name)):
        # A link that leads nowhere stays, under its own name.
        found = identity(os.path.join(root, file.name)) or file.name
        if first.setdefault(found, file.name) != file.name:
            not_used["repeated file"] += 1
    return sorted(first.values())


def _start_of_classes(root: Path, names: Sequence[str]) -> str:
    """The path of the folder whose sub-folders are the classes, with a slash; empty for the root.

    It is another one where all images lie in a folder of a data set's part, such as `val`, or
    where the sub-folders there are ImageNet's classes.
    """
    start = below = ""
    while all("/" in name[len(below) :] for name in names):
        folders = sorted({name[len(below) :].partition("/")[0] for name in names})
        is_imagenet = all(map(WNID.fullmatch, folders))
        if is_imagenet or _SPLIT.fullmatch(Path(below).name):
            start = below
        if is_imagenet:
            break
        if len(folders) > 1:
            _check_not_mixed(root / below, folders, [name[len(below) :] for name in names])
            break
        below += f"{folders[0]}/"
    return start


def _check_not_mixed(root: Path, folders: Sequence[str], names: Sequence[str]) -> None:
    parts = [folder for folder in folders if _SPLIT.fullmatch(folder)]
    inner = [name.split("/")[1] for name in names if name.count("/") > 1]
    if len(parts) < 2 and not (len(inner) == len(names) and all(map(WNID.fullmatch, inner))):
        return
    meant = next((name for name in folders if name.lower().startswith("val")), folders[0])
    raise DataError(
        f"{root} holds several data sets, whose images would be mixed: {and_more(folders, 4)}. "
        f"Name one of them, such as --data {root / meant}."
    )
