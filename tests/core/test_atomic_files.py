"""Files are whole or not there, whatever ends the writing."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastbench.core.atomic_files import write_new, write_text, write_whole
from fastbench.core.errors import OutputError

WRITES = """\
import sys
from pathlib import Path
from fastbench.core.atomic_files import write_new
print("ready", flush=True)
while True:
    write_new(Path(sys.argv[1]), "record", {".json": b"x" * 1_000_000, ".txt": b"y" * 10})
"""


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A file may have 100 kB, as on a disk without more space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("full_disk")
def test_what_does_not_fit_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_text("The report", path, "small")
    with pytest.raises(OutputError, match=r"The report cannot be written to .*report.html \(File"):
        write_text("The report", path, "x" * 200_000)
    assert path.read_text() == "small"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.usefixtures("full_disk")
def test_of_several_files_all_are_there_or_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
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
