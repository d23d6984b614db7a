"""A process that fastbench starts does not run the caller's script again, nor the other way."""

import contextlib
import multiprocessing
import os
import sys
import threading
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from fastbench.core import own_processes


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process's main module is a script that must not run twice."""
    path = tmp_path / "script.py"
    path.write_text(f"open({str(tmp_path / 'ran-again')!r}, 'w')\nraise SystemExit(3)\n")
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", str(path), raising=False)
    return path


def told() -> set[str]:
    return {*spawn.get_preparation_data("a name")} & {"init_main_from_path", "init_main_from_name"}


def test_only_this_threads_processes_leave_the_script_alone(script: Path) -> None:
    of_others: list[set[str]] = []
    with own_processes.started():
        with own_processes.started():
            assert not told()
        assert not told()
        thread = threading.Thread(target=lambda: of_others.append(told()))
        thread.start()
        thread.join()
    assert of_others == [{"init_main_from_path"}]
    assert told() == {"init_main_from_path"}


@pytest.mark.usefixtures("server")
def test_a_process_ends_well_though_the_script_would_not(script: Path) -> None:
    process = multiprocessing.get_context("forkserver").Process(target=int)
    with own_processes.started():
        process.start()
    process.join()
    assert process.exitcode == 0
    assert not (script.parent / "ran-again").exists()


@pytest.mark.usefixtures("server")
def test_the_callers_processes_have_another_server() -> None:
    """Of fastbench's the output is lost, and torch is in it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([])
    parents = []
    for is_ours in (True, False):
        ours, theirs = context.Pipe()
        process = context.Process(target=say_parent, args=(theirs,))
        with own_processes.started() if is_ours else contextlib.nullcontext():
            process.start()
        parents.append(ours.recv())
        process.join()
    assert parents[0] == own_processes.server._forkserver_pid  # type: ignore[attr-defined]
    assert parents[1] not in (parents[0], os.getpid())


def say_parent(to: Connection) -> None:
    to.send(os.getppid())
