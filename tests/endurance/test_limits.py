"""Runs under limits of the system: memory, open files, processes, and file systems of 16 MB.

Each run ends in time. It measures a row, or says in one sentence what was refused and what to do,
and it keeps the rows that it has measured. What needs root or a mount is skipped without them.
"""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.command_line import MODEL
from builders.images import draw

LIMIT_S = 180
OF_WORKERS = ("timm", "torchvision", "webdataset")
OF_THREADS = ("memory", "opencv", "synthetic", "torchvision-tensor")
MEMORY = ("ulimit -v", "Try --batch-size", "limits: ulimit -a")
FILES = ("Raise their limit: ulimit -n", "limits: ulimit -a")
PROCESSES = ("Raise the limits of them and of memory (ulimit -u", "limits: ulimit -a")
SHARED = ("with --shm-size=",)
DISK = ("Set TMPDIR to", "Free some space", "Name another with --output")
SMALL = "mount -t tmpfs -o size=16m tmpfs {0}; "
FILL = "head -c {1} /dev/zero > {0}/full 2> /dev/null; "
UNDER_MOUNTS = ("unshare", "--mount")
# Root has no limit of processes. The right to read is for a Python in root's home.
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
AS_NOBODY += ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")


def works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


mounts = pytest.mark.skipif(
    not works(*UNDER_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"),
    reason="needs the right to mount a file system",
)
root = pytest.mark.skipif(
    not works(*AS_NOBODY, sys.executable, "-c", ""), reason="needs root and setpriv"
)


@dataclass
class Ended:
    """A run that has ended: its exit code, the loaders of its records, its sentences, its output.

    A sentence is known by its loader, or by "" where it is about no row.
    """

    code: int
    kept: set[str]
    said: dict[str, str]
    output: str


Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def counts(pytestconfig: pytest.Config) -> Iterator[collections.Counter[str]]:
    """What became of the rows; printed at the end."""
    found: collections.Counter[str] = collections.Counter()
    yield found
    told = ", ".join(f"{num} {what}" for what, num in sorted(found.items()))
    pytestconfig.get_terminal_writer().line(f"\nrows: {told}")


@pytest.fixture
def run(tmp_path: Path, counts: collections.Counter[str]) -> Run:
    """`fastbench run` of some loaders by a shell, which first does `limit`.

    Every row must be measured, or be refused in a sentence that has one of `remedies`.
    """
    for i in range(24):
        draw(tmp_path / f"images/{i:02d}.jpg", (300, 250))
    (tmp_path / "temporary").mkdir()
    for folder in (tmp_path, tmp_path / "temporary"):
        folder.chmod(0o777)

    def run_(
        limit: str,
        loaders: tuple[str, ...],
        remedies: tuple[str, ...],
        under: tuple[str, ...] = (),
        output: str = "records",
        options: tuple[str, ...] = (),
    ) -> Ended:
        command = [sys.executable, "-P", "-m", "fastbench", "run", "--quick", *options]
        command += ["--passes", "end-to-end", "--reference", "none", "--weights", "none"]
        command += ["--data", "images", "--model", MODEL, "--device", "cpu", "--output", output]
        command += ["--batch-size", "8", "--num-threads", "2"]
        command += [word for name in loaders for word in ("--loader", name)]
        # Only the shell sees the file systems that it has mounted.
        shell = f'({limit} exec "$@"); code=$?; echo; echo KEPT; ls {output}; exit $code'
        done = subprocess.run(
            [*under, "bash", "-c", shell, "bash", *command],
            env=os.environ | {"TMPDIR": str(tmp_path / "temporary"), "HOME": str(tmp_path)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            text=True,
            check=False,
        )
        text, _, files = done.stdout.partition("KEPT\n")
        kept = {x for x in loaders if any(y.endswith(f"-{x}-float32.json") for y in files.split())}
        said = {}
        for line in text.splitlines():
            if line.startswith("fastbench: "):
                loader = next((x for x in loaders if f" · {x}: " in line), "")
                assert loader not in said, text
                said[loader] = line
        assert "Traceback" not in text
        assert "Report this" not in text
        assert "report it" not in text
        for sentence in said.values():
            assert any(remedy in sentence for remedy in remedies), text
        assert kept.isdisjoint(said)
        assert (done.returncode == 0) == (not said), text
        assert "" in said or kept | said.keys() == set(loaders), text
        counts["measured"] += len(kept)
        counts["refused in a sentence"] += len(said)
        return Ended(done.returncode, kept, said, text)

    return run_


@pytest.mark.parametrize("gigabytes", [0.1, 0.3, 1, 2, 3])
def test_too_little_address_space(gigabytes: float, run: Run) -> None:
    ended = run(f"ulimit -v {gigabytes * 1e6:.0f};", ("torchvision",), MEMORY)
    assert (ended.code, ended.kept) == (1, set())


@pytest.mark.parametrize("gigabytes", [3.6, 4, 4.5, 6])
def test_address_space_for_some_loaders(gigabytes: float, run: Run) -> None:
    run(f"ulimit -v {gigabytes * 1e6:.0f};", OF_THREADS + OF_WORKERS, MEMORY)


@pytest.mark.parametrize("number", [10, 14, 18, 24, 32])
def test_too_few_open_files(number: int, run: Run) -> None:
    ended = run(f"ulimit -n {number};", ("synthetic", "torchvision", "timm"), FILES)
    assert number > 24 or ended.code == 1


def test_64_open_files(run: Run) -> None:
    assert run("ulimit -n 64;", OF_THREADS + OF_WORKERS, FILES).code == 0


@root
@pytest.mark.parametrize("number", [1, 3, 5, 8, 10])
def test_too_few_processes(number: int, run: Run) -> None:
    ended = run(f"ulimit -u {number};", ("torchvision",), PROCESSES, AS_NOBODY)
    assert (ended.code, ended.kept) == (1, set())


@root
@pytest.mark.parametrize("number", [12, 14, 16, 20, 64])
def test_processes_for_some_loaders(number: int, run: Run) -> None:
    ended = run(f"ulimit -u {number};", OF_THREADS + OF_WORKERS, PROCESSES, AS_NOBODY)
    assert number < 64 or ended.code == 0


@mounts
def test_16_mb_of_temporary_files(run: Run) -> None:
    limit = SMALL.format("/mnt") + "export TMPDIR=/mnt;"
    assert run(limit, ("memory", *OF_WORKERS), DISK, UNDER_MOUNTS).code == 0


@mounts
def test_no_room_for_temporary_files(run: Run) -> None:
    limit = (SMALL + FILL).format("/mnt", "16300k") + "export TMPDIR=/mnt;"
    ended = run(limit, ("memory", *OF_WORKERS), DISK, UNDER_MOUNTS)
    assert "packs the images" in ended.said["webdataset"]


@mounts
def test_16_mb_of_records(run: Run) -> None:
    ended = run(SMALL.format("/mnt"), ("memory",), DISK, UNDER_MOUNTS, output="/mnt/records")
    assert ended.code == 0


@mounts
def test_no_room_for_records(run: Run) -> None:
    limit = (SMALL + FILL).format("/mnt", "17m")
    ended = run(limit, ("memory",), DISK, UNDER_MOUNTS, output="/mnt/records")
    assert (ended.code, ended.kept) == (1, set())


@mounts
def test_the_room_for_records_ends_after_a_row(run: Run) -> None:
    when = "until ls /mnt/records/*-memory-float32.json; do sleep 0.1; done"
    fill = FILL.format("/mnt", "17m")
    limit = SMALL.format("/mnt") + f"({when}; {fill}) > /dev/null 2>&1 & "
    rows = ("memory", "opencv")
    ended = run(limit, rows, DISK, UNDER_MOUNTS, output="/mnt/records")
    assert (ended.code, ended.kept) == (1, {"memory"})


@mounts
def test_16_mb_of_shared_memory(run: Run) -> None:
    ended = run(SMALL.format("/dev/shm"), OF_THREADS + OF_WORKERS, SHARED, UNDER_MOUNTS)
    assert ended.said.keys() == {"torchvision", "webdataset"}  # timm sends uint8


@mounts
def test_no_shared_memory(run: Run) -> None:
    limit = (SMALL + FILL).format("/dev/shm", "17m")
    ended = run(limit, OF_THREADS + OF_WORKERS, SHARED, UNDER_MOUNTS)
    assert ended.said.keys() == set(OF_WORKERS)


@mounts
@pytest.mark.parametrize("loader", OF_WORKERS)
def test_shared_memory_that_another_takes_meanwhile(loader: str, run: Run) -> None:
    used = "$(df --output=used /dev/shm | tail -n 1)"
    when = f"until [ {used} -gt 2000 ]; do sleep 0.02; done"
    fill = "for i in {1..200}; do cat /dev/zero >> /dev/shm/x; sleep 0.1; done"
    limit = f"mount -t tmpfs -o size=64m tmpfs /dev/shm; ({when}; {fill}) > /dev/null 2>&1 & "
    ended = run(limit, (loader,), SHARED, UNDER_MOUNTS, options=("--min-seconds", "10"))
    assert ended.code == 1
