"""WebDataset shards become class folders: every sample under its label, whole, and once."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from builders.archives import write_sparse, write_tar
from builders.images import draw
from builders.paths import contents, is_unfinished

from fastbench.cli.main import main, make_parser
from fastbench.core.errors import (
    CorruptImageError,
    DataError,
    DataNotFoundError,
    OutputError,
    UsageError,
)
from fastbench.data.dataset import scan
from fastbench.data.labels import ClassSpace, map_labels
from fastbench.data.unpack.webdataset_shards import MARKER, unpack_shards

JPEG = b"\xff\xd8\xff\xd9"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("pictures")
    return [draw(folder / f"{i}.jpg", (50 + i, 40)).read_bytes() for i in range(5)]


@pytest.fixture
def shards(tmp_path: Path, pictures: list[bytes]) -> list[Path]:
    """Two shards, 0-2 and 3-4, with class indices."""
    files = [{}, {}]
    for i, data in enumerate(pictures):
        files[i >= 3][f"{i:06d}.jpg"] = data
        files[i >= 3][f"{i:06d}.cls"] = f"{i % 2 * 17}\n".encode()
    return [write_tar(tmp_path / f"val-{i:02d}.tar", shard) for i, shard in enumerate(files)]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "val"


def names_of(tmp_path: Path, files: dict[str, bytes], suffix: str = ".tar") -> set[str]:
    """The names that one shard of these files unpacks to."""
    shard = write_tar(tmp_path / f"one{suffix}", files)
    return set(contents(unpack_shards([shard], tmp_path / "one")))


def test_shards_become_class_folders(
    shards: list[Path], output: Path, pictures: list[bytes]
) -> None:
    calls: list[tuple[int, int]] = []
    assert unpack_shards(shards, output, lambda *call: calls.append(call)) == output
    whole = {f"{i % 2 * 17}/{i:06d}.jpg": data for i, data in enumerate(pictures)}
    assert contents(output) == whole
    assert calls == [(done, 5) for done in range(6)]
    manifest = scan(output)
    assert json.loads((output / MARKER).read_text()) == {
        "version": 1,
        "num_images": 5,
        "num_expected": 5,
        "num_classes": 2,
        "digest": manifest.digest,
        "shards": ["val-00.tar", "val-01.tar"],
    }
    labels = map_labels(manifest.words, ClassSpace(num_classes=1000, is_imagenet=True))
    assert labels.indices == (0, 0, 0, 17, 17)
    calls.clear()
    unpack_shards(shards, output, lambda *call: calls.append(call))
    assert calls == []


@pytest.mark.parametrize(
    ("files", "label"),
    [
        ({"cls": b"007\n"}, "7"),
        ({"txt": b"n01440764\n"}, "n01440764"),
        ({"txt": b"3"}, "3"),
        ({"json": b'{"wnid": "n01440764", "label": 5}'}, "n01440764"),
        ({"json": b'{"label": 5, "width": 50}'}, "5"),
        ({"json": b'{"label": "n01440764"}'}, "n01440764"),
        ({"json": b'{"caption": "a fish"}', "txt": b"n01440764"}, "n01440764"),
        ({"cls": b"3", "json": b'{"wnid": "n01440764"}', "txt": b"a fish"}, "3"),
    ],
)
def test_where_a_label_is_read(tmp_path: Path, files: dict[str, bytes], label: str) -> None:
    sample = {"a.jpg": JPEG, **{f"a.{suffix}": data for suffix, data in files.items()}}
    assert names_of(tmp_path, sample) == {f"{label}/a.jpg"}


def test_keys_end_at_the_first_dot_of_the_name(tmp_path: Path) -> None:
    files = {
        "./v1.0/a.jpg": JPEG, "./v1.0/a.seg.jpg": JPEG, "./v1.0/a.cls": b"1",
        "b.JPEG": JPEG, "b.cls": b"1", "b.png": b"\x89PNG",
        "__shard__.json": b"{}",
    }  # fmt: skip
    assert names_of(tmp_path, files) == {"1/v1.0_a.jpg", "1/b.JPEG"}


def test_files_of_a_sample_need_not_be_neighbours(tmp_path: Path) -> None:
    files = {"a.cls": b"1", "b.cls": b"2", "b.jpeg": JPEG, "a.jpg": JPEG}
    assert names_of(tmp_path, files, ".tar.gz") == {"1/a.jpg", "2/b.jpeg"}


def test_keys_that_shards_use_again_carry_the_shards_name(tmp_path: Path, output: Path) -> None:
    sample = {"0.jpg": JPEG, "0.cls": b"1"}
    shards = [write_tar(tmp_path / f"s{i}.tar", sample) for i in range(2)]
    unpack_shards(shards, output)
    assert set(contents(output)) == {"1/s0_0.jpg", "1/s1_0.jpg"}
    (tmp_path / "other").mkdir()
    shards[1] = shards[0].rename(tmp_path / "other/s0.tar")
    shards[0] = write_tar(tmp_path / "s0.tar", sample)
    with pytest.raises(DataError, match=r"s0\.tar and .*s0\.tar would both become 1/s0_0\.jpg"):
        unpack_shards(shards, tmp_path / "new")


def test_an_interrupted_call_is_resumed(
    shards: list[Path], output: Path, pictures: list[bytes]
) -> None:
    def stop_at_four(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_shards(shards, output, stop_at_four)
    assert is_unfinished(output)
    untouched = {path: path.stat().st_mtime_ns for path in output.rglob("*.jpg")}
    calls: list[tuple[int, int]] = []
    unpack_shards(shards, output, lambda *call: calls.append(call))
    assert calls == [(4, 5), (5, 5)]
    assert sorted(contents(output).values()) == sorted(pictures)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


def test_shards_are_added_by_naming_all(shards: list[Path], output: Path) -> None:
    unpack_shards(shards[:1], output)
    unpack_shards(shards, output)
    assert len(contents(output)) == 5
    with pytest.raises(OutputError, match=r"holds '\w+/00000\d\.jpg', which does not belong"):
        unpack_shards(shards[:1], output)
    assert len(contents(output)) == 5


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": JPEG}, "The sample 'a' of .*one.tar has no label. Pack a .cls"),
        ({"a.jpg": JPEG, "a.cls": b"n01440764"}, "no class index or wnid in its .cls. Pack"),
        ({"a.jpg": JPEG, "a.cls": b"-1"}, "no class index or wnid in its .cls. Pack"),
        ({"a.jpg": JPEG, "a.json": b"{", "a.txt": b"a fish"}, "in its .json or .txt. Pack"),
        ({"a.jpg": JPEG, "a.json": b'{"label": true}'}, "no class index or wnid in its .json"),
        ({"a.jpg": JPEG, "a.txt": b"../../etc"}, "no class index or wnid in its .txt"),
        ({"a.png": b"", "a.cls": b"1"}, "'a' of .* has no JPEG, only .cls, .png. Pack one"),
        ({"a.jpg": JPEG, "a.jpeg": JPEG, "a.cls": b"1"}, "'a' of .* has two JPEGs. Pack one"),
        ({"a.jpg": JPEG, "./a.jpg": JPEG, "a.cls": b"1"}, "two .jpg files of the sample 'a'"),
        ({"../a.jpg": JPEG, "../a.cls": b"1"}, "'../a.jpg', a path that leads out of the arch"),
        ({"/a.jpg": JPEG, "/a.cls": b"1"}, "'/a.jpg', a path that leads out of the archive"),
        ({"._a.jpg": JPEG}, "holds '._a.jpg', a hidden file, which has no key"),
        ({".x/a.jpg": JPEG}, "holds '.x/a.jpg', a hidden file, which has no key"),
        (
            {"a.jpg": JPEG, "a.cls": b"1", "b.jpg": JPEG, "b.txt": b"n01440764"},
            "'b' of .* is labelled with a wnid, 'a' of .* with a class index. Unpack them",
        ),
    ],
)
def test_what_is_no_sample(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        names_of(tmp_path, files)
    assert not (tmp_path / "one").exists()


def test_what_is_too_large_is_not_read(tmp_path: Path, output: Path) -> None:
    for size, most in ((1 << 40, "1.1 GB"), (1 << 25, "16.8 MB")):
        shard = write_sparse(tmp_path / "a.tar", "a.cls", size)
        with pytest.raises(DataError, match=f"a.tar holds 'a.cls' of .*, where at most {most}"):
            unpack_shards([shard], output)


def test_shards_that_are_not_there(tmp_path: Path, shards: list[Path], output: Path) -> None:
    with pytest.raises(UsageError, match="Name at least one"):
        unpack_shards([], output)
    (tmp_path / "link.tar").symlink_to(shards[0])
    with pytest.raises(UsageError, match=r"named twice: .*val-00\.tar and .*link\.tar\. Name each"):
        unpack_shards([*shards, tmp_path / "link.tar"], output)
    with pytest.raises(DataNotFoundError, match=r"nowhere\.tar does not exist"):
        unpack_shards([*shards, tmp_path / "nowhere.tar"], output)
    with pytest.raises(DataNotFoundError, match="holds no samples"):
        unpack_shards([write_tar(tmp_path / "empty.tar", {})], output)
    assert not output.exists()


def test_a_truncated_shard_is_named_before_a_byte_is_written(
    shards: list[Path], output: Path
) -> None:
    with tarfile.open(shards[1]) as tar:
        last = tar.getmembers()[-1]
    shards[1].write_bytes(shards[1].read_bytes()[: last.offset])
    with pytest.raises(DataError, match=r"val-01\.tar is not a whole tar archive \(it breaks off"):
        unpack_shards(shards, output)
    assert not output.exists()


def test_a_damaged_image_is_named(tmp_path: Path, output: Path, pictures: list[bytes]) -> None:
    for data, message in ((pictures[0][:-300], "cannot be decoded"), (b"GIF8", "is not a JPEG")):
        shard = write_tar(tmp_path / "bad.tar", {"a.jpg": data, "a.cls": b"1"})
        with pytest.raises(CorruptImageError, match=rf"a\.jpg in .*bad\.tar {message}"):
            unpack_shards([shard], output)
        assert contents(output) == {}


def test_a_foreign_folder_is_refused(shards: list[Path], output: Path) -> None:
    (output / "0").mkdir(parents=True)
    (output / "0/000000.png").write_text("precious")
    with pytest.raises(OutputError, match=r"holds '0/000000\.png', which does not belong"):
        unpack_shards(shards, output)
    assert contents(output) == {"0/000000.png": b"precious"}


def test_a_full_disk(shards: list[Path], output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 4096})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"The images take 20\.5 kB, and .* has 4\.1 kB left"):
        unpack_shards(shards, output)
    assert contents(output) == {}


def test_a_shard_that_changes_between_the_looks(
    shards: list[Path], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content is checked again when it is read: the last shard is cut off meanwhile."""

    def cut(done: int, total: int) -> None:
        if done == 1:
            shards[1].write_bytes(shards[1].read_bytes()[:600])

    with pytest.raises(DataError, match=r"val-01\.tar is not a whole tar archive"):
        unpack_shards(shards, output, cut)
    assert len(contents(output)) == 3
    assert is_unfinished(output)


def test_the_command(shards: list[Path], output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["data", "shards", "--output", str(output)]
    assert main([*argv, *map(str, shards)]) == 0
    assert capsys.readouterr().out == f"5 images in 2 class folders.\n{output}\n"
    with pytest.raises(UsageError, match="required: FILE"):
        make_parser().parse_args(argv)


def test_shards_as_webdataset_writes_them(tmp_path: Path, output: Path) -> None:
    """Its TarWriter: USTAR, owner names, files of a sample in a row."""
    with tarfile.open(tmp_path / "wds.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for key in ("val/000000", "val/000001"):
            for suffix, data in (("cls", b"12"), ("jpg", JPEG)):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size, member.mode, member.uname, member.gname = len(data), 0o444, "u", "g"
                tar.addfile(member, io.BytesIO(data))
    unpack_shards([tmp_path / "wds.tar"], output)
    assert set(contents(output)) == {"12/val_000000.jpg", "12/val_000001.jpg"}
