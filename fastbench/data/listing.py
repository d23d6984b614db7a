"""The files of a data set in their order, and their labels: from a folder's tree, or from a file.

A *folder* has one sub-folder a class, whose name is the label, or is flat and has no labels but
those of ImageNet's own layouts (see `imagenet_layouts.py`); its files are sorted by name. A *list*
is a text file with a line a file, `path label`, or a CSV file (see `csv_file.py`), kept in its
order. Paths are relative to the list's own folder, or to a root that is given. The label (a class
index, a wnid, or a class name) is what follows the last tab, or the last blank where there is no
tab. A list of paths alone has no labels. Empty lines and lines that begin with `#` are left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, DataNotFoundError, UsageError, os_errors_as
from fastbench.core.reading import read_regular
from fastbench.data.csv_file import read_table
from fastbench.data.folder_tree import has_jpegs_name, jpegs_below, named_twice
from fastbench.data.imagenet_devkit import GROUND_TRUTH, META, VALIDATION_IMAGE, read_wnids
from fastbench.data.imagenet_layouts import by_number, validation_folder, wnids_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_ARCHIVES: Final = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip")
_ENDINGS: Final = ("", ".JPEG", ".jpg", ".jpeg", ".JPG")
"""What a path without an ending is tried with."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """`names[i]` is file i's path below `root`, `words[i]` what it is labelled with, or None.

    `is_tree` says whether the words are class folders. `origin` is what the words were read from,
    where that is more than one folder's name, and `why_none` why there are none. `not_used` has
    numbers of files and folders that are left out, by kind (see `folder_tree.py`); a list leaves
    nothing out.
    """

    root: Path
    names: tuple[str, ...]
    words: tuple[str | None, ...]
    is_tree: bool = False
    origin: str = ""
    why_none: str = ""
    not_used: Mapping[str, int] = field(default_factory=dict)


def list_images(source: Path, root: Path | None = None) -> Listing:
    """List the files of a folder, or those that a file names, whose paths are relative to `root`.

    `root` is the file's own folder where it is None.

    Raises `DataNotFoundError` where there are none, `DataError` for a folder with images beside and
    inside its class folders or of several data sets, and for a list that names a file twice or
    labels only some; `UsageError` for a root that is no folder, or beside a folder.
    """
    if not source.exists():
        raise DataNotFoundError(
            f"The data folder {source} does not exist. Name a folder of JPEGs, a CSV file or a "
            f"list; fastbench run without --data takes the sample data."
        )
    real = source.resolve()
    if root is not None and not root.is_dir():
        raise UsageError(f"--data-root {root} is not a folder. Name the one that paths begin in.")
    if not real.is_dir():
        return _from_file(real, None if root is None else root.resolve())
    if root is not None:
        raise UsageError(
            f"--data-root is for the paths in a file, and {source} is a folder. Leave it out, or "
            f"give --data the CSV file or the list."
        )
    return _from_folder(validation_folder(real))


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
    found = Listing(root=root, names=tuple(names), words=words, is_tree=True, not_used=not_used)
    if any(words):
        return dataclasses.replace(found, origin=_outer_folders(names))
    wnids, said = wnids_of(root, names)
    if wnids is None:
        return dataclasses.replace(found, why_none=said)
    return dataclasses.replace(found, words=tuple(wnids), is_tree=False, origin=said)


def _outer_folders(names: Sequence[str]) -> str:
    """That the labels are class folders' names, where folders inside them could be meant too."""
    inner: dict[str, str] = {}
    for name in names:
        label, _, below = name.partition("/")
        if "/" in below and inner.setdefault(label, below.split("/")[0]) != below.split("/")[0]:
            return (
                f"the outermost of nested folders, such as {label!r} of {label}/{inner[label]}: a "
                f"CSV file of path,label can say otherwise"
            )
    return ""


def _from_file(path: Path, root: Path | None) -> Listing:
    text = _read(path)
    if path.name == GROUND_TRUTH:
        return _from_ground_truth(path, root)
    base = root or path.parent
    table = read_table(text, path)
    rows = [_split(line) for line in lines_of(text)] if table is None else table
    if not rows:
        raise DataNotFoundError(
            f"The list {path} names no files. Write a line a file: path label, or a CSV file with "
            f"the header path,label."
        )
    names, words = zip(*rows, strict=True)
    if table is not None:
        base, names = _as_files(base, names)
    if None in words and any(words):
        raise DataError(
            f"The list {path} has a label for some files and none for others (for example "
            f"{names[words.index(None)]}). Give every line a label, or none."
        )
    if twice := named_twice(base / name for name in names):
        raise DataError(
            f"The list {path} names one file twice: {twice[0]} and {twice[1]}. Name each file once."
        )
    missing = [name for name in names if not os.path.isfile(base / name)]
    if missing:
        is_bare = table is not None and not has_jpegs_name(missing[0])
        also = ", also with .JPEG or .jpg after it" if is_bare else ""
        own = "the list's own folder: name another one with --data-root"
        raise DataNotFoundError(
            f"{base / missing[0]} does not exist ({len(missing):,} of the {len(names):,} files in "
            f"{path} do not, or are not regular files{also}). Paths are relative to "
            f"{own if root is None else '--data-root'}."
        )
    why_none = f"{path.name} names none"
    return Listing(root=base, names=names, words=words, origin=path.name, why_none=why_none)


def _as_files(base: Path, names: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """The folder that a table's paths begin in, and the paths, each with the ending that it lacks.

    The first of both with which any file is there. For ImageNet's own names the folder may be that
    of its validation images.
    """
    of_imagenet = VALIDATION_IMAGE.fullmatch(f"{names[0].removesuffix('.JPEG')}.JPEG")
    others = (validation_folder(base), base / "val") if of_imagenet else ()
    for folder in dict.fromkeys((base, *others)):
        for ending in _ENDINGS if not has_jpegs_name(names[0]) else ("",):
            files = tuple(x if has_jpegs_name(x) else f"{x}{ending}" for x in names)
            if any(os.path.isfile(folder / file) for file in files):
                return folder, files
    return base, names


def _from_ground_truth(path: Path, root: Path | None) -> Listing:
    """The images of a flat folder in the order of their names, with ILSVRC's labels."""
    if not (path.parent / META).is_file():
        raise DataError(
            f"{path} has ILSVRC's IDs, which are not the indices of models, and {META} is not "
            f"beside it to translate them. Copy it there from the same development kit."
        )
    wnids = read_wnids(path.parent)
    try:
        found, names, not_used = jpegs_below(validation_folder(root or path.parent))
    except DataNotFoundError as error:
        raise DataNotFoundError(
            f"There are no images beside {path}. Name their folder with --data-root."
        ) from error
    return Listing(
        root=found,
        names=tuple(names),
        words=tuple(by_number(names, wnids, found)),
        origin=path.name,
        not_used=not_used,
    )


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
