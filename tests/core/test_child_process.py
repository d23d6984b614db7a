"""A child is heard to its end, told apart by how it ended, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import psutil
import pytest
from builders.paths import TESTS

from fastbench.core.child_process import ChildProcess, pack_error, unpack_error
from fastbench.core.errors import CorruptImageError, FastbenchError, LoaderError


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child imports what this process can."""
    monkeypatch.syspath_prepend(str(TESTS))


def child(**job: Any) -> ChildProcess:
    return ChildProcess("builders.child", job, environment={"A_FOLDER": "/a"})


def heard(process: ChildProcess) -> list[dict[str, Any]]:
    """All messages; the last is None's place."""
    return list(iter(lambda: process.next_message(60), None))


def is_gone(pid: int) -> bool:
    """Whether a process ends, which takes a moment once it is killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for _ in range(200):
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.05)
        return False
    return True


def test_a_job_is_done_and_its_output_kept() -> None:
    with child(value=[1, "ä"]) as process:
        (message,) = heard(process)
        assert message["got"] == [1, "ä"]
        assert message["folder"] == "/a"
        assert message["stdin"] == ""
        process.end()
        assert process.status == 0
        assert process.read_output()[1] == ["printed by a library"]
        assert process.next_message() is None


@pytest.mark.parametrize(
    ("then", "ending"),
    [("crash", "was killed by SIGSEGV"), ("exit", "ended with exit code 7")],
)
def test_how_it_ended(then: str, ending: str) -> None:
    with child(then=then) as process:
        assert len(heard(process)) == 1
        process.end()
        assert process.ending == ending


def test_an_error_is_sent() -> None:
    with child(then="fail") as process:
        *_, last = heard(process)
    error = unpack_error(last["ends"])
    assert (type(error), str(error)) == (LoaderError, "It failed.")


def test_a_child_that_hangs_is_ended_with_its_workers() -> None:
    with child(then="hang", worker=True) as process:
        pid, worker = process.next_message(60), process.next_message(60)
        assert process.next_message(60) == {"hangs": True}
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            process.next_message(0.1)
        assert time.monotonic() - start < 30
        assert not process.has_ended()
    assert pid is not None
    assert worker is not None
    assert is_gone(pid["pid"])
    assert is_gone(worker["worker"])


def test_messages_of_a_crashed_child_are_heard_though_its_worker_holds_the_pipe() -> None:
    with child(then="crash", worker=True) as process:
        assert [*heard(process)[1]] == ["worker"]


@pytest.mark.parametrize(("then", "ends"), [("hang", True), ("stubborn", False)])
def test_ctrl_c(then: str, ends: bool) -> None:
    with child(then=then) as process:
        while "hangs" not in (process.next_message(60) or {"hangs": None}):
            pass
        process.interrupt()
        assert process.ends_within(20 if ends else 0.3) is ends
        process.end()
        assert process.status == (130 if ends else -signal.SIGKILL)


def test_ctrl_c_for_a_child_that_has_ended_ends_its_workers() -> None:
    with child(worker=True) as process:
        worker = heard(process)[1]["worker"]
        process.interrupt()
    assert is_gone(worker)


def test_a_child_ends_with_its_parent() -> None:
    with child(then="hang") as process:
        message = process.next_message(60)
        assert message is not None
        process._stdin.close()  # as the kernel does when the parent is gone
        assert process.ends_within(20)
        assert os.getpid() != message["pid"]


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
    back = unpack_error(pack_error(error))
    assert type(back) is kind
    assert str(back) == str(error)
