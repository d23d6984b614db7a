"""Files are whole or not there, whatever ends the writing."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from builders.full_disk import full_after

from fastbench.core.atomic_files import (
    file_stem,
    in_use,
    meant_for,
    remove_left_over,
    temporary_name,
    write_new,
    write_text,
    write_whole,
)

WRITES = """\
import sys
from pathlib import Path
from fastbench.core.atomic_files import write_new
print("ready", flush=True)
while True:
    write_new(Path(sys.argv[1]), "record", {".json": b"x" * 1_000_000, ".txt": b"y" * 10})
"""


def test_of_several_files_all_are_there_or_none(tmp_path: Path) -> None:
    with full_after(100_000), pytest.raises(OSError, match="File too large"):
        write_new(tmp_path, "accuracy", {".txt": b"a", ".png": b"b" * 200_000})
    assert not any(tmp_path.iterdir())


def test_a_killed_writer_leaves_no_cut_file(tmp_path: Path) -> None:
    for delay in (0.0, 0.003, 0.01, 0.03):
        with subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Event().wait(delay)
            process.kill()
    assert {path.stat().st_size for path in tmp_path.glob("*.json")} <= {1_000_000}
    assert {path.stat().st_size for path in tmp_path.glob("*.txt")} <= {10}
    with in_use(tmp_path):
        assert not list(tmp_path.glob(".*"))


USES = """\
import sys
from pathlib import Path
from fastbench.core.atomic_files import in_use, temporary_name
with in_use(Path(sys.argv[1])):
    temporary_name(Path(sys.argv[1], "a.json")).touch()
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_killed_processes_were_writing_is_removed(tmp_path: Path, dead: int) -> None:
    gone = [
        f".a.json.{dead}.fastbench.tmp",
        f".a.json.{2**70}.fastbench.tmp",
        f".a.json.{os.getpid()}.fastbench.tmp",  # of one that had this number before
        f"below/.b.{dead}.fastbench.tmp",
    ]
    left = [
        f".a.json.{os.getppid()}.fastbench.tmp",
        f".a.json.{dead}.tmp",  # which other programs may name theirs
        f"a.json.{dead}.fastbench.tmp",
        f"other/.b.{dead}.fastbench.tmp",
        "a.json",
    ]
    for name in (*gone, *left):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with in_use(tmp_path, tmp_path / "below", tmp_path / "missing"):
        pass
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert [name for name in left if not (tmp_path / name).exists()] == []


def test_nothing_is_removed_while_another_process_uses_the_folder(
    tmp_path: Path, dead: int
) -> None:
    """Its number may be dead here: it may be one of another machine."""
    file = tmp_path / f".a.json.{dead}.fastbench.tmp"
    with subprocess.Popen(
        [sys.executable, "-c", USES, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        file.touch()
        with in_use(tmp_path):
            assert file.exists()
    with in_use(tmp_path):
        assert not list(tmp_path.iterdir())


def test_of_one_file_alone(tmp_path: Path, dead: int) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / f".{name}.{dead}.fastbench.tmp").touch()
    remove_left_over(tmp_path, "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == [f".b.csv.{dead}.fastbench.tmp"]


def test_a_file_system_without_locks(
    tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / f".a.{dead}.fastbench.tmp").touch()
    with in_use(tmp_path):
        assert len(list(tmp_path.iterdir())) == 1


def test_a_temporary_name_is_known_as_one(tmp_path: Path) -> None:
    assert meant_for(temporary_name(tmp_path / "a.json").name) == "a.json"
    assert meant_for(".a.json.12.tmp") == "a.json"  # of earlier versions
    assert meant_for("a.json") is None


@pytest.mark.parametrize("has_links", [True, False])
def test_no_file_is_overwritten_by_another_writer(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    for content in (b"1", b"2", b"3"):
        write_new(tmp_path, "record", {".json": content})
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"record.json": b"1", "record-2.json": b"2", "record-3.json": b"3"}


def test_a_link_and_a_device_stay_what_they_are(tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to(tmp_path / "file")
    write_text("The report", link, "text")
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    write_text("The report", Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()
    write_whole(tmp_path / "file", b"other")
    assert link.read_text() == "other"


def test_a_name_is_one_that_archives_and_other_systems_take() -> None:
    assert file_stem("timm:vit/x", 'a?b*"<c>|\\', "dali") == "timm_vit_x-a_b__" + "_c___-dali"
