"""ImageNet's validation set as people have it: an archive or a folder, and a development kit."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.archives import write_sparse, write_tar
from builders.devkit import (
    DATA,
    FOLDERS,
    GROUND_TRUTH,
    TRUTH_NAME,
    image_name,
    meta_mat,
    synsets,
    truth,
    write_devkit,
)
from builders.images import draw
from builders.paths import contents, is_unfinished

from fastbench.cli.main import main, make_parser
from fastbench.core.atomic_files import locked
from fastbench.core.errors import (
    CorruptImageError,
    DataError,
    DataNotFoundError,
    OutputError,
    UsageError,
)
from fastbench.data.dataset import scan
from fastbench.data.imagenet import wnid_index
from fastbench.data.labels import ClassSpace, map_labels
from fastbench.data.unpack.imagenet_archive import MARKER, unpack_imagenet


def class_path(number: int) -> str:
    return f"{FOLDERS[number - 1]}/{image_name(number)}"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of each validation image, by name."""
    folder = tmp_path_factory.mktemp("pictures")
    names = [image_name(number) for number in range(1, 1 + len(GROUND_TRUTH))]
    return {name: draw(folder / name, (60 + i, 50)).read_bytes() for i, name in enumerate(names)}


@pytest.fixture
def archive(tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    return write_tar(tmp_path / "ILSVRC2012_img_val.tar", pictures)


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path)


@pytest.fixture
def images(tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "val"


@pytest.fixture
def whole(pictures: dict[str, bytes]) -> dict[str, bytes]:
    """What the output folder should hold, but for the marker."""
    return {class_path(i): data for i, data in enumerate(pictures.values(), start=1)}


def marker_of(output: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((output / MARKER).read_text())
    return content


def test_an_archive_becomes_class_folders(
    archive: Path, devkit: Path, output: Path, whole: dict[str, bytes]
) -> None:
    calls: list[tuple[int, int]] = []
    made = unpack_imagenet(
        output, archive=archive, devkit=devkit, on_progress=lambda *call: calls.append(call)
    )
    assert made == output
    assert contents(output) == whole
    assert calls == [(done, 6) for done in range(7)]
    manifest = scan(output)
    assert marker_of(output) == {
        "version": 1,
        "num_images": 6,
        "num_expected": 6,
        "num_classes": 4,
        "digest": manifest.digest,
        "archive": "ILSVRC2012_img_val.tar",
        "devkit": "ILSVRC2012_devkit_t12.tar.gz",
    }


def test_the_models_labels_are_the_ground_truths(archive: Path, devkit: Path, output: Path) -> None:
    manifest = scan(unpack_imagenet(output, archive=archive, devkit=devkit))
    labels = map_labels(manifest.words, ClassSpace(num_classes=1000, is_imagenet=True)).indices
    assert labels is not None
    by_number = {
        int(name[-13:-5]): label for name, label in zip(manifest.names, labels, strict=True)
    }
    assert by_number == {i: wnid_index()[wnid] for i, wnid in enumerate(FOLDERS, start=1)}
    assert by_number[2] == 278


def test_a_second_call_touches_nothing(archive: Path, devkit: Path, output: Path) -> None:
    unpack_imagenet(output, archive=archive, devkit=devkit)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    calls: list[tuple[int, int]] = []
    unpack_imagenet(
        output, archive=archive, devkit=devkit, on_progress=lambda *call: calls.append(call)
    )
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before
    assert calls == []


def test_a_folder_becomes_class_folders_of_hard_links(
    images: Path, devkit: Path, output: Path, whole: dict[str, bytes]
) -> None:
    (images / "synset_words.txt").write_text("n01440764 tench")
    (images / "._ILSVRC2012_val_00000001.JPEG").write_bytes(b"resource fork")
    unpack_imagenet(output, images=images, devkit=devkit)
    assert contents(output) == whole
    for number in range(1, 7):
        assert (output / class_path(number)).samefile(images / image_name(number))
    assert marker_of(output)["images"] == "flat"


def test_a_folder_is_copied_where_links_are_not_to_be_had(
    images: Path,
    devkit: Path,
    output: Path,
    whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    unpack_imagenet(output, images=images, devkit=devkit)
    assert contents(output) == whole
    assert not (output / class_path(1)).samefile(images / image_name(1))


def test_a_folder_of_links_is_linked_to_the_files_themselves(
    images: Path, devkit: Path, output: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for path in images.iterdir():
        (links / path.name).symlink_to(path)
    unpack_imagenet(output, images=links, devkit=devkit)
    assert not any(path.is_symlink() for path in output.rglob("*"))
    assert contents(output) == whole
    (links / image_name(1)).unlink()
    (links / image_name(1)).symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        unpack_imagenet(tmp_path / "other", images=links, devkit=devkit)


@pytest.mark.parametrize("place", ["", "..", "data"])
def test_an_unpacked_devkit(archive: Path, tmp_path: Path, output: Path, place: str) -> None:
    folder = tmp_path / "ILSVRC2012_devkit_t12"
    (folder / "data").mkdir(parents=True)
    (folder / "data/meta.mat").write_bytes(meta_mat())
    (folder / "data" / TRUTH_NAME).write_bytes(truth().replace(b"\n", b"\r\n"))
    unpack_imagenet(output, archive=archive, devkit=folder / place)
    assert len(contents(output)) == 6


def test_an_interrupted_call_is_resumed(
    archive: Path, devkit: Path, output: Path, whole: dict[str, bytes]
) -> None:
    def stop_at_three(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_imagenet(output, archive=archive, devkit=devkit, on_progress=stop_at_three)
    assert is_unfinished(output)
    there = contents(output)
    assert len(there) == 3
    assert there.items() <= whole.items()
    untouched = {path: path.stat().st_mtime_ns for path in output.rglob("*.JPEG")}
    calls: list[tuple[int, int]] = []
    unpack_imagenet(
        output, archive=archive, devkit=devkit, on_progress=lambda *call: calls.append(call)
    )
    assert contents(output) == whole
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert calls == [(3, 6), (4, 6), (5, 6), (6, 6)]


def test_ctrl_c_within_a_file_leaves_no_part_of_it(
    archive: Path, devkit: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def stop(path: Path, data: bytes) -> int:
        write(path, data[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(output) == {}


def test_what_a_killed_process_left_is_removed(
    archive: Path, devkit: Path, output: Path, whole: dict[str, bytes]
) -> None:
    unpack_imagenet(output, archive=archive, devkit=devkit)
    (output / MARKER).unlink()
    path = output / class_path(2)
    path.rename(path.with_name(f".{path.name}.123.tmp"))
    (output / f".{MARKER}.123.tmp").write_text("{")
    (output / class_path(3)).write_bytes(b"")  # as a loss of power may leave it
    unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(output) == whole


def test_a_partial_archive_is_legal(
    tmp_path: Path, devkit: Path, output: Path, pictures: dict[str, bytes], whole: dict[str, bytes]
) -> None:
    names = list(pictures)
    first = write_tar(tmp_path / "first.tar", {f"./{n}": pictures[n] for n in names[:2]})
    unpack_imagenet(output, archive=first, devkit=devkit)
    assert contents(output) == {class_path(i): whole[class_path(i)] for i in (1, 2)}
    assert [marker_of(output)[key] for key in ("num_images", "num_expected")] == [2, 6]
    # The rest of them later, from an archive with a folder in it.
    rest = write_tar(tmp_path / "rest.tar", {f"val/{n}": pictures[n] for n in names[2:]})
    unpack_imagenet(output, archive=rest, devkit=devkit)
    assert contents(output) == whole
    assert marker_of(output)["num_images"] == 6
    assert marker_of(output)["digest"] == scan(output).digest


def test_a_compressed_archive(
    tmp_path: Path, devkit: Path, output: Path, pictures: dict[str, bytes], whole: dict[str, bytes]
) -> None:
    archive = write_tar(tmp_path / "val.tar.gz", pictures)
    unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(output) == whole


def test_exactly_one_source(archive: Path, images: Path, devkit: Path, output: Path) -> None:
    for sources in ({}, {"archive": archive, "images": images}):
        with pytest.raises(UsageError, match="either an archive or a folder"):
            unpack_imagenet(output, devkit=devkit, **sources)
    assert not output.exists()


@pytest.mark.parametrize("name", ["../evil.JPEG", f"../{image_name(1)}", f"/{image_name(1)}",
                                  f"val/../../{image_name(1)}"])  # fmt: skip
def test_a_path_that_leads_out_is_refused(
    tmp_path: Path, devkit: Path, output: Path, pictures: dict[str, bytes], name: str
) -> None:
    archive = write_tar(tmp_path / "evil.tar", {**pictures, name: b"\xff\xd8\xff"})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="leads out of the archive"):
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(
    tmp_path: Path, devkit: Path, output: Path, kind: bytes
) -> None:
    member = tarfile.TarInfo(image_name(1))
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        tar.addfile(member)
    with pytest.raises(DataError, match="a link or a device"):
        unpack_imagenet(output, archive=tmp_path / "links.tar", devkit=devkit)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ILSVRC2012_test_00000001.JPEG", "not an image of the ILSVRC2012 validation set"),
        ("notes.txt", "not an image of the ILSVRC2012 validation set"),
        (image_name(7), "has labels for the images 1 to 6"),
        (image_name(0), "has labels for the images 1 to 6"),
        (f"val/{image_name(1)}", "would both become n15075141/ILSVRC2012_val_00000001.JPEG"),
    ],
)
def test_what_does_not_belong_in_the_archive(
    tmp_path: Path,
    devkit: Path,
    output: Path,
    pictures: dict[str, bytes],
    name: str,
    message: str,
) -> None:
    archive = write_tar(tmp_path / "other.tar", {**pictures, name: b"\xff\xd8\xff"})
    with pytest.raises(DataError, match=message) as caught:
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert str(archive) in str(caught.value)
    assert not output.exists()


def test_other_images_in_the_folder(images: Path, devkit: Path, output: Path) -> None:
    (images / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"flat holds 'cat\.jpg', which is not an image of"):
        unpack_imagenet(output, images=images, devkit=devkit)


def test_an_image_twice(tmp_path: Path, devkit: Path, output: Path) -> None:
    archive = tmp_path / "twice.tar"
    with tarfile.open(archive, "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo(image_name(1)))
    with pytest.raises(DataError, match=r"00000001\.JPEG' 2 times\. Pack it again"):
        unpack_imagenet(output, archive=archive, devkit=devkit)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_truncated_archive_is_named_wherever_it_ends(
    tmp_path: Path, devkit: Path, output: Path, pictures: dict[str, bytes], suffix: str
) -> None:
    archive = write_tar(tmp_path / f"val{suffix}", pictures)
    data = archive.read_bytes()
    # Within an image, a header, the padding, and exactly before a header.
    with tarfile.open(archive) as tar:
        third = tar.getmembers()[2]
    ends = [third.offset_data + 100, third.offset + 77, third.offset - 1, third.offset]
    if suffix == ".tar.gz":
        ends = [len(data) // 2, len(data) - 4]
    for end in ends:
        archive.write_bytes(data[:end])
        with pytest.raises(DataError, match=r"is not a whole tar archive \(.+\)\. Copy or") as e:
            unpack_imagenet(output, archive=archive, devkit=devkit)
        assert str(archive) in str(e.value)
    assert not output.exists()


@pytest.mark.parametrize("data", [b"", b"<html>Please log in</html>" * 99])
def test_what_is_no_archive(tmp_path: Path, devkit: Path, output: Path, data: bytes) -> None:
    (tmp_path / "val.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"val\.tar is not a whole tar archive"):
        unpack_imagenet(output, archive=tmp_path / "val.tar", devkit=devkit)


def test_sources_that_are_not_there(
    tmp_path: Path, archive: Path, devkit: Path, output: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(DataNotFoundError, match=r"nowhere does not exist\. Name a tar"):
        unpack_imagenet(output, archive=nowhere, devkit=devkit)
    with pytest.raises(DataNotFoundError, match=r"is a folder, not an archive"):
        unpack_imagenet(output, archive=tmp_path, devkit=devkit)
    with pytest.raises(DataNotFoundError, match=r"nowhere does not exist\. Name the folder"):
        unpack_imagenet(output, images=nowhere, devkit=devkit)
    with pytest.raises(DataNotFoundError, match=r"is not a folder\. Name the folder"):
        unpack_imagenet(output, images=archive, devkit=devkit)
    with pytest.raises(DataNotFoundError, match=r"development kit .*nowhere does not exist"):
        unpack_imagenet(output, archive=archive, devkit=nowhere)
    empty = write_tar(tmp_path / "empty.tar", {})
    with pytest.raises(DataNotFoundError, match="holds no images"):
        unpack_imagenet(output, archive=empty, devkit=devkit)
    nowhere.mkdir()
    with pytest.raises(DataNotFoundError, match="class folders need no unpacking"):
        unpack_imagenet(output, images=nowhere, devkit=devkit)
    assert not output.exists()


@pytest.mark.parametrize("source", ["archive", "images"])
@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"\x89PNG\r\n\x1a\n", "is not a JPEG file"),
        (None, "cannot be decoded .*truncated"),
    ],
)
def test_a_damaged_image_is_named(
    tmp_path: Path,
    devkit: Path,
    output: Path,
    images: Path,
    pictures: dict[str, bytes],
    source: str,
    damaged: bytes | None,
    message: str,
) -> None:
    data = pictures[image_name(4)][:-300] if damaged is None else damaged
    (images / image_name(4)).write_bytes(data)
    archive = write_tar(tmp_path / "damaged.tar", {**pictures, image_name(4): data})
    sources = {"archive": archive} if source == "archive" else {"images": images}
    with pytest.raises(CorruptImageError, match=rf"00000004\.JPEG.* {message}") as caught:
        unpack_imagenet(output, devkit=devkit, **sources)
    assert str(sources[source]) in str(caught.value)
    assert str(caught.value).endswith(" Copy or download it again.")  # nothing is skipped here
    # The sound ones before it are kept; the damaged one is not there.
    assert set(contents(output)) == {class_path(i) for i in (1, 2, 3)}
    assert is_unfinished(output)


def test_bytes_after_the_end_are_harmless(
    tmp_path: Path, devkit: Path, output: Path, pictures: dict[str, bytes]
) -> None:
    data = pictures[image_name(1)] + b"camera notes"
    archive = write_tar(tmp_path / "notes.tar", {image_name(1): data})
    unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(output) == {class_path(1): data}


WRONG_DEVKITS = {
    "another year's": (
        meta_mat(synsets(id_name="ILSVRC2010_ID")), None,
        r"meta\.mat in .* is not the list of synsets .*ILSVRC2012_ID",
    ),
    "another variable": (meta_mat(name="classes"), None, "not the list of synsets .*synsets"),
    "no MATLAB file": (b"not found" * 40, None, "is not the list of synsets"),
    "an empty file": (b"", None, "is not the list of synsets"),
    "a cut MATLAB file": (meta_mat()[:-90], None, "is not the list of synsets"),
    "leaves with gaps": (meta_mat(synsets({1: "n01440764", 3: "n02119789"})), None, "numbered"),
    "a wnid twice": (meta_mat(synsets({1: "n01440764", 2: "n01440764"})), None, "numbered"),
    "names for wnids": (meta_mat(synsets({1: "tench", 2: "n02119789"})), None, "numbered"),
    "an inner node's label": (None, b"3\n1\n5\n", "Line 3 of ILSVRC2012_val.* is '5', which is no"),
    "text for labels": (None, b"3\nn01440764\n", "Line 2 .* is 'n01440764', which is no class's"),
    "no labels": (None, b"", "Line 1 .* is '', which is no class's ID"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_DEVKITS)
def test_a_wrong_devkit(archive: Path, tmp_path: Path, output: Path, case: str) -> None:
    meta, labels, message = WRONG_DEVKITS[case]
    devkit = write_devkit(tmp_path, meta, labels)
    with pytest.raises(DataError, match=message) as caught:
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert str(caught.value).endswith("Use ILSVRC2012_devkit_t12.tar.gz as it was downloaded.")
    assert not output.exists()


def test_what_is_too_large_is_not_read(tmp_path: Path, devkit: Path, output: Path) -> None:
    image = write_sparse(tmp_path / "images.tar", image_name(1), 1 << 40)
    meta = write_sparse(tmp_path / "kit.tar", f"{DATA}/meta.mat", 1 << 40)
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as bomb, image.open("rb") as start:
        bomb.write(start.read(1 << 20))
    said = "'.*' of 1.1 TB, where at most 1.1 GB are read"
    for archive in (image, tmp_path / "bomb.tar.gz"):
        with pytest.raises(DataError, match=said):
            unpack_imagenet(output, archive=archive, devkit=devkit)
    with tarfile.open(meta, "a") as tar:
        tar.addfile(tarfile.TarInfo(f"{DATA}/ILSVRC2012_validation_ground_truth.txt"))
    with pytest.raises(DataError, match=r"where at most 16\.8 MB are read"):
        unpack_imagenet(output, archive=image, devkit=meta)
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        name = write_sparse(tmp_path / "name.tar", "a", 1 << 40, kind)
        with pytest.raises(DataError, match=r"name\.tar is not a whole tar archive"):
            unpack_imagenet(output, archive=name, devkit=devkit)
    assert not output.exists()


def test_an_archive_or_a_folder_in_the_devkits_place(
    archive: Path, tmp_path: Path, images: Path, output: Path
) -> None:
    for wrong in (archive, images):
        with pytest.raises(DataError, match=r"does not hold data/meta\.mat and .*--devkit\."):
            unpack_imagenet(output, archive=archive, devkit=wrong)
    kit = write_devkit(tmp_path)
    kit.write_bytes(kit.read_bytes()[:200])
    with pytest.raises(DataError, match=r"t12\.tar\.gz is not a whole tar archive"):
        unpack_imagenet(output, archive=archive, devkit=kit)


@pytest.fixture
def tiny_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(100_000, 90_000, 10_000))
    return


@pytest.mark.usefixtures("tiny_disk")
def test_a_disk_that_is_too_small_is_named_first(
    archive: Path, images: Path, devkit: Path, output: Path
) -> None:
    with pytest.raises(OutputError, match=r"take 2\d\.\d kB, and .*val has 10\.0 kB left\. Free"):
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(output) == {}
    # Links take no space.
    unpack_imagenet(output, images=images, devkit=devkit)
    assert len(contents(output)) == 6


def test_a_disk_that_fills_up(
    archive: Path, devkit: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def fill_up(path: Path, data: bytes) -> int:
        if "00000003" in path.name:
            write(path, data[:100])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OutputError, match=r"cannot be written to .*\(No space left on device\)\."):
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert set(contents(output)) == {class_path(1), class_path(2)}
    assert is_unfinished(output)


@pytest.mark.parametrize("name", ["notes.txt", "n99999999/a.JPEG", "n01440764/mine.jpg",
                                  f"n01440764/{image_name(1)}", ".hidden"])  # fmt: skip
def test_a_foreign_folder_is_refused(archive: Path, devkit: Path, output: Path, name: str) -> None:
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text("precious")
    with pytest.raises(OutputError, match=r"holds '.*', which does not belong .* Name an empty"):
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(output) == {name: b"precious"}


def test_an_image_of_another_size_is_not_overwritten(
    archive: Path, devkit: Path, output: Path
) -> None:
    (output / class_path(1)).parent.mkdir(parents=True)
    (output / class_path(1)).write_bytes(b"made smaller")
    with pytest.raises(OutputError, match=r"00000001\.JPEG has 12 bytes, but .* Move it away"):
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(output) == {class_path(1): b"made smaller"}


def test_a_linked_class_folder_is_not_followed(
    archive: Path, devkit: Path, output: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    output.mkdir()
    (output / "n01440764").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="holds 'n01440764', which does not belong"):
        unpack_imagenet(output, archive=archive, devkit=devkit)
    assert contents(tmp_path / "elsewhere") == {}


def test_an_unwritable_output_is_named(archive: Path, devkit: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written to .*tar/val \(Not a directory\)\."):
        unpack_imagenet(archive / "val", archive=archive, devkit=devkit)
    with pytest.raises(OutputError, match="cannot be written to"):
        unpack_imagenet(devkit, archive=archive, devkit=devkit)


def test_the_command(
    archive: Path,
    images: Path,
    devkit: Path,
    output: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--devkit", str(devkit), "--output", str(output)]
    assert main(["data", "imagenet", "--archive", str(archive), *options]) == 0
    assert capsys.readouterr().out == f"6 images in 4 class folders.\n{output}\n"
    (images / image_name(1)).unlink()
    options[-1] = str(tmp_path / "part")
    assert main(["data", "imagenet", "--images", str(images), *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith("5 of 6 images in 3 class folders (a partial copy).\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--devkit", "a"], r"--archive --images is required\. See: fastbench data imagenet"),
        (["--archive", "a", "--images", "b", "--devkit", "c"], "not allowed with"),
        (["--archive", "a"], "required: --devkit"),
    ],
)
def test_a_wrong_command_line(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_parser().parse_args(["data", "imagenet", *argv, "--output", "out"])


def test_two_calls_at_once_wait_for_each_other(
    archive: Path, devkit: Path, output: Path, whole: dict[str, bytes]
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from fastbench.data.unpack.imagenet_archive import unpack_imagenet\n"
        "output, archive, devkit = map(Path, sys.argv[1:])\n"
        "unpack_imagenet(output, archive=archive, devkit=devkit)\n"
    )
    output.mkdir()
    with locked(output):
        other = subprocess.Popen([sys.executable, "-c", code, output, archive, devkit])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1.5)
        assert contents(output) == {}
    assert other.wait(30) == 0
    assert contents(output) == whole
