"""The images of a run: one ordered list of files, made once and shared by every loader.

No loader scans folders itself: two that disagree on order or on a hidden file would be scored
on different data. A sample's id is its index in this list.

A file that is no sound JPEG ends the run, with its name, or is left out for every loader alike and
named in the record (`skip`). No loader can be trusted to leave one out: some put another in its
place, some go on one short, and DALI cannot. So with `skip` every file is decoded once before the
run, unless it was before (see `jpeg/decode_all.py`).
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastbench.core.errors import CorruptImageError, DataNotFoundError, UsageError, did_you_mean
from fastbench.core.reading import read_regular, user_path
from fastbench.data.jpeg.decode_all import verify
from fastbench.data.jpeg.quick_check import Frame, check_frame
from fastbench.data.labels import WordSets
from fastbench.data.listing import Listing, digest_of, lines_of, list_images
from fastbench.data.set_aside import num_set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence

    from fastbench.core.config import RunConfig
    from fastbench.core.progress import Count

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is left out: its path below the root, and why in words.

    `loader` is the one that does not read it, though Pillow does; None where it is not sound.
    """

    name: str
    why: str
    loader: str | None = None


class Known(NamedTuple):
    """A file that was checked: it is the same while `stamp`, its size and its times, is."""

    stamp: tuple[int, int, int]
    frame: Frame


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The ordered samples of a run.

    `names[i]` is the path of sample i below `root` with forward slashes, `words[i]` what it is
    labelled with (its class folder, or the list's word; None without), `num_bytes[i]` its file
    size, `sizes[i]` its (width, height) in pixels. `unusual` has the samples that are stored in a
    rare way (see `jpeg/header.py`), `skipped` the files left out, `not_used` how many others lie
    there, by kind (see `folder_tree.py`). `digest` is the SHA-256 over names and file sizes, in
    hex, `contents` that over names, sizes and both ends of each file: a copy of the data set has
    the same. `identity` is also of the files' times and of all words: what was measured of these
    images holds for no others. `word_sets` has all words of the data set, also those without a
    sample in this run.
    """

    root: Path
    names: tuple[str, ...]
    words: tuple[str | None, ...]
    num_bytes: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    skipped: tuple[Skipped, ...]
    digest: str
    contents: str = ""
    identity: str = ""
    word_sets: WordSets | None = None
    unusual: frozenset[int] = frozenset()
    not_used: Mapping[str, int] = field(default_factory=dict)

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
    def octaves(self) -> dict[str, int]:
        """A histogram of the images' pixels: how many have 2**k or more and less than 2**(k+1)."""
        counts = Counter((width * height).bit_length() - 1 for width, height in self.sizes)
        return {f"2**{k}": counts[k] for k in range(min(counts), max(counts) + 1)}

    @property
    def classes(self) -> tuple[str, ...]:
        """The words that samples are labelled with, sorted; empty without labels."""
        return _sorted_words(self.words)


def scan(
    source: Path,
    root: Path | None = None,
    *,
    limit: int | None = None,
    only: Collection[str] | None = None,
    calibration: str | None = None,
    aside: bool = False,
    skip: bool = False,
    leave_out: Collection[Skipped] = (),
    known: MutableMapping[str, Known] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """List the images of a folder, a CSV file or a list (see `listing.py`), and check each.

    Args:
        source: The folder or the file.
        root: What the paths in the file are relative to; None for the file's own folder.
        limit: At most so many samples, evenly spread: the first are all of the first classes.
        only: The class folders, or a list's words, that are used.
        calibration: What `--calibration` sets aside of them (see `set_aside.py`).
        aside: List what was set aside, and not the others.
        skip: Leave out files that are no sound JPEGs; those not decoded before are decoded.
        leave_out: Sound files that are left out as well.
        known: Files that were checked before, by path; those that are checked now are added.
        on_progress: Called with (files decoded, files to decode) where any are.

    Raises:
        DataNotFoundError: There is nothing there, no JPEG in it, or none that is sound.
        CorruptImageError: A file is empty, cut off, or of another format; not with `skip`.
        DataError: The folder or the list contradicts itself.
        UsageError: `only` has a name that is not there, or `root` is no folder.
    """
    listing = list_images(user_path(source), root and user_path(root))
    chosen = list(range(len(listing.names)))
    every = asked = _sorted_words(listing.words)
    if only is not None:
        _check_only(only, every)
        chosen = [i for i in chosen if listing.words[i] in only]
        asked = _sorted_words(listing.words[i] for i in chosen)
    chosen = [chosen[i] for i in spread(len(chosen), limit)]
    if num_aside := num_set_aside(calibration, len(chosen)):
        out = {chosen[i] for i in spread(len(chosen), num_aside)}
        chosen = [i for i in chosen if (i in out) == aside]
    known = {} if known is None else known
    frames, refused = _check(
        listing, chosen, known, skip=skip, afresh=False, on_progress=on_progress
    )
    skipped = {i: Skipped(listing.names[i], why) for i, why in refused.items()}
    unread = {file.name: file for file in leave_out}
    skipped |= {i: unread[listing.names[i]] for i in frames if listing.names[i] in unread}
    frames = {i: frame for i, frame in frames.items() if i not in skipped}
    if not frames:
        first = skipped[chosen[0]]
        raise DataNotFoundError(
            f"None of the {len(chosen):,} files in {listing.root} is a sound JPEG: {first.name} "
            f"{first.why}. Name another folder with --data."
        )
    contents = digest_of(
        (f"{listing.names[i]}\0{frame.ends}", frame.num_bytes) for i, frame in frames.items()
    )
    _LOG.debug("%d of %d images listed in %s", len(frames), len(listing.names), listing.root)
    return Manifest(
        root=listing.root,
        names=tuple(listing.names[i] for i in frames),
        words=tuple(listing.words[i] for i in frames),
        num_bytes=tuple(frame.num_bytes for frame in frames.values()),
        sizes=tuple(frame.size for frame in frames.values()),
        skipped=tuple(skipped[i] for i in sorted(skipped)),
        digest=digest_of((listing.names[i], frame.num_bytes) for i, frame in frames.items()),
        contents=contents,
        identity=digest_of(
            [
                (contents, len(frames)),
                *((str(listing.words[i]), frame.modified_ns) for i, frame in frames.items()),
                *((word, 0) for word in every),
            ]
        ),
        word_sets=WordSets(
            every=every,
            asked=asked,
            are_folders=listing.is_tree,
            origin=listing.origin,
            why_none=listing.why_none,
        ),
        unusual=frozenset(i for i, frame in enumerate(frames.values()) if frame.is_unusual),
        not_used=listing.not_used,
    )


def check_all(
    source: Path, root: Path | None, on_progress: Callable[[int, int], None]
) -> tuple[int, tuple[Skipped, ...], Mapping[str, int]]:
    """Decode every file of a folder or a file's list, also those that were decoded before.

    Returns the number of files with a JPEG's name, those that are no sound JPEGs, and how many
    others lie there, by kind. Raises `DataNotFoundError` where there is none, `DataError` as `scan`
    does.
    """
    listing = list_images(user_path(source), root and user_path(root))
    every = range(len(listing.names))
    _, refused = _check(listing, every, {}, skip=True, afresh=True, on_progress=on_progress)
    bad = tuple(Skipped(listing.names[i], refused[i]) for i in refused)
    return len(every), bad, listing.not_used


def spread(num_samples: int, limit: int | None) -> list[int]:
    """Indices of at most `limit` samples, evenly spread; all of them without a limit."""
    if limit is None or limit >= num_samples:
        return list(range(num_samples))
    return [i * num_samples // limit for i in range(limit)]


def varied(sizes: Sequence[tuple[int, int]], limit: int) -> list[int]:
    """Indices of at most `limit` samples: half of them evenly spread, then one of each other size.

    Faults of geometry show at certain sizes alone, and most photographs have a common size.
    """
    chosen = set(spread(len(sizes), limit // 2))
    seen = {sizes[i] for i in chosen}
    others = sorted({size: i for i, size in enumerate(sizes) if size not in seen}.items())
    chosen.update(others[i][1] for i in spread(len(others), limit - len(chosen)))
    left = [i for i in range(len(sizes)) if i not in chosen]
    chosen.update(left[i] for i in spread(len(left), limit - len(chosen)))
    return sorted(chosen)


def _check(
    listing: Listing,
    chosen: Sequence[int],
    known: MutableMapping[str, Known],
    *,
    skip: bool,
    afresh: bool,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[dict[int, Frame], dict[int, str]]:
    """The frames of the sound files, and what is wrong with the others; by index, in order."""
    frames: dict[int, Frame] = {}
    refused: dict[int, str] = {}
    for i in chosen:
        try:
            frames[i] = frame_of(listing.root / listing.names[i], known)
        except CorruptImageError as error:
            if not skip:
                raise
            refused[i] = error.what
    if skip:
        names = [listing.names[i] for i in frames]
        found = verify(listing.root, names, afresh=afresh, on_progress=on_progress)
        for i, name in zip(list(frames), names, strict=True):
            if (why := found[name]) is not None:
                refused[i] = why
                del frames[i]
    return frames, dict(sorted(refused.items()))


def frame_of(path: Path, known: MutableMapping[str, Known]) -> Frame:
    """As `check_frame`, which reads the file; one that is known is only looked up."""
    try:
        status = path.stat()
    except OSError:  # `check_frame` says why
        return check_frame(path)
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    found = known.get(str(path))
    if found is None or found.stamp != stamp:
        found = known[str(path)] = Known(stamp, check_frame(path))
    return found.frame


def _check_only(only: Collection[str], present: tuple[str, ...]) -> None:
    for word in sorted(only):
        if word not in present:
            where = f"{len(present)} classes, such as {present[0]}" if present else "no classes"
            raise UsageError(
                f"--classes names {word!r}, which the data does not have."
                f"{did_you_mean(word, list(present))} It has {where}."
            )


def _sorted_words(words: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({word for word in words if word is not None}))


def find_images(
    config: RunConfig,
    count: Count,
    leave_out: Collection[Skipped] = (),
    known: MutableMapping[str, Known] | None = None,
    *,
    aside: bool = False,
) -> Manifest:
    """List the images that the options name, without the files of `leave_out`.

    With `aside` those that were set aside for a calibration. `known` is as in `scan`. The sample
    data are drawn where they are missing. Raises what `scan` raises, and `UsageError` for a list of
    classes that cannot be read.
    """
    only = _read_classes(user_path(config.classes)) if config.classes else None
    if config.data == "sample":
        from fastbench.data.sample.draw_all import ensure_sample

        source = ensure_sample(
            max(1000, config.limit or 0),
            on_progress=count(
                "drawing the sample images",
                "Drew {total:,} sample images in {seconds:.0f} s; they are kept for next time.",
            ),
        )
    else:
        source = Path(config.data)
    return scan(
        source,
        Path(config.data_root) if config.data_root else None,
        limit=config.limit,
        only=only,
        calibration=config.calibration,
        aside=aside,
        skip=config.on_error == "skip",
        leave_out=leave_out,
        known=known,
        on_progress=count("decoding every image once, to skip what is not sound"),
    )


def _read_classes(path: Path) -> frozenset[str]:
    try:
        names = lines_of(read_regular(path).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"The list of classes {path} cannot be read ({reason}). Give --classes a text file "
            f"with a class folder a line."
        ) from error
    if not names:
        raise UsageError(f"{path} names no classes. Give --classes a file with one a line.")
    return frozenset(names)
