"""Files are whole or not there, whatever ends the writing."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from builders.full_disk import full_after

from fastbench.core.atomic_files import write_new, write_text, write_whole

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
