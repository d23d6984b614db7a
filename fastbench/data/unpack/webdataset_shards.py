"""WebDataset shards become class folders: each sample's label names its folder.

A shard is a tar archive whose files are grouped into samples: `000042.jpg` and `000042.cls` share
the key `000042`, which is all of the path before the first dot of the file's name. The label is a
class index (`.cls`) or, without one, a class index or wnid from `.json` (its `wnid` or `label`) or
`.txt`. A file is named by its key; where shards use the same keys again, the shard's name goes
before the key, for every file.

`folders.py` does the writing, once all shards and their labels are listed. To add later shards,
name all of them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastbench.core.errors import DataError, DataNotFoundError, UsageError
from fastbench.data.archive import LARGEST_TEXT, list_members, open_tar, read_member
from fastbench.data.folder_tree import named_twice
from fastbench.data.imagenet import WNID
from fastbench.data.unpack.folders import Entry, fill

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Sequence
    from pathlib import Path

MARKER: Final = "fastbench-shards.json"

_IMAGES: Final = ("jpg", "jpeg")
_LABELS: Final = ("cls", "json", "txt")
_INDEX: Final = re.compile(r"[0-9]{1,9}")


@dataclass(slots=True)
class _Sample:
    """The files of one key, by suffix, and the label once it is read."""

    shard: Path
    key: str
    files: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    label: str = ""


def unpack_shards(
    shards: Sequence[Path],
    output: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make `<output>/<label>/<key>.jpg` of every sample, or complete it.

    Args:
        shards: Tar archives, compressed or not.
        output: The folder; it is made where it is missing.
        on_progress: Called with (images written, images in the shards), first before any is
            written; not called where none is missing.

    Returns:
        The output folder.

    Raises:
        UsageError: No shard is given, or one twice.
        DataNotFoundError: A shard is not there, or holds no samples.
        DataError: A shard is cut off, or a sample lacks its image or its label.
        CorruptImageError: An image is not a JPEG, or was cut off.
        OutputError: The output folder cannot be written, is too small or holds something else.
    """
    if not shards:
        raise UsageError("There are no shards to unpack. Name at least one tar archive.")
    if twice := named_twice(shards):
        raise UsageError(
            f"One shard is named twice: {twice[0]} and {twice[1]}. Name each shard once."
        )
    samples = [sample for shard in shards for sample in _samples(shard)]
    kinds = {_INDEX.fullmatch(sample.label) is None: sample for sample in samples}
    if len(kinds) > 1:
        raise DataError(
            f"The sample {kinds[True].key!r} of {kinds[True].shard} is labelled with a wnid, "
            f"{kinds[False].key!r} of {kinds[False].shard} with a class index. "
            "Unpack them into two folders."
        )
    again = len({sample.key for sample in samples}) < len(samples)
    entries = [_entry(sample, with_shard=again) for sample in samples]
    return fill(
        output,
        entries,
        allowed={entry.name for entry in entries},
        marker=MARKER,
        about={"shards": [shard.name for shard in shards]},
        on_progress=on_progress,
    )


def _samples(shard: Path) -> list[_Sample]:
    """The samples of one shard, with their labels, in its order."""
    samples: dict[str, _Sample] = {}
    with open_tar(shard) as tar:
        for member in list_members(tar, shard):
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            stem, _, suffix = name.partition(".")
            if stem.startswith("__") and stem.endswith("__"):
                continue  # WebDataset's notes about the shard itself
            key = f"{folder}/{stem}" if folder else stem
            if not stem or key.startswith("."):
                raise DataError(
                    f"{shard} holds {member.name!r}, a hidden file, which has no key. "
                    "Pack it again without hidden files."
                )
            sample = samples.setdefault(key, _Sample(shard, key))
            if sample.files.setdefault(suffix.lower(), member) is not member:
                raise DataError(
                    f"{shard} holds two .{suffix.lower()} files of the sample {key!r}. "
                    "Pack it again, each key once."
                )
        for sample in samples.values():
            sample.label = _label(tar, sample)
    if not samples:
        raise DataNotFoundError(f"{shard} holds no samples. Name a WebDataset shard.")
    return list(samples.values())


def _image(sample: _Sample) -> tarfile.TarInfo:
    found = [sample.files[suffix] for suffix in _IMAGES if suffix in sample.files]
    if len(found) != 1:
        what = "two JPEGs" if found else f"no JPEG, only .{', .'.join(sorted(sample.files))}"
        raise DataError(
            f"The sample {sample.key!r} of {sample.shard} has {what}. "
            "Pack one .jpg or .jpeg file for each key."
        )
    return found[0]


def _label(tar: tarfile.TarFile, sample: _Sample) -> str:
    """A class index without leading zeros, or a wnid."""
    present = [suffix for suffix in _LABELS if suffix in sample.files]
    for suffix in present:
        content = read_member(tar, sample.files[suffix], LARGEST_TEXT)
        text = content.decode(errors="replace").strip()
        text = _from_json(text) if suffix == "json" else text
        if _INDEX.fullmatch(text):
            return str(int(text))
        if WNID.fullmatch(text) and suffix != "cls":
            return text
    what = f"no class index or wnid in its .{' or .'.join(present)}" if present else "no label"
    raise DataError(
        f"The sample {sample.key!r} of {sample.shard} has {what}. "
        "Pack a .cls file with its class index, or a .txt file with its wnid."
    )


def _from_json(text: str) -> str:
    """The wnid or the label in a sample's JSON, or nothing."""
    try:
        content = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(content, dict):
        return ""
    for name in ("wnid", "label"):
        value = content.get(name)
        if isinstance(value, str) or type(value) is int:  # True is no label
            return str(value).strip()
    return ""


def _entry(sample: _Sample, *, with_shard: bool) -> Entry:
    member = _image(sample)
    name = sample.key.replace("/", "_") + "." + member.name.rpartition(".")[2]
    if with_shard:
        name = f"{sample.shard.name.partition('.')[0]}_{name}"
    return Entry(f"{sample.label}/{name}", member.size, sample.shard, member)
