"""A child is heard to its end, told apart by how it ended, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from builders.child import work
from builders.paths import TESTS

from fastbench.core import child_process, temporary
from fastbench.core.child_process import ChildProcess, portable
from fastbench.core.errors import CorruptImageError, FastbenchError, LoaderError

pytestmark = pytest.mark.usefixtures("server")
PARENT = """\
import os, psutil, sys, time
from multiprocessing import util
sys.path.insert(0, sys.argv[1])
from builders.child import work
from fastbench.core import child_process
from fastbench.core.child_process import ChildProcess
del child_process.PRELOADED[1:]  # torch is not needed here
"""
TO_BE_KILLED = """\
with ChildProcess(work, {"then": "hang", "worker": True}) as child:
    (_, facts), (_, worker) = child.next_message(), child.next_message()
    print(facts["pid"], worker, util.get_temp_dir(), flush=True)
    time.sleep(60)
"""
ENDS_BY_ITSELF = """\
with ChildProcess(work, {}) as child:
    child.next_message()
    print(util.get_temp_dir())
"""
SERVER_IS_KILLED = """\
for _ in range(2):
    with ChildProcess(work, {"then": "hang"}) as child:
        _, facts = child.next_message()
        print(facts["pid"])
        psutil.Process(facts["pid"]).parent().kill()
        child.interrupt()
"""
TORCH_CANNOT_BE_IMPORTED = """\
sys.path.insert(0, sys.argv[2])
child_process.PRELOADED.append("fastbench.core.torch_preload")
for _ in range(2):
    with ChildProcess(work, {}) as child:
        print(*child.next_message())
"""
TORCH_KILLS_ITS_PROCESS = """\
child_process.PRELOADED.append("builders.deadly")
with ChildProcess(work, {}) as child:
    print(child.next_message()[1]["pid"])
"""


def start_parent(code: str, *argv: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PARENT + code, str(TESTS), *argv],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def child(**job: Any) -> ChildProcess:
    return ChildProcess(work, job)


def heard(process: ChildProcess) -> list[Any]:
    """All messages; the last is None's place."""
    return list(iter(lambda: process.next_message(60), None))


def is_gone(pid: int) -> bool:
    """Whether a process ends, which takes a moment once it is killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for _ in range(600):
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.05)
        return False
    return True


def test_a_job_is_done_and_its_output_kept() -> None:
    with child(value=[1, "ä"]) as process:
        ((_, facts),) = heard(process)
        assert facts["got"] == [1, "ä"]
        assert facts["stdin"] == ""
        process.end()
        assert process.status == 0
        assert process.read_output()[1] == ["printed by a library"]
        assert process.next_message() is None


def test_a_child_has_what_its_parent_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is older: it was started with another environment and in another folder."""
    with child() as process:
        heard(process)
    monkeypatch.setenv("A_FOLDER", "/a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("/a/folder")
    with child() as process:
        ((_, facts),) = heard(process)
    assert facts["folder"] == "/a"
    assert facts["working folder"] == str(tmp_path)
    assert facts["path"] == [path or os.getcwd() for path in sys.path]
    assert facts["main module"] is None


@pytest.mark.parametrize(
    ("then", "ending"),
    [("crash", "was killed by SIGSEGV"), ("exit", "ended with exit code 7")],
)
def test_how_it_ended(then: str, ending: str) -> None:
    with child(then=then) as process:
        assert len(heard(process)) == 1
        process.end()
        assert process.ending == ending


def test_a_wait_without_an_end_is_ended() -> None:
    with child(then="wait too long") as process:
        assert len(heard(process)) == 1
        process.end()
        assert process.ending == "was killed by SIGALRM"
        last = process.read_output()[1][-1]
    assert last == "The row was ended after 0.10 s of waiting for a batch."


def test_one_that_closes_its_pipe_and_goes_on_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with child(then="close the pipe") as process:
        assert process.next_message(60)[0] == "facts"
        with pytest.raises(TimeoutError):
            process.next_message(0.1)
        monkeypatch.setattr(child_process, "MUTE_S", 0.1)
        assert process.next_message() is None  # it may have closed all its files
        assert process.ending == "closed the pipe for its answers, and was ended"


def test_an_error_is_sent() -> None:
    with child(then="fail") as process:
        *_, (name, error) = heard(process)
    assert (name, type(error), str(error)) == ("ends", LoaderError, "It failed.")


def test_a_child_that_hangs_is_ended_with_its_workers() -> None:
    with child(then="hang", worker=True) as process:
        (_, facts), (_, worker) = process.next_message(60), process.next_message(60)
        assert process.next_message(60) == ("hangs",)
        with pytest.raises(TimeoutError):
            process.next_message(0.1)
        assert not process.has_ended()
    assert is_gone(facts["pid"])
    assert is_gone(worker)


def test_messages_of_a_crashed_child_are_heard_though_its_worker_holds_the_pipe() -> None:
    with child(then="crash", worker=True) as process:
        assert [name for name, _ in heard(process)] == ["facts", "worker"]


@pytest.mark.parametrize(("then", "ends"), [("hang", True), ("stubborn", False)])
def test_ctrl_c(then: str, ends: bool) -> None:
    with child(then=then) as process:
        while process.next_message(60) != ("hangs",):
            pass
        process.interrupt()
        assert process.ends_within(20 if ends else 0.3) is ends
        process.end()
        assert process.status == (130 if ends else -signal.SIGKILL)


def test_ctrl_c_for_a_child_that_has_ended_ends_its_workers() -> None:
    with child(worker=True) as process:
        worker = heard(process)[1][1]
        process.interrupt()
    assert is_gone(worker)


def test_workers_are_forked_from_a_server_that_has_torch_until_it_is_killed() -> None:
    modules = ["torch", "fastbench.core.progress"]
    with child(then="start workers", modules=modules) as process:
        (_, facts), (_, first, server), (_, second, other) = heard(process)
        process.end()
        assert process.status == 0
        assert process.read_output()[1] == ["printed by a library"]
    assert (first, second) == (modules, modules[1:])
    assert len({facts["pid"], server, other}) == 3
    assert is_gone(other)


def test_a_server_that_was_killed_is_started_again() -> None:
    with start_parent(SERVER_IS_KILLED) as parent:
        out, err = parent.communicate(timeout=60)
    assert err == ""
    assert len(out.split()) == 2
    assert all(is_gone(int(pid)) for pid in out.split())


def test_an_import_that_kills_the_server_is_left_to_the_child() -> None:
    with start_parent(TORCH_KILLS_ITS_PROCESS) as parent:
        out, err = parent.communicate(timeout=60)
    assert (len(out.split()), err) == (1, "")


@pytest.mark.parametrize("name", ["short", "n" * 100])
def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path, name: str) -> None:
    """Neither the server nor a temporary file; a long path, too long for a socket, included."""
    tmp_path = tmp_path / name
    tmp_path.mkdir()
    with start_parent(TO_BE_KILLED, TMPDIR=str(tmp_path)) as parent:
        assert parent.stdout is not None
        *pids, folder = parent.stdout.readline().split()
        server = psutil.Process(int(pids[0])).ppid()
        assert Path(folder).exists()
        assert len(list(tmp_path.iterdir())) == 1
        parent.kill()
        assert parent.communicate(timeout=60) == ("", "")  # nothing holds its output
    assert all(is_gone(int(pid)) for pid in (*pids, server))
    assert not any(tmp_path.iterdir())
    assert not Path(folder).exists()


def test_a_run_removes_what_dead_runs_have_left(tmp_path: Path) -> None:
    """When the server was killed with its parent, for example by the kernel."""
    folders = [tmp_path / f"fastbench-{name}" for name in ("dead", "alive", "other")]
    for folder in folders:
        (folder / "shards").mkdir(parents=True)
    for folder in folders[:2]:
        (folder / "in-use").touch()
    with open(folders[1] / "in-use") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with start_parent(ENDS_BY_ITSELF, TMPDIR=str(tmp_path)) as parent:
            out, err = parent.communicate(timeout=60)
    assert (parent.returncode, err) == (0, "")
    assert Path(out.strip()).name.startswith("fastbench-")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fastbench-alive",
        "fastbench-other",
    ]


def test_a_temporary_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    code = "import tempfile; tempfile.tempdir = '/proc'\n" + ENDS_BY_ITSELF
    with start_parent(code) as parent:
        err = parent.communicate(timeout=60)[1]
    assert "OutputError: No temporary file can be written (" in err
    assert err.rstrip().endswith("Set TMPDIR to a folder that can be written and has space.")


def test_what_torch_compiled_outlives_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    kept = Path(temporary.variables()["TORCHINDUCTOR_CACHE_DIR"])
    assert kept.parent == Path(tempfile.gettempdir())
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/mine")
    assert temporary.variables()["TORCHINDUCTOR_CACHE_DIR"] == "/mine"


class PlugInError(LoaderError):
    """A plug-in's own, which takes something else than its text."""

    def __init__(self, number: int) -> None:
        super().__init__(f"The plug-in failed {number} times.")
        self.number = number


class DeviceError(LoaderError):
    """A plug-in's own, of the name of one of ours."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CorruptImageError("a.jpg", "is cut off"), CorruptImageError),
        (PlugInError(3), LoaderError),
        (DeviceError("It is off."), LoaderError),
        (FastbenchError("It failed."), FastbenchError),
    ],
)
def test_errors_go_through(error: FastbenchError, kind: type[FastbenchError]) -> None:
    back = portable(error)
    assert type(back) is kind
    assert str(back) == str(error)


def test_why_the_server_cannot_import_torch_is_said_by_each_child(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise RuntimeError('a library is missing')")
    with start_parent(TORCH_CANNOT_BE_IMPORTED, str(tmp_path)) as parent:
        out, err = parent.communicate(timeout=60)
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("ends torch ")
        assert line.endswith("cannot be imported (a library is missing). Install it again.")
