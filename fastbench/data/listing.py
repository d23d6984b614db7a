"""The files of a data set in their order, and their labels: from a folder's tree, or from a list.

A *folder* has one sub-folder a class, whose name is the label, or is flat and has no labels; its
files are sorted by name. A *list* is a text file with a line a file, `path label`, kept in its
order. Paths are relative to the list's own folder. The label (a class index, a wnid, or a class
name) is what follows the last tab, or the last blank where there is no tab. A list of paths alone
has no labels. Empty lines and lines that begin with `#` are left out.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, DataNotFoundError, os_errors_as
from fastbench.core.reading import read_regular
from fastbench.data.folder_tree import has_jpegs_name, jpegs_below, named_twice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

_ARCHIVES: Final = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """`names[i]` is file i's path below `root`, `words[i]` what it is labelled with, or None.

    `is_tree` says whether the words are class folders. `not_used` has numbers of files and folders
    that are left out, by kind (see `folder_tree.py`); a list leaves nothing out.
    """

    root: Path
    names: tuple[str, ...]
    words: tuple[str | None, ...]
    is_tree: bool = False
    not_used: Mapping[str, int] = field(default_factory=dict)


def list_images(source: Path) -> Listing:
    """List the files of a folder, or those that a text file names.

    Raises `DataNotFoundError` where there are none, `DataError` for a folder with images beside and
    inside its class folders or of several data sets, and for a list that names a file twice or
    labels only some.
    """
    if not source.exists():
        raise DataNotFoundError(
            f"The data folder {source} does not exist. Name a folder of JPEGs or a list file; "
            f"fastbench run without --data takes the sample data."
        )
    real = source.resolve()
    return _from_folder(real) if real.is_dir() else _from_list(real)


def digest_of(files: Iterable[tuple[str, int]]) -> str:
    """The SHA-256, in hex, over names with numbers, such as files with their bytes, in order."""
    digest = hashlib.sha256()
    for name, number in files:
        digest.update(f"{name}\0{number}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def walk(root: Path, folders: Collection[str]) -> Iterator[tuple[str, int | None]]:
    """The names in a folder and in its `folders`, with the sizes of plain files in the latter."""
    with os.scandir(root) as entries:
        for entry in entries:
            # A link in a class folder's place could lead anywhere.
            if entry.name in folders and entry.is_dir(follow_symlinks=False):
                with os.scandir(entry.path) as files:
                    for file in files:
                        plain = file.is_file(follow_symlinks=False)
                        yield f"{entry.name}/{file.name}", file.stat().st_size if plain else None
            else:
                yield entry.name, None


def _from_folder(folder: Path) -> Listing:
    root, names, not_used = jpegs_below(folder)
    words = tuple(name.split("/", 1)[0] if "/" in name else None for name in names)
    if None in words and any(words):
        loose = names[words.index(None)]
        raise DataError(
            f"{root} has images both inside class folders and beside them (for example {loose}). "
            f"Move them into class folders, or give --data a folder of one kind."
        )
    return Listing(root=root, names=tuple(names), words=words, is_tree=True, not_used=not_used)


def _from_list(path: Path) -> Listing:
    rows = [_split(line) for line in lines_of(_read(path))]
    if not rows:
        raise DataNotFoundError(f"The list {path} names no files. Write a line a file: path label.")
    names, words = zip(*rows, strict=True)
    if None in words and any(words):
        raise DataError(
            f"The list {path} has a label for some files and none for others (for example "
            f"{names[words.index(None)]}). Give every line a label, or none."
        )
    if twice := named_twice(path.parent / name for name in names):
        raise DataError(
            f"The list {path} names one file twice: {twice[0]} and {twice[1]}. Name each file once."
        )
    missing = [name for name in names if not os.path.isfile(path.parent / name)]
    if missing:
        raise DataNotFoundError(
            f"{path.parent / missing[0]} does not exist ({len(missing):,} of the {len(names):,} "
            f"files in {path} do not, or are not regular files). Paths are relative to the list's "
            f"own folder."
        )
    return Listing(root=path.parent, names=names, words=words)


def _read(path: Path) -> str:
    if path.name.lower().endswith(_ARCHIVES):
        raise DataError(
            f"{path} is an archive. Unpack it first: fastbench data imagenet, or fastbench data "
            f"shards for WebDataset shards."
        )
    with os_errors_as(
        DataError, f"The list {path} cannot be read", "Name a text file, or a folder of images."
    ):
        # A file's name need not be text.
        text = read_regular(path).decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise DataNotFoundError(
            f"{path} is neither a folder nor a list of files. "
            f"Give --data the folder that holds the images."
        )
    return text


def lines_of(text: str) -> list[str]:
    """The lines of a list, without empty ones and those that begin with `#`."""
    # Not splitlines(): names may hold Unicode's other ends of lines.
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _split(line: str) -> tuple[str, str | None]:
    """A line's path and label. A path may hold blanks; a label may too, after a tab."""
    if "\t" in line:
        name, _, word = line.rpartition("\t")
    elif has_jpegs_name(line):
        return line, None
    else:
        name, _, word = line.rpartition(" ")
    return (name.strip(), word.strip()) if name else (word, None)
