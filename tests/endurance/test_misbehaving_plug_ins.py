"""One run over plug-ins that misbehave in every way: each loses its own row, by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from builders.images import draw
from builders.packages import install
from builders.paths import TESTS

HEAD = """\
import ctypes, faulthandler, math, os, resource, signal, subprocess, sys, threading, time
import torch
from builders.broken_loaders import Right
from fastbench.core import watchdog
from fastbench.loaders import guard
guard.BATCH_S = guard.OPEN_S = 2.0
guard.TIMES_LONGEST = 2
def hang():
    watchdog._Wait.end_s = time.monotonic() + 1  # as if the limit were a second
    ctypes.CDLL(None).sleep(600)
"""
OPENS = """
class Loader(Right):
    def __init__(self, spec):
        super().__init__(spec)
        {}
"""
ITERATES = """
class Loader(Right):
    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            if number == 1:
                {}
            yield batch
"""
CLOSES = """
class Loader(Right):
    def close(self):
        {}
"""
LOST = {
    "import_exit": "sys.exit(0)",
    "import_os_exit": "os._exit(0)",
    "import_hang": "hang()",
    "import_segfault": "faulthandler._sigsegv()",
    "import_base": "raise BaseException('odd')",
    "open_exit": OPENS.format("sys.exit(0)"),
    "open_os_exit": OPENS.format("os._exit(0)"),
    "open_hang": OPENS.format("hang()"),
    "open_segfault": OPENS.format("faulthandler._sigsegv()"),
    "open_nan": OPENS.format("self.settings = {'x': math.nan}"),
    "open_memory": OPENS.format(
        "resource.setrlimit(resource.RLIMIT_AS, (2**33, -1)); self.hoard = bytearray(2**34)"
    ),
    "next_exit": ITERATES.format("sys.exit(0)"),
    "next_os_exit": ITERATES.format("os._exit(0)"),
    "next_hang": ITERATES.format("hang()"),
    "next_segfault": ITERATES.format("faulthandler._sigsegv()"),
    "next_base": ITERATES.format("raise BaseException('odd')"),
    "next_types": ITERATES.format("batch = 'a batch'"),
    "next_group": ITERATES.format("os.killpg(0, signal.SIGKILL)"),
    "next_fds": ITERATES.format("os.closerange(0, 100)"),
    "close_hang": CLOSES.format("hang()"),
}
HARMLESS = {
    "next_garbage": ITERATES.format("os.write(1, bytes(range(256))); os.write(2, b'\\x1b[2J')"),
    "next_fork": ITERATES.format("subprocess.Popen(['sleep', '600'])"),
    "next_thread": ITERATES.format("threading.Thread(target=time.sleep, args=(600,)).start()"),
    "next_signals": ITERATES.format("signal.signal(signal.SIGINT, signal.SIG_IGN)"),
    "close_base": CLOSES.format("os.chdir('/')"),
}


def test_each_loses_its_own_row(tmp_path: Path) -> None:
    packages, data, out = (tmp_path / name for name in ("packages", "data", "out"))
    (tmp_path / "t").mkdir()
    packages.mkdir()
    install(packages, {name: HEAD + text for name, text in (LOST | HARMLESS).items()})
    for i in range(24):
        draw(data / f"{i}.jpg", (100 + i, 80))
    names = [*LOST, *HARMLESS, "torchvision-tensor"]
    argv = [word for name in names for word in ("--loader", name)]
    with open(tmp_path / "shown", "w+") as shown:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "fastbench", "run", *argv, "--reference", "none", "--data",
             str(data), "--model", "sample", "--device", "cpu", "--quick", "--passes", "end-to-end",
             "--batch-size", "8", "--output", str(out)],
            env=os.environ
            | {"PYTHONPATH": f"{packages}{os.pathsep}{TESTS}", "TMPDIR": str(tmp_path / "t")},
            stdout=shown,
            stderr=shown,
            timeout=900,
            check=False,
        )  # fmt: skip
    text = (tmp_path / "shown").read_text()
    said = {
        line.split(": ")[1].split(" · ")[-1]: line
        for line in text.splitlines()
        if line.startswith("fastbench: ")
    }
    print(*said.values(), sep="\n")  # noqa: T201
    measured = {json.loads(path.read_text())["loader"] for path in out.glob("*.json")}
    # One that closes all files may have been measured before it is lost.
    assert measured - {"next_fds"} == {*HARMLESS, "torchvision-tensor"}
    assert {*said} == {*LOST}
    assert ended.returncode != 0
    assert "\nTraceback" not in text
    assert "\x1b[2J" not in text
    kept = [x.name for x in (tmp_path / "t").iterdir() if not x.name.startswith("torchinductor_")]
    assert kept == []
