"""How does ImageNet's validation set, as people have it, become class folders? Unpacked, once.

It is handed out as a flat archive of 50,000 JPEGs, and as a development kit that holds the labels:
line k of its ground truth is the ILSVRC2012_ID of image k, and its `meta.mat` says which wnid that
ID stands for. IDs follow no order of names, so guessing them would mislabel every image.

*What is planned.* The source is listed in full before a byte is written: each image's name, size
and folder. A name that is no validation image, a number that the ground truth does not reach, a
path that leads out of the archive and an archive that was cut off end it there. A partial copy is
legal, as an archive of fewer images or a folder of them; the marker says how many are there.

*What is written.* Each file gets a temporary name, then its own, so an interrupted call leaves
whole files only and the next one goes on from there. Nothing foreign is overwritten or deleted:
a folder that holds anything else is refused. Images from a folder are hard links where the file
system has them. Every image's first and last bytes are held against a JPEG's. The marker is
written last; its digest is the one that `manifest.scan` computes.

What it does not know: whether the images are ImageNet's. Their names and the labels are believed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import itertools
import json
import lzma
import os
import re
import shutil
import tarfile
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastbench.data.imagenet import WNID
from fastbench.data.manifest import JPEG_SUFFIXES, corrupt
from fastbench.errors import (
    CorruptImageError,
    DataError,
    DataNotFoundError,
    FastbenchError,
    OutputError,
    UsageError,
)
from fastbench.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["MARKER", "Entry", "fill", "list_members", "open_tar", "unpack_imagenet"]

MARKER: Final = "fastbench-imagenet.json"

_MARKER_VERSION: Final = 1
_IMAGE: Final = re.compile(r"ILSVRC2012_val_([0-9]{8})\.JPEG")
_DEVKIT: Final = "ILSVRC2012_devkit_t12"
_META: Final = "meta.mat"
_GROUND_TRUTH: Final = "ILSVRC2012_validation_ground_truth.txt"
_TEMPORARY: Final = re.compile(r"\.(.+)\.\d+\.tmp")
_TAR_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
# What a small file takes at least on the usual file systems.
_DISK_BLOCK: Final = 4096
_START_OF_IMAGE: Final = b"\xff\xd8\xff"
_END_OF_IMAGE: Final = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Entry:
    """An image to be: its path below the output folder, its bytes, and where they come from.

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


def unpack_imagenet(
    output: Path,
    *,
    archive: Path | None = None,
    images: Path | None = None,
    devkit: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make `<output>/<wnid>/ILSVRC2012_val_00000001.JPEG` and so on, or complete it.

    Args:
        output: The folder; made if it is not there.
        archive: `ILSVRC2012_img_val.tar`, or a tar archive of some of its images.
        images: A flat folder of those images, in place of the archive.
        devkit: `ILSVRC2012_devkit_t12.tar.gz`, or the folder that it unpacks to.
        on_progress: Called with (images that are there, images in the source), first before any
            is written; not called where all are there already.

    Returns:
        The output folder.

    Raises:
        UsageError: Not exactly one of `archive` and `images` is given.
        DataNotFoundError: The archive, the folder or the development kit is not there.
        DataError: They are cut off, or hold something else.
        CorruptImageError: An image is not a JPEG, or was cut off.
        OutputError: The output folder cannot be written, is too small or holds something else.
        FastbenchError: scipy, which reads `meta.mat`, is not installed.
    """
    if (archive is None) == (images is None):
        raise UsageError(
            "The images come from either an archive or a folder. Name one of them: "
            "--archive ILSVRC2012_img_val.tar or --images DIR."
        )
    wnids = _read_wnids(devkit)
    if archive is not None:
        entries = _entries_of_archive(archive, wnids)
        source = {"archive": archive.name}
    else:
        assert images is not None
        entries = _entries_of_folder(images, wnids)
        source = {"images": images.resolve().name}
    return fill(
        output,
        entries,
        allowed={_name(number, wnid) for number, wnid in enumerate(wnids, start=1)},
        marker=MARKER,
        about={**source, "devkit": devkit.resolve().name},
        on_progress=on_progress,
    )


# The development kit: which wnid is each image?


def _read_wnids(devkit: Path) -> list[str]:
    """The wnid of each validation image, image 1 first."""
    meta, ground_truth = _devkit_files(devkit)
    wnid_of = _read_synsets(meta, devkit)
    wnids: list[str] = []
    lines = ground_truth.decode(errors="replace").rstrip().split("\n")
    for number, text in enumerate(map(str.strip, lines), start=1):
        wnid = wnid_of.get(int(text)) if re.fullmatch("[0-9]{1,9}", text) else None
        if wnid is None:
            raise DataError(
                f"Line {number} of {_GROUND_TRUTH} in {devkit} is {text!r}, which is no "
                f"class's ID in {_META}. Use {_DEVKIT}.tar.gz as it was downloaded."
            )
        wnids.append(wnid)
    return wnids


def _devkit_files(devkit: Path) -> tuple[bytes, bytes]:
    """The content of `meta.mat` and of the ground truth, from an archive or a folder."""
    wanted = (_META, _GROUND_TRUTH)
    if not devkit.exists():
        raise DataNotFoundError(
            f"The development kit {devkit} does not exist. "
            f"Name {_DEVKIT}.tar.gz, or the folder that it unpacks to, with --devkit."
        )
    if devkit.is_dir():
        for folder in (devkit / "data", devkit / _DEVKIT / "data", devkit):
            paths = [folder / name for name in wanted]
            if all(path.is_file() for path in paths):
                with _reading(devkit):
                    return paths[0].read_bytes(), paths[1].read_bytes()
    else:
        with open_tar(devkit) as tar:
            found = {
                name: member
                for member in tar.getmembers()
                for name in wanted
                if member.isfile() and f"/{member.name}".endswith(f"/data/{name}")
            }
            if len(found) == len(wanted):
                return _read(tar, found[_META]), _read(tar, found[_GROUND_TRUTH])
    raise DataError(
        f"{devkit} does not hold data/{_META} and data/{_GROUND_TRUTH}. "
        f"Name {_DEVKIT}.tar.gz, or the folder that it unpacks to, with --devkit."
    )


def _read_synsets(meta: bytes, devkit: Path) -> dict[int, str]:
    """The wnid of each ILSVRC2012_ID that an image can have: those of synsets without children."""
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise FastbenchError(
            f"{_META} of the development kit cannot be read without scipy. "
            'Install it: pip install "fastbench[imagenet]".'
        ) from error
    try:
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True, variable_names=["synsets"])["synsets"]
        columns = (synsets[key].ravel() for key in ("ILSVRC2012_ID", "WNID", "num_children"))
        rows = [
            (int(number), str(wnid))
            for number, wnid, num_children in zip(*columns, strict=True)
            if int(num_children) == 0
        ]
    # loadmat has no error of its own: zlib's, struct's, numpy's and others come through.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0].strip("'\". ") or type(error).__name__
        raise DataError(
            f"{_META} in {devkit} is not the list of synsets of ILSVRC2012 ({reason}). "
            f"Use {_DEVKIT}.tar.gz as it was downloaded."
        ) from error
    wnid_of = dict(rows)
    numbered = sorted(number for number, _ in rows) == list(range(1, len(rows) + 1))
    wnids = set(wnid_of.values())
    if not numbered or len(wnids) < len(rows) or not all(map(WNID.fullmatch, wnids)):
        raise DataError(
            f"The classes of {_META} in {devkit} are not numbered from 1 with one wnid each. "
            f"Use {_DEVKIT}.tar.gz as it was downloaded."
        )
    return wnid_of


# The source: which images are there?


def _name(number: int, wnid: str) -> str:
    return f"{wnid}/ILSVRC2012_val_{number:08d}.JPEG"


def _entry(
    name: str, size: int, source: Path, member: tarfile.TarInfo | None, wnids: Sequence[str]
) -> Entry:
    match = _IMAGE.fullmatch(name)
    where = source if member else source.parent
    if match is None:
        raise DataError(
            f"{where} holds {name!r}, which is not an image of the ILSVRC2012 validation set. "
            "Those are named ILSVRC2012_val_00000001.JPEG and so on: name their archive or folder."
        )
    number = int(match[1])
    if not 1 <= number <= len(wnids):
        raise DataError(
            f"{where} holds {name!r}, while the development kit has labels for the images "
            f"1 to {len(wnids)}. Use the archive and the development kit of the same year."
        )
    return Entry(_name(number, wnids[number - 1]), size, source, member)


def _entries_of_archive(archive: Path, wnids: Sequence[str]) -> list[Entry]:
    with open_tar(archive) as tar:
        entries = [
            _entry(member.name.rpartition("/")[2], member.size, archive, member, wnids)
            for member in list_members(tar, archive)
        ]
    if not entries:
        raise DataNotFoundError(f"{archive} holds no images. Name ILSVRC2012_img_val.tar.")
    return entries


def _entries_of_folder(images: Path, wnids: Sequence[str]) -> list[Entry]:
    if not images.is_dir():
        what = "is not a folder" if images.exists() else "does not exist"
        raise DataNotFoundError(
            f"{images} {what}. Name the folder that holds ILSVRC2012_val_00000001.JPEG and so on."
        )
    with _reading(images), os.scandir(images) as files:
        # Lists and notes may lie beside the images; other images may not.
        entries = [
            _entry(file.name, file.stat().st_size, images / file.name, None, wnids)
            for file in files
            if os.path.splitext(file.name)[1].lower() in JPEG_SUFFIXES
            and not file.name.startswith(".")
            and not file.is_dir()
        ]
    if not entries:
        raise DataNotFoundError(
            f"No JPEG files in {images} itself. Name the folder that holds "
            "ILSVRC2012_val_00000001.JPEG and so on; class folders need no unpacking."
        )
    return sorted(entries, key=lambda entry: entry.source)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Map what reading a file or an archive can raise to a `DataError` that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}). "
            "Check its permissions, or copy or download it again."
        ) from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).partition("\n")[0].strip(" :.") or type(error).__name__
        raise DataError(
            f"{path} is not a whole tar archive ({reason}). Copy or download it again."
        ) from error


@contextlib.contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive, compressed or not; what goes wrong while it is open names it."""
    if not path.is_file():
        what = "is a folder, not an archive" if path.is_dir() else "does not exist"
        raise DataNotFoundError(f"{path} {what}. Name a tar archive.")
    with _reading(path), tarfile.open(path, "r:*") as tar:
        yield tar


def list_members(tar: tarfile.TarFile, path: Path) -> list[tarfile.TarInfo]:
    """All files of an archive, in its order.

    Raises `DataError` where the archive is cut off, or holds a path that leads out of it, a file
    twice, or anything but files and folders.
    """
    members = [member for member in tar.getmembers() if _is_file(member, path)]
    # tarfile takes a header that is cut off or damaged for the archive's end. A block of zeros is.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):
        last = f"after {members[-1].name}" if members else "at its start"
        raise DataError(
            f"{path} is not a whole tar archive (it breaks off {last}). Copy or download it again."
        )
    while tar.fileobj.read(_CHUNK):
        pass  # a compressed archive is held against its checksum at its very end
    name, times = next(iter(Counter(member.name for member in members).most_common(1)), ("", 0))
    if times > 1:
        raise DataError(f"{path} holds {name!r} {times} times. Pack it again, each file once.")
    return members


def _is_file(member: tarfile.TarInfo, path: Path) -> bool:
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise DataError(
            f"{path} holds {member.name!r}, a path that leads out of the archive. "
            "Do not trust it: nothing was unpacked."
        )
    if not (member.isfile() or member.isdir()):
        raise DataError(
            f"{path} holds {member.name!r}, which is a link or a device, not a file. "
            "Pack the files themselves (tar --dereference --hard-dereference)."
        )
    return member.isfile()


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # not a folder, a link or a device
    return file.read()


def _contents(entries: Iterable[Entry]) -> Generator[tuple[Entry, bytes]]:
    """The bytes of each image in an archive, in order; each archive is opened once."""
    for source, group in itertools.groupby(entries, key=lambda entry: entry.source):
        with open_tar(source) as tar:
            for entry in group:
                assert entry.member is not None
                yield entry, _read(tar, entry.member)


def _check_jpeg(file: BinaryIO, entry: Entry) -> None:
    """Hold an image's size, its first and its last bytes against the plan and a JPEG's."""
    head = file.read(len(_START_OF_IMAGE))
    size = file.seek(0, os.SEEK_END)
    if size != entry.size:
        raise DataError(f"{entry.origin} changed while it was read. Run again when it is at rest.")
    if head != _START_OF_IMAGE:
        what = "is not a JPEG file" if size else "is empty (0 bytes)"
        raise CorruptImageError(f"{entry.origin} {what}. Copy or download it again.")
    file.seek(-len(_END_OF_IMAGE), os.SEEK_END)
    if file.read() == _END_OF_IMAGE:
        return
    # Some files have bytes after the marker and are sound: those are decoded.
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
    # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and others.
    except Exception as error:
        raise corrupt(entry.origin, error) from error


# The output: what is there, and what is missing?


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

    `allowed` are the names that the folder may hold, those of `entries` among them; the set is
    complete when it holds all of them. `about` goes into the marker as it is.

    Raises what `unpack_imagenet` does of the images and the output.
    """
    twin, times = Counter(entry.name for entry in entries).most_common(1)[0]
    if times > 1:
        origins = [entry.origin for entry in entries if entry.name == twin]
        raise DataError(
            f"{origins[0]} and {origins[1]} would both become {twin}. Leave one of them out."
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        with _locked(output):
            _fill(output, entries, allowed, marker, about, on_progress)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"The images cannot be written to {output}: {reason}. "
            "Free some space there, or name a folder that you may write to."
        ) from error
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
    if not missing and _read_json(output / marker) == wanted:
        return
    in_archives = [entry for entry in missing if entry.member is not None]
    files = [entry for entry in missing if entry.member is None]
    if not files or not _can_link(files[0].source, output / marker):
        _check_space(output, missing)
    # While files change, no marker may vouch for them.
    _remove(output / marker)
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
            with _whole(output / entry.name) as temporary:
                temporary.write_bytes(data)
            report(1)
    for entry in files:
        _place_file(entry, output / entry.name)
        report(1)
    # The marker vouches for what lies there, not for what was meant to.
    found = _marker_of(_listing(output, allowed, marker), allowed, about)
    if found != wanted:
        raise OutputError(
            f"The files in {output} changed while they were written. "
            "Run again when nothing else writes there."
        )
    with _whole(output / marker) as temporary:
        temporary.write_text(json.dumps(found, indent=1))


def _marker_of(
    sizes: dict[str, int], allowed: Collection[str], about: dict[str, object]
) -> dict[str, object]:
    digest = hashlib.sha256()
    for name, size in sorted(sizes.items()):
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    return {
        "version": _MARKER_VERSION,
        "num_images": len(sizes),
        "num_expected": len(allowed),
        "num_classes": len({name.partition("/")[0] for name in sizes}),
        "digest": digest.hexdigest(),
        **about,
    }


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _listing(output: Path, allowed: Collection[str], marker: str) -> dict[str, int]:
    """{name: size} of the images that lie there; removes what a killed process was writing.

    Raises `OutputError` where anything else lies there.
    """
    folders = {name.partition("/")[0] for name in allowed}
    sizes: dict[str, int] = {}
    left_over: list[Path] = []
    for name, size in _walk(output, folders):
        folder, _, file = name.rpartition("/")
        match = _TEMPORARY.fullmatch(file)
        if name in allowed and size is not None:
            sizes[name] = size
        elif match and (match[1] == marker if not folder else f"{folder}/{match[1]}" in allowed):
            left_over.append(output / name)
        elif name != marker:
            raise OutputError(
                f"{output} holds {name!r}, which does not belong to what is unpacked there. "
                "Name an empty or a new folder."
            )
    for path in left_over:
        _remove(path)
    return sizes


def _walk(output: Path, folders: Collection[str]) -> Iterator[tuple[str, int | None]]:
    """The names below the output folder; sizes of plain files, None for all else."""
    with os.scandir(output) as entries:
        for entry in entries:
            # A link in a class folder's place could lead anywhere.
            if entry.name in folders and entry.is_dir(follow_symlinks=False):
                with os.scandir(entry.path) as files:
                    for file in files:
                        plain = file.is_file(follow_symlinks=False)
                        yield f"{entry.name}/{file.name}", file.stat().st_size if plain else None
            else:
                yield entry.name, None


def _is_there(output: Path, entry: Entry, sizes: dict[str, int]) -> bool:
    size = sizes.get(entry.name)
    # A rename is atomic, but a computer that loses its power may leave the file empty.
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


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Let one process at a time write into the folder; the lock goes when its holder does."""
    handle = os.open(output, os.O_RDONLY)
    try:
        # Some network file systems know no locks. Two calls then write the same bytes twice.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder, renamed to `path` where the block comes to its end."""
    temporary = _temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


def _linked(source: Path, path: Path) -> bool:
    """Try to make `path` a hard link to `source`: they must be on one disk, and links allowed."""
    try:
        # To the file itself: a link to a link would break when the folder of links goes.
        os.link(os.path.realpath(source), path)
    except OSError:
        return False
    return True


def _can_link(source: Path, path: Path) -> bool:
    temporary = _temporary_name(path)
    try:
        return _linked(source, temporary)
    finally:
        _remove(temporary)


def _place_file(entry: Entry, path: Path) -> None:
    """Hard link an image into its class folder where possible, else copy it."""
    with _reading(entry.source), open(entry.source, "rb") as file:
        _check_jpeg(file, entry)
    with _whole(path) as temporary:
        if not _linked(entry.source, temporary):
            with _reading(entry.source):
                data = entry.source.read_bytes()
            temporary.write_bytes(data)
