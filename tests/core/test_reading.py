"""Only regular files are read: a FIFO, a device or a socket is refused, and nothing waits."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from builders.command_line import sentence
from builders.paths import GOLDEN

from fastbench.cli.main import main
from fastbench.core.atomic_files import json_or_none
from fastbench.core.config import RunConfig
from fastbench.core.errors import FastbenchError, UsageError
from fastbench.core.reading import read_regular, user_path
from fastbench.data.dataset import find_images, scan
from fastbench.data.jpeg.quick_check import check_frame
from fastbench.models.registry import files_of, load_model
from fastbench.records.store import read_record
from fastbench.report.html.page import _packed
from fastbench.report.read import read_rows
from fastbench.runner.options_file import read_options

RECORD = GOLDEN / "record-v8.json"


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A read that waits for ever fails in place of the whole suite."""

    def fail(number: int, frame: FrameType | None) -> None:
        raise AssertionError("a read waits for ever")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # its address has 107 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(before)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS = {
    "fifo": (make_fifo, "it is not a regular file"),
    "socket": (make_socket, "it is not a regular file"),
    "device": (make_device, "it is not a regular file"),
    "folder": (Path.mkdir, "Is a directory"),
    "loop": (lambda path: path.symlink_to(path.name), "Too many levels"),
}


def classes(path: Path) -> object:
    return find_images(RunConfig(classes=str(path)), lambda *_: lambda *_: None)


READERS: dict[str, Callable[[Path], object]] = {
    "a record": read_record,
    "a record in a page": _packed,
    "options": read_options,
    "classes": classes,
    "an image": check_frame,
    "a list": lambda path: scan(path.rename(path.with_name("list"))),
    "weights": lambda path: load_model("squeezenet1_1", str(path.rename(path.with_suffix(".pth")))),
    "a model": lambda path: load_model(str(path.rename(path.with_suffix(".pt2")))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_refuses_what_is_no_file(kind: str, tmp_path: Path) -> None:
    make, why = KINDS[kind]
    for number, (what, read) in enumerate(READERS.items()):
        path = tmp_path / f"{number}.jpg"
        make(path)
        # A link that is renamed leads nowhere, and a folder is data.
        said = "" if what in ("a list", "weights", "a model") else why
        with pytest.raises(FastbenchError, match=rf"{number}|list") as refusal:
            read(path)
        assert said in str(refusal.value), what


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_be_missing_is_taken_to_be(kind: str, tmp_path: Path) -> None:
    KINDS[kind][0](tmp_path / "a.pth")
    assert json_or_none(tmp_path / "a.pth") is None
    assert files_of("sample", str(tmp_path / "a.pth")) == {}


def test_the_good_records_beside_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.json").write_bytes(RECORD.read_bytes())
    for kind, (make, _) in KINDS.items():
        make(tmp_path / f"{kind}.json")
    (tmp_path / "up").symlink_to("..")
    found = read_rows([tmp_path])
    assert len(found.rows) == 1
    assert len(found.complaints) == 4  # a folder is searched
    assert main(["report", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "resnet" in printed.out or "sample" in printed.out
    assert printed.err.count("\n") == 4
    assert main(["compare", str(tmp_path), str(RECORD)]) == 1
    assert "device.json cannot be read" in sentence(capsys.readouterr().err)


def test_images_that_are_no_files_are_not_used(small: Path) -> None:
    make_fifo(small / "n01440764" / "pipe.jpg")
    found = scan(small)
    assert len(found) == 5
    assert found.not_used == {"other file": 1}
    list_file = small.parent / "list"
    list_file.write_text(f"{small}/n01440764/0.jpg 0\n{small}/n01440764/pipe.jpg 0\n")
    with pytest.raises(FastbenchError, match=r"pipe.jpg does not exist \(1 of the 2 files"):
        scan(list_file)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a" * 100_000, r"a{80}\.\.\. cannot be used \(File name too long\)"),
        ("b" * 300, r"b{80}\.\.\. cannot be used \(File name too long\)"),
        ("a\0b", "zero byte"),
        ("~nobody-here/x", "begins with a user who is not there"),
    ],
)
def test_a_path_that_cannot_be(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=said):
        user_path(name)
    for argv in (
        ["report", name],
        ["report", str(RECORD), "--output", name],
        ["report", str(RECORD), "--plots", name],
        ["compare", str(RECORD), name],
        ["data", "verify", name],
        ["data", "sample", "--output", name],
        ["data", "shards", name, "--output", str(tmp_path)],
        ["data", "imagenet", "--images", name, "--devkit", name, "--output", str(tmp_path)],
        ["run", "--config", name],
        ["run", "--resume", name],
        ["run", "--output", name],
        ["run", "--predictions", name],
    ):
        assert main(argv) == 2, argv
        assert len(sentence(capsys.readouterr().err)) < 200
    assert not any(tmp_path.iterdir())


def test_a_long_name_of_something_else_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loaders", "check", "a" * 100_000]) == 2
    assert "aaaa... Known: dali" in sentence(capsys.readouterr().err)


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / os.fsdecode(b"r\xff.json")
    record.write_bytes(RECORD.read_bytes())
    for argv in (
        ["report", str(record), "--html", str(tmp_path / os.fsdecode(b"\xfe.html"))],
        ["report", str(record), "--output", str(tmp_path / os.fsdecode(b"\xfe.csv"))],
        ["compare", str(record), str(record)],
        ["compare", str(record), str(RECORD), "--output", str(tmp_path / os.fsdecode(b"\xfe.md"))],
    ):
        assert main(argv) == 0, capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 4
    assert main(["data", "verify", str(record)]) == 1
    assert r"r\udcff.json" in capsys.readouterr().err


def test_a_working_folder_that_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for argv in (["report", "x"], ["models"], ["run"], ["data", "sample", "--output", "s"]):
        assert main(argv) == 2
        assert "has been deleted" in sentence(capsys.readouterr().err)


def test_a_file_without_an_end_is_not_read(tmp_path: Path) -> None:
    (sparse := tmp_path / "a.json").touch()
    os.truncate(sparse, 2**40)
    with pytest.raises(OSError, match="File too large"):
        read_regular(sparse)
